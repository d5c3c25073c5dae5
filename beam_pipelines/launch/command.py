"""What every command shares: parsing, the runner, and how errors are shown."""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from beam_pipelines.launch.dataflow import is_dataflow
from files.errors import UsageError
from image_datasets import DatasetError

IN_PROCESS_RUNNER = "FnApiRunner"

Run = Callable[[Sequence[str]], int]


class Parser(argparse.ArgumentParser):
  """An argument parser whose errors are one line, whose help shows defaults, and that is exact."""

  def __init__(self, command: str, description: str, epilog: str = ""):
    super().__init__(
      prog=f"heldout {command}",
      description=description,
      epilog=f"{epilog}\n\nAll other flags are Apache Beam's: --runner, --direct_num_workers, …",
      formatter_class=_HelpFormatter,
      allow_abbrev=False,
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
    options = beam_options(rest)
    in_process = options.view_as(StandardOptions).runner == IN_PROCESS_RUNNER
    if in_process or is_dataflow(options):
      self._refuse_unknown(rest)
    if in_process:
      # Its errors reach the caller as exceptions; logging them too would show each twice.
      logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    return arguments, options

  def _refuse_unknown(self, flags: Sequence[str]) -> None:
    """Other runners may bring options of their own; these have none but Beam's."""
    beam = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    for options in PipelineOptions.__subclasses__():
      options._add_argparse_args(beam)
    _, unknown = beam.parse_known_args(list(flags))
    if unknown:
      flag = unknown[0].split("=")[0]
      known = [*self._option_string_actions, *beam._option_string_actions]
      guess = difflib.get_close_matches(flag, known, n=1)
      self.error(f"unknown argument {flag}" + (f": did you mean {guess[0]}?" if guess else ""))


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
  """Keeps line breaks of descriptions, appends defaults."""


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


def execute(command: str, run: Run, argv: Sequence[str] | None = None) -> int:
  """Runs a command and returns its exit status; bad input becomes one line and status 2.

  So does a file or bucket that is not there or may not be used.
  """
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  try:
    return run(sys.argv[1:] if argv is None else argv)
  except (UsageError, DatasetError) as error:
    return _fail(command, str(error))
  except OSError as error:
    return _fail(command, _describe(error))
  except KeyboardInterrupt:
    print(f"heldout {command}: interrupted", file=sys.stderr)
    return 130


def _fail(command: str, message: str) -> int:
  print(f"heldout {command}: error: {message}", file=sys.stderr)
  return 2


def _describe(error: OSError) -> str:
  """Says in one line which file or bucket cannot be used, and why."""
  if isinstance(error, FileNotFoundError) and error.filename:
    return f"{error.filename}: there is no such file or bucket"
  if error.filename and error.strerror:
    return f"{error.filename}: {error.strerror.lower()}; check the path and your access to it"
  return str(error).partition("\n")[0] or type(error).__name__
