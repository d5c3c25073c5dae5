"""Ctrl-C in the midst of a job: one line, which says what is safe."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

import files
from beam_pipelines import cli
from beam_pipelines.storage.runs.experiment import list_runs
from beam_pipelines.storage.runs.run_place import RunKey
from tests.helpers import terminals
from tests.helpers.archives import make_archive, md5, run_members
from tests.helpers.outcomes import make_outcomes, write_experiment


def test_training_that_is_interrupted_keeps_complete_runs(tmp_path):
  experiment = str(tmp_path / "runs")
  arguments = [f"--experiment={experiment}", "--dataset=digits", "--model=mlp_small", "--epochs=1"]
  command = [sys.executable, "-m", "beam_pipelines.cli", "train", *arguments]
  process = subprocess.Popen([*command, "--runs=0:2000", "--stack=2"], stderr=subprocess.PIPE)
  while process.poll() is None and not list_runs(experiment).runs:
    time.sleep(0.05)  # polls another process
  process.send_signal(signal.SIGINT)
  _, error = process.communicate(timeout=120)
  assert process.returncode == 130
  assert error.decode() == (
    "heldout train: interrupted: complete runs are kept, and the same command trains the rest\n"
  )
  complete = [run for run in list_runs(experiment).runs if run.complete]
  assert cli.main(["train", *arguments, f"--runs=0:{len(complete) + 2}", "--stack=2"]) == 0
  assert all(run.complete for run in list_runs(experiment).runs)


COMMANDS = {
  "score": ["--experiment={0}/runs", "--scores={0}/again", "--dense"],
  "verify": ["--experiment={0}/runs", "--dataset=digits", "--model=mlp"],
  "inspect": ["--experiment={0}/runs"],
  "report": ["--scores={0}/scores", "--dataset=digits", "--output={0}/new"],
  "export": ["--scores={0}/scores", "--format=cscores", "--output={0}/new"],
  "compare": ["{0}/scores", "{0}/scores"],
  "ingest": ["--experiment={0}/new", "--archive={0}/runs.tar.gz", f"--md5={'0' * 32}"],
  "import-outcomes": [
    *("--experiment={0}/new", "--from=arrays", "--masks={0}/masks.npy"),
    "--correct={0}/masks.npy",
  ],
  "build-tfrecords": ["--images={0}/tree", "--split=train", "--output={0}/new"],
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
  """What commands read: runs, their scores, an archive, arrays, a tree of images."""
  root = tmp_path_factory.mktemp("interrupts")
  sizes = {"num_train": 1437, "num_test": 360}
  write_experiment(root / "runs", make_outcomes(0.7, range(4), **sizes))
  flags = [f"--experiment={root}/runs", f"--scores={root}/scores", "--dataset=digits"]
  assert cli.main(["score", *flags]) == 0
  (root / "runs.tar.gz").write_bytes(make_archive(run_members(RunKey(0.7, 1))))
  np.save(root / "masks.npy", np.random.default_rng(0).random((8, 20)) < 0.5)
  for name in ("cat", "dog"):
    (root / "tree" / name).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(root / "tree" / name / "1.png")
  return root


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_interrupt_while_files_are_touched_is_one_line(
  inputs, monkeypatch, capsys, command, nth
):
  """Whichever the command reads or lists, in this thread or in a worker's."""
  touched = []

  def interrupting(original):
    def touch(*arguments, **options):
      touched.append(arguments[0])
      if len(touched) == nth:
        os.kill(os.getpid(), signal.SIGINT)
      return original(*arguments, **options)

    return touch

  for name in ("exists", "list_files", "read_bytes", "read_many", "read_range", "size"):
    monkeypatch.setattr(files, name, interrupting(getattr(files, name)))
  status = cli.main([command, *(flag.format(inputs) for flag in COMMANDS[command])])
  assert len(touched) >= nth
  captured = capsys.readouterr()
  assert status == 130, captured
  assert captured.err.startswith(f"heldout {command}: interrupted: ")
  assert captured.err.count("\n") == 1
  assert not (inputs / "again" / "manifest.json").exists()


KEEPS = "complete runs are kept, and the same command"

# What is typed, what a bar says when Ctrl-C is typed, and what the command says of it.
BARS = {
  "train": (
    ["--experiment={0}/new", "--dataset=digits", "--model=mlp_small", "--runs=0:2000", "--stack=2"],
    "runs/min",
    f"{KEEPS} trains the rest",
  ),
  "verify": (
    ["--experiment={0}/runs", "--dataset=digits", "--model=mlp_small"],
    "checkpoints/min",
    "it writes nothing; the same command starts over",
  ),
  "score": (
    [
      *("--experiment={0}/runs", "--scores={0}/again", "--dataset=digits", "--source=checkpoints"),
      "--model=mlp_small",
    ],
    "checkpoints/min",
    "nothing was published, unless it says so above; the same command starts over",
  ),
  "ingest": (["--experiment={0}/new", "--archive={0}/long.tar.gz"], "B/s", f"{KEEPS} goes on"),
  "import-outcomes": (
    [
      *("--experiment={0}/new", "--from=arrays", "--masks={0}/many.npy", "--correct={0}/many.npy"),
    ],
    "parts/min",
    "nothing was imported, unless it says so above; the same command starts over",
  ),
  "build-tfrecords": (
    ["--images={0}/tree", "--split=train", "--output={0}/new"],
    "files/min",
    "the data set is not whole; the same command starts over",
  ),
}
PROCESSES = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]


