"""What every command shares: the runner, and how it ends, well or badly."""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from beam_pipelines.launch import terminal
from beam_pipelines.launch.process import INTERRUPTED, end
from beam_pipelines.launch.progress import LogAboveBars, NoticesAboveBars
from files.errors import UsageError
from files.printable import printable

IN_PROCESS_RUNNER = "FnApiRunner"

_SECONDS_OF_DOUBT = 1.0
_SECONDS_TO_RETURN = 0.05

_WHEN_INTERRUPTED = {
  "build-tfrecords": "the data set is not whole; the same command starts over",
  "train": "complete runs are kept, and the same command trains the rest",
  "ingest": "complete runs are kept, and the same command goes on",
  "score": "nothing was published, unless it says so above; the same command starts over",
  "import-outcomes": "nothing was imported, unless it says so above; the same command starts over",
  "verify": "it writes nothing; the same command starts over",
}

_NO_INTERRUPT = (
  "KeyboardInterrupt was raised without Ctrl-C: correct the network or data set of your own that "
  "does so"
)

_FILE_ERROR = re.compile(r"\[Errno (\d+)\] (.+?): '(.+?)'(?: -> '.+')?")
_WHERE_IN_JOB = re.compile(r"\s*\[while running '.*")  # as Beam adds to what is raised
_ADVICE = {
  errno.ENOSPC: "make room there",
  errno.EDQUOT: "make room there",
  errno.ENAMETOOLONG: "choose a shorter one",
}

Run = Callable[[Sequence[str]], int]


def beam_options(flags: Sequence[str]) -> PipelineOptions:
  """Returns Beam's options, with the in-process runner for none and for `DirectRunner`.

  Beam's own DirectRunner may replace itself by a binary that it downloads, so that the same command
  would run differently from machine to machine.
  """
  options = PipelineOptions(list(flags))
  standard = options.view_as(StandardOptions)
  if standard.runner in (None, "DirectRunner", "direct"):
    standard.runner = IN_PROCESS_RUNNER
  return options


def show_warnings(warnings: Iterable[str]) -> None:
  """Prints what to know before trusting the results, where nobody can miss it."""
  for warning in warnings:
    print(terminal.warning(printable(warning), sys.stderr), file=sys.stderr)


def is_in_process(options: PipelineOptions) -> bool:
  """Whether a job runs in this process and its children, and ends with it."""
  return options.view_as(StandardOptions).runner == IN_PROCESS_RUNNER


def execute(command: str, run: Run, argv: Sequence[str] | None = None) -> int:
  """Runs a command and returns its exit status.

  Bad input, a file or bucket that may not be used, and a job that fails become one line and status
  2; Ctrl-C becomes one that says what is safe, and status 130. `--verbose` shows more.
  """
  arguments = list(sys.argv[1:] if argv is None else argv)
  verbose = "--verbose" in arguments
  _open_closed_outputs()
  interrupted = threading.Event()
  with quiet(verbose=verbose), _watching_interrupts(interrupted):
    try:
      return run(arguments)
    except KeyboardInterrupt:
      in_main_thread = threading.current_thread() is threading.main_thread()
      if in_main_thread and not interrupted.is_set():
        return _fail(command, UsageError(_NO_INTERRUPT))
    except Exception as error:
      if not interrupted.is_set():  # else a job was interrupted, and that is what it made of it
        if verbose and not isinstance(error, UsageError):
          traceback.print_exc()
        return _fail(command, error)
    safe = _WHEN_INTERRUPTED.get(command, "nothing was written")
    word = terminal.paint("interrupted:", terminal.ODD, sys.stderr)
    print(f"{terminal.line_start(sys.stderr)}heldout {command}: {word} {safe}", file=sys.stderr)
    return INTERRUPTED


def _open_closed_outputs() -> None:
  """Lets a command run whose caller has closed its outputs: then nobody sees what it says."""
  sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
  sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def execute_module(command: str, run: Run) -> NoReturn:
  """Runs a command whose module is the program, and ends the process."""
  end(execute(command, run))


