"""What every command shares: parsing, the runner, and how it ends, well or badly."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import io
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

from beam_pipelines.launch.dataflow import is_dataflow
from beam_pipelines.launch.process import INTERRUPTED, end
from beam_pipelines.launch.progress import LogAboveBars, NoticesAboveBars
from files.errors import UsageError
from files.printable import printable

IN_PROCESS_RUNNER = "FnApiRunner"

# How alike an unknown flag and a known one must be, to guess that it is meant, and to be sure.
_LIKELY, _NEAR = 0.6, 0.8
_SHORTEST_BEGINNING = 3

_WHEN_INTERRUPTED = {
  "build-tfrecords": "the data set is not whole; the same command starts over",
  "train": "complete runs are kept, and the same command trains the rest",
  "ingest": "complete runs are kept, and the same command goes on",
  "score": "nothing was published, unless it says so above; the same command starts over",
  "import-outcomes": "nothing was imported, unless it says so above; the same command starts over",
  "verify": "it writes nothing; the same command starts over",
}

_FILE_ERROR = re.compile(r"\[Errno (\d+)\] (.+?): '(.+?)'(?: -> '.+')?")
_ADVICE = {
  errno.ENOSPC: "make room there",
  errno.EDQUOT: "make room there",
  errno.ENAMETOOLONG: "choose a shorter one",
}

Run = Callable[[Sequence[str]], int]


class Parser(argparse.ArgumentParser):
  """An argument parser whose errors are one line, whose help shows defaults, and that is exact.

  Attributes:
    conclusions: what is done to the arguments once all are known.
  """

  def __init__(self, command: str, description: str, epilog: str = ""):
    super().__init__(
      prog=f"heldout {command}",
      description=description,
      epilog=f"{epilog}\n\nAll other flags are Apache Beam's: --runner, --direct_num_workers, …",
      formatter_class=_HelpFormatter,
      allow_abbrev=False,
    )
    self.conclusions: list[Callable[[argparse.Namespace], None]] = []
    self.add_argument(
      "--verbose", action="store_true", help="show logs of all libraries, and errors whole"
    )

  def error(self, message: str) -> NoReturn:
    """Raises a `UsageError` in place of printing the usage."""
    raise UsageError(f"{message}; see `{self.prog} --help`")

  def parse(self, argv: Sequence[str]) -> tuple[argparse.Namespace, PipelineOptions]:
    """Splits a command line into this parser's arguments and Beam's options.

    Raises:
      UsageError: an argument is wrong, or a flag is neither ours nor Beam's.
    """
    arguments, rest = self.parse_known_args(argv)
    for conclude in self.conclusions:
      conclude(arguments)
    with _refusals_as_errors(self):
      options = beam_options(rest)
    self._refuse_unknown(options, rest)
    return arguments, options

  def _refuse_unknown(self, options: PipelineOptions, flags: Sequence[str]) -> None:
    """Refuses flags that are nobody's; runners but for two may have some that only they know."""
    known = re.findall(r"--\w+", self.format_usage())
    unknown: list[str] = []

    def ask(beam: argparse.ArgumentParser) -> None:
      known.extend(re.findall(r"--\w+", beam.format_usage()))
      unknown.extend(beam.parse_known_args(list(flags))[1])

    with _refusals_as_errors(self):
      options.get_all_options(add_extra_args_fn=ask)
    closed = is_in_process(options) or is_dataflow(options)
    for flag in (text.split("=")[0] for text in unknown):
      near = _find_near(flag, known, cutoff=_LIKELY if closed else _NEAR)
      if closed or (near and flag not in known):
        self.error(f"unknown argument {flag}" + (f": did you mean {near}?" if near else ""))


@contextmanager
def _refusals_as_errors(parser: Parser) -> Iterator[None]:
  """Turns the pages with which Beam refuses a value of a flag of its own into one line."""
  said = io.StringIO()
  try:
    with contextlib.redirect_stderr(said):
      yield
  except SystemExit:
    parser.error(said.getvalue().strip().rpartition(": error: ")[2])


def _find_near(flag: str, known: Iterable[str], cutoff: float) -> str | None:
  """Returns the flag that an unknown one is the beginning of, or most like, whatever its case."""
  plain = {re.sub(r"\W|_", "", name).lower(): name for name in known}
  asked = re.sub(r"\W|_", "", flag).lower()
  if len(asked) >= _SHORTEST_BEGINNING:
    for name, written in plain.items():  # ours come first
      if name.startswith(asked):
        return written
  near = difflib.get_close_matches(asked, plain, n=1, cutoff=cutoff)
  return plain[near[0]] if near else None


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
  """Keeps line breaks of descriptions, appends defaults where there are any."""

  def _get_help_string(self, action: argparse.Action) -> str | None:
    if action.default is None or isinstance(action.default, bool):
      return action.help
    return super()._get_help_string(action)


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
    print(printable(f"warning: {warning}"), file=sys.stderr)


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
  interrupted = threading.Event()
  with quiet(verbose=verbose), _watching_interrupts(interrupted):
    try:
      return run(arguments)
    except KeyboardInterrupt:
      interrupted.set()
    except Exception as error:
      if not interrupted.is_set():  # else a job was interrupted, and that is what it made of it
        if verbose and not isinstance(error, UsageError):
          traceback.print_exc()
        return _fail(command, error)
  safe = _WHEN_INTERRUPTED.get(command, "nothing was written")
  print(f"heldout {command}: interrupted: {safe}", file=sys.stderr)
  return INTERRUPTED


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
  """Notes Ctrl-C, which reaches the command as all sorts of errors of its job."""

  def note(*_: object) -> NoReturn:
    interrupted.set()
    raise KeyboardInterrupt

  if threading.current_thread() is not threading.main_thread():
    yield
    return
  former = signal.signal(signal.SIGINT, note)
  try:
    yield
  finally:
    signal.signal(signal.SIGINT, former)


def _fail(command: str, error: Exception) -> int:
  if isinstance(error, UsageError):
    message = str(error)
  elif isinstance(error, OSError):
    message = describe_file_error(error)
  else:
    message = f"{_describe_failure(error)}; --verbose shows all that is known"
  print(printable(f"heldout {command}: error: {message}"), file=sys.stderr)
  return 2


def describe_file_error(error: OSError) -> str:
  """Says in one line which file or bucket cannot be used, why, and what to do."""
  if isinstance(error, FileNotFoundError) and error.filename:
    return f"{error.filename}: there is no such file or bucket"
  if error.filename and error.strerror:
    advice = _ADVICE.get(error.errno or 0, "check the path and your access to it")
    return f"{error.filename}: {error.strerror.lower()}; {advice}"
  return str(error).partition("\n")[0] or type(error).__name__


def _describe_failure(error: Exception) -> str:
  """Says in one line why a job failed: what its worker raised, which Beam passes on as a text."""
  raised = re.findall(r"^(?:\w+\.)*(\w+): (.+)$", str(error), re.MULTILINE)
  name, what = raised[-1] if raised else (type(error).__name__, str(error).partition("\n")[0])
  what = re.sub(r"\s*\[while running .*", "", what)
  if file_error := _FILE_ERROR.fullmatch(what):
    number, reason, path = file_error.groups()
    return f"the job failed: {describe_file_error(OSError(int(number), reason, path))}"
  return f"the job failed: {name}: {what}"