@pytest.fixture(scope="module")
def long_inputs(inputs):
  """Such that commands show bars for a while; with checkpoints beside outcomes."""
  archive = make_archive([entry for run in range(400) for entry in run_members(RunKey(0.7, run))])
  (inputs / "long.tar.gz").write_bytes(archive)
  np.save(inputs / "many.npy", np.random.default_rng(0).random((8_000, 1_000)) < 0.5)
  flags = ["--dataset=digits", "--model=mlp_small", "--epochs=1", "--runs=0:4"]
  assert cli.main(["train", f"--experiment={inputs}/trained/runs", *flags]) == 0
  for name in ("long.tar.gz", "many.npy", "tree"):
    (inputs / "trained" / name).symlink_to(inputs / name)
  return inputs / "trained", md5(archive)


@pytest.mark.parametrize(
  ("command", "flags"), [*((command, []) for command in BARS), ("train", PROCESSES)]
)
def test_an_interrupt_on_a_terminal_leaves_a_whole_bar_and_one_line(long_inputs, command, flags):
  root, sum_ = long_inputs
  arguments, shown, safe = BARS[command]
  typed = [flag.format(root) for flag in arguments]
  if command == "ingest":
    typed.append(f"--md5={sum_}")
  if flags:  # workers are there once one has done something
    shown = f"[1-9]\\d*/2000 .*{shown}"
  program = [sys.executable, "-m", f"beam_pipelines.{command.replace('-', '_')}"]
  session = terminals.run([*program, *typed, *flags], interrupt_at=shown)
  files.delete_directory(f"{root}/new")
  assert session.status == 130
  *before, line, cursor = session.lines
  assert (line, cursor) == (f"heldout {command}: interrupted: {safe}", ""), session.written
  bars = [line for line in before if "|" in line]
  assert len(bars) == (command != "ingest")  # whose bar goes when it ends
  assert all(bar.removesuffix("^C").endswith(" left") for bar in bars)
  assert not any("Traceback" in line for line in before)


# A worker, which is a process, stalls before it calls whoever started it.
_STALL_WORKERS = """
import sys, time
if "sdk_worker_main" in "".join(sys.orig_argv):
  class Stall:
    def find_spec(self, name, path=None, target=None):
      if name == "apache_beam":
        time.sleep(600)
  sys.meta_path.insert(0, Stall())
"""


@pytest.fixture
def starting(inputs, tmp_path):
  """A command whose workers are starting, and go on doing so."""
  (tmp_path / "sitecustomize.py").write_text(_STALL_WORKERS)
  flags = [flag.format(inputs) for flag in COMMANDS["import-outcomes"]]
  with subprocess.Popen(
    [sys.executable, "-m", "beam_pipelines.cli", "import-outcomes", *flags, *PROCESSES],
    stderr=subprocess.PIPE,
    env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    text=True,
  ) as process:
    command = psutil.Process(process.pid)
    while process.poll() is None and not any(_is_worker(each) for each in command.children()):
      time.sleep(0.05)  # polls another process
    process.workers = command.children()
    yield process


def _is_worker(process):
  return any("sdk_worker_main" in word for word in process.cmdline())


def test_an_interrupt_does_not_wait_for_workers_that_are_starting(starting):
  """As of `kill -INT`, which unlike a terminal's reaches the command alone."""
  starting.send_signal(signal.SIGINT)
  _, error = starting.communicate(timeout=300)
  assert starting.returncode == 130
  assert error == (
    "heldout import-outcomes: interrupted: nothing was imported, unless it says so above; the same "
    "command starts over\n"
  )
  assert not any(worker.is_running() for worker in starting.workers)


def test_workers_end_with_a_command_that_is_killed(starting):
  starting.send_signal(signal.SIGKILL)
  gone, alive = psutil.wait_procs(starting.workers, timeout=300)
  assert len(gone) >= 1
  assert alive == []


# What a command imports last is a module that never ends; it says that it was reached.
_IMPORT = """
import sys, time
class Stall:
  def find_spec(self, name, path=None, target=None):
    if name == "apache_beam":
      print("importing", flush=True)
      time.sleep(60)
sys.meta_path.insert(0, Stall())
"""


@pytest.mark.parametrize("command", [*cli.COMMANDS, "cli", "heldout"])
def test_an_interrupt_during_imports_is_one_line(tmp_path, command):
  if command == "heldout":
    program = [Path(sys.executable).with_name("heldout")]
  else:
    program = [sys.executable, "-m", f"beam_pipelines.{command.replace('-', '_')}"]
  (tmp_path / "sitecustomize.py").write_text(_IMPORT)
  path = os.pathsep.join([str(tmp_path), *sys.path])
  process = subprocess.Popen(
    [*program, "train"],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    env={**os.environ, "PYTHONPATH": path},
    text=True,
  )
  assert process.stdout.readline() == "importing\n"
  process.send_signal(signal.SIGINT)
  _, error = process.communicate(timeout=60)
  assert process.returncode == 130
  assert error == "heldout: interrupted before it began\n"