@contextmanager
def quiet(*, verbose: bool) -> Iterator[None]:
  """Shows what libraries log and warn of only if asked to; errors reach the user as exceptions.

  What our own packages warn of, such as a download that takes its time, is shown always.
  """
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  root = logging.getLogger()
  handler = LogAboveBars() if verbose else NoticesAboveBars("image_datasets")
  level = root.level
  root.addHandler(handler)
  if verbose:
    root.setLevel(logging.INFO)
  try:
    with warnings.catch_warnings():
      if not verbose and not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ.setdefault("PYTHONWARNINGS", "ignore")  # for workers, which are processes
      yield
  finally:
    root.removeHandler(handler)
    root.setLevel(level)


@contextmanager
def _watching_interrupts(interrupted: threading.Event) -> Iterator[None]:
  """Notes Ctrl-C, which reaches the command as all sorts of errors of its job.

  What fails in threads of Beam's because of it, maybe sooner than it is noted, is not shown. Where
  Python ignores it, as in a callback from C, it comes again a little later.
  """

  def note(*_: object) -> NoReturn:
    interrupted.set()
    raise KeyboardInterrupt

  if threading.current_thread() is not threading.main_thread():
    yield
    return
  former = signal.signal(signal.SIGINT, note)
  threads = threading.excepthook

  def show(failure: threading.ExceptHookArgs) -> None:
    if not interrupted.wait(_SECONDS_OF_DOUBT):
      threads(failure)

  ignored = sys.unraisablehook
  again: list[threading.Timer] = []

  def repeat(failure: sys.UnraisableHookArgs) -> None:
    if failure.exc_type is not KeyboardInterrupt:
      ignored(failure)
      return
    again.append(threading.Timer(_SECONDS_TO_RETURN, os.kill, (os.getpid(), signal.SIGINT)))
    again[-1].start()

  threading.excepthook, sys.unraisablehook = show, repeat
  try:
    yield
  finally:
    for timer in again:
      timer.cancel()
    signal.signal(signal.SIGINT, former)
    threading.excepthook, sys.unraisablehook = threads, ignored


def _fail(command: str, error: Exception) -> int:
  if isinstance(error, UsageError):
    message = _WHERE_IN_JOB.sub("", str(error))
  elif isinstance(error, OSError):
    message = describe_file_error(error)
  elif isinstance(error, MemoryError):
    message = "memory is short: end other programs, or use a machine with more; no file is at fault"
  else:
    message = f"{_describe_failure(error)}; --verbose shows all that is known"
  error_word = terminal.paint("error:", terminal.BAD, sys.stderr)
  print(f"heldout {command}: {error_word} {printable(message)}", file=sys.stderr)
  return 2


def describe_file_error(error: OSError) -> str:
  """Says in one line which file or bucket cannot be used, why, and what to do."""
  if isinstance(error, FileNotFoundError) and error.filename:
    return f"{error.filename}: there is no such file or bucket"
  if isinstance(error, BrokenPipeError) and not error.filename:
    return "whoever read its output has closed it: some of what there was to say is lost"
  if error.filename and error.strerror:
    advice = _ADVICE.get(error.errno or 0, "check the path and your access to it")
    return f"{error.filename}: {error.strerror.lower()}; {advice}"
  return str(error).partition("\n")[0] or type(error).__name__


def _describe_failure(error: Exception) -> str:
  """Says in one line why a job failed: what its worker raised, which Beam passes on as a text."""
  raised = re.findall(r"^(?:\w+\.)*(\w+): (.+)$", str(error), re.MULTILINE)
  name, what = raised[-1] if raised else (type(error).__name__, str(error).partition("\n")[0])
  what = _WHERE_IN_JOB.sub("", what)
  if file_error := _FILE_ERROR.fullmatch(what):
    number, reason, path = file_error.groups()
    return f"the job failed: {describe_file_error(OSError(int(number), reason, path))}"
  return f"the job failed: {name}: {what}"
