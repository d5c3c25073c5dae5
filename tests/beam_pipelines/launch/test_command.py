import argparse
import ctypes
import importlib.metadata
import logging
import signal
import time

import pytest
from apache_beam.options.pipeline_options import StandardOptions

from beam_pipelines import cli
from beam_pipelines.launch import arguments, command
from files.errors import UsageError


@pytest.mark.parametrize("flags", [[], ["--runner=DirectRunner"], ["--runner", "FnApiRunner"]])
def test_the_runner_is_in_process_unless_another_is_asked_for(flags):
  assert command.beam_options(flags).view_as(StandardOptions).runner == "FnApiRunner"


def test_other_runners_are_left_alone():
  options = command.beam_options(["--runner=DataflowRunner"])
  assert options.view_as(StandardOptions).runner == "DataflowRunner"


def test_usage_errors_are_one_line_and_status_2(capsys):
  def fail(argv):
    raise UsageError("this is wrong: do that")

  assert command.execute("do", fail, []) == 2
  captured = capsys.readouterr()
  assert captured.err == "heldout do: error: this is wrong: do that\n"
  assert captured.out == ""


def test_no_name_of_a_file_breaks_the_line(capsys):
  def fail(argv):
    command.show_warnings(["x\ny: odd"])
    raise UsageError("a\nb\x1b[31m\udcffü: this is wrong")

  assert command.execute("do", fail, []) == 2
  assert capsys.readouterr().err == (
    "warning: x\\ny: odd\nheldout do: error: a\\nb\\x1b[31m\\udcffü: this is wrong\n"
  )


@pytest.mark.parametrize(
  ("error", "message"),
  [
    (FileNotFoundError(2, "No such file", "gs://b/x"), "gs://b/x: there is no such file or bucket"),
    (
      PermissionError(13, "Permission denied", "/x"),
      "/x: permission denied; check the path and your access to it",
    ),
    (OSError(28, "No space left on device", "/x"), "/x: no space left on device; make room there"),
    (OSError(36, "File name too long", "/x"), "/x: file name too long; choose a shorter one"),
    (
      RuntimeError("OSError: [Errno 28] No space left on device: '/x' [while running 'Write']"),
      "the job failed: /x: no space left on device; make room there; --verbose shows all that is "
      "known",
    ),
    (OSError("gs://b/x: HTTP status 403"), "gs://b/x: HTTP status 403"),
    (ConnectionResetError(), "ConnectionResetError"),
  ],
)
def test_files_that_cannot_be_used_are_one_line(capsys, error, message):
  def fail(argv):
    raise error

  assert command.execute("do", fail, []) == 2
  assert capsys.readouterr().err == f"heldout do: error: {message}\n"


def test_memory_that_is_short_is_said_to_be(capsys):
  def run(_):
    raise MemoryError("Unable to allocate 8 TiB")

  assert command.execute("score", run, []) == 2
  assert capsys.readouterr().err == (
    "heldout score: error: memory is short: end other programs, or use a machine with more; "
    "no file is at fault\n"
  )


def test_unexpected_errors_keep_their_traceback_for_whoever_asks(capsys):
  def fail(argv):
    raise ZeroDivisionError("by zero")

  assert command.execute("do", fail, []) == 2
  line = "heldout do: error: the job failed: ZeroDivisionError: by zero; --verbose shows all that"
  assert capsys.readouterr().err.startswith(line)
  assert command.execute("do", fail, ["--verbose"]) == 2
  assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_outputs_that_are_closed_are_no_error(monkeypatch, name):
  monkeypatch.setattr(f"sys.{name}", None)
  assert command.execute("inspect", lambda argv: print("found") or 0, []) == 0

  def fail(argv):
    raise UsageError("wrong")

  assert command.execute("inspect", fail, []) == 2


def test_an_output_that_is_closed_meanwhile_is_said(capsys):
  def run(argv):
    raise BrokenPipeError(32, "Broken pipe")

  assert command.execute("compare", run, []) == 2
  assert capsys.readouterr().err == (
    "heldout compare: error: whoever read its output has closed it: some of what there was to say "
    "is lost\n"
  )


def test_an_interrupt_in_a_callback_from_c_is_not_lost(capsys):
  """There Python prints a traceback, and goes on, as while Numba compiles."""
  interrupt = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))

  def run(argv):
    interrupt()
    time.sleep(60)

  assert command.execute("inspect", run, []) == 130
  assert capsys.readouterr().err == "heldout inspect: interrupted: nothing was written\n"


def test_what_a_data_set_has_to_say_is_shown_and_what_libraries_log_is_not(capsys):
  def log(argv):
    logging.getLogger("image_datasets.tfds").warning("downloading %s", "it")
    logging.getLogger("image_datasets.tfds").info("looking around")
    logging.getLogger("apache_beam.coders").warning("falling back")
    return 0

  assert command.execute("do", log, []) == 0
  assert capsys.readouterr().err == "downloading it\n"
  assert command.execute("do", log, ["--verbose"]) == 0
  assert "WARNING apache_beam.coders: falling back\n" in capsys.readouterr().err


def test_help_names_every_command(capsys):
  assert cli.main(["--help"]) == 0
  usage = capsys.readouterr().out
  assert all(f"\n  {name} " in usage for name in cli.COMMANDS)


def test_the_version_and_the_exit_statuses_are_said(capsys):
  assert cli.main(["--version"]) == 0
  assert capsys.readouterr().out == f"heldout {importlib.metadata.version('heldout')}\n"
  assert cli.main([]) == 0
  assert "Exit status: 0 if all went well; 1 if `verify` or `doctor` " in capsys.readouterr().out


def test_an_unknown_command_is_status_2(capsys):
  assert cli.main(["fly"]) == 2
  assert capsys.readouterr().err == "heldout: error: unknown command 'fly'; see `heldout --help`\n"


def test_ratios_are_sorted_and_each_once():
  assert arguments.ratios("0.7,0.1,0.7") == (0.1, 0.7)


@pytest.mark.parametrize("text", ["0", "1", "1.5", "-0.1", "nan", "half", "", "0.5,"])
def test_ratios_lie_between_0_and_1(text):
  with pytest.raises(argparse.ArgumentTypeError, match="is no subset ratio"):
    arguments.ratios(text)


def test_a_range_of_runs_excludes_its_end():
  assert list(arguments.run_range("3:6")) == [3, 4, 5]


@pytest.mark.parametrize("text", ["5:2", "5:5", "5", ":5", "5:", "-1:5", "a:b", "1:2:3", ""])
def test_a_range_of_runs_is_start_and_stop(text):
  with pytest.raises(argparse.ArgumentTypeError, match="is no range of runs: write START:STOP"):
    arguments.run_range(text)


def test_local_paths_become_absolute(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert arguments.path("runs/") == str(tmp_path / "runs")
  assert arguments.path("gs://bucket/runs/") == "gs://bucket/runs"
  assert arguments.path(f"file://{tmp_path}/runs") == str(tmp_path / "runs")


@pytest.mark.parametrize("text", ["", "gs://", "file://"])
def test_a_path_names_something(text):
  with pytest.raises(argparse.ArgumentTypeError, match="a path is needed"):
    arguments.path(text)
