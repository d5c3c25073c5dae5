"""The flags of a command: read exactly, refused in one line, and shown in groups."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import itertools
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn

from apache_beam.options.pipeline_options import PipelineOptions
from rich_argparse import RawDescriptionRichHelpFormatter

from beam_pipelines.launch import terminal
from beam_pipelines.launch.command import beam_options, is_in_process
from beam_pipelines.launch.dataflow import is_dataflow
from beam_pipelines.launch.groups import GROUPS, RUNS, Group
from files.errors import UsageError

# How alike an unknown flag and a known one must be, to guess that it is meant, and to be sure.
_LIKELY, _NEAR = 0.6, 0.8
_SHORTEST_BEGINNING = 3

_HELP_COLUMN = 28


class Parser(argparse.ArgumentParser):
  """An argument parser that is exact, whose errors are one line, and whose help is in groups.

  Help shows what is used daily and the defaults, on a screen and a half; `--help_all` shows
  everything.

  Attributes:
    flags: the flags of each group, arguments by position among them.
    suggestions: what shells suggest as the value of a flag that takes others, too.
    conclusions: what is done to the arguments once all are known.
    appendices: what only `--help_all` says, below all flags.
    runs_jobs: whether the command runs a job of Apache Beam.
  """

  def __init__(
    self, command: str, description: str, examples: str = "", *, runs_jobs: bool = False
  ):
    super().__init__(
      prog=f"heldout {command}",
      description=description,
      formatter_class=_HelpFormatter,
      allow_abbrev=False,
      add_help=False,
    )
    self.examples = examples
    self.runs_jobs = runs_jobs
    self.flags: dict[Group, list[argparse.Action]] = {group: [] for group in GROUPS}
    self.suggestions: dict[argparse.Action, Sequence[str]] = {}
    self.conclusions: list[Callable[[argparse.Namespace], None]] = []
    self.appendices: list[str] = []
    self._sections = {group: self.add_argument_group(group.title) for group in GROUPS}
    self._alternatives: list[list[argparse.Action]] = []
    self._hidden: dict[argparse.Action, str] = {}
    self._shows_all = False
    self.add(RUNS, "-h", "--help", action="help", help="show the flags that are used daily")
    self.add(RUNS, "--help_all", nargs=0, action=_ShowAll, help="show every flag")
    self.add(
      RUNS, "--verbose", action="store_true", help="show logs of all libraries, and errors whole"
    )

  def add(
    self,
    group: Group,
    *names: str,
    help: str,
    suggestions: Sequence[str] = (),
    **options: Any,
  ) -> None:
    """Adds a flag, or an argument by position, to a group; help says its default, if it has one.

    Args:
      group: where it is shown.
      *names: of the flag.
      help: what it means, in a line if possible.
      suggestions: values that shells suggest, where others are taken, too.
      **options: those of `argparse.ArgumentParser.add_argument`. A `metavar` says how shells
        complete values: `DIR` and `FILE` are paths, `DATASET` is a spec.
    """
    action = self._add(self._sections[group], group, names, help, options)
    if suggestions:
      self.suggestions[action] = suggestions

  def add_one_of(self, group: Group, helps: Mapping[str, str], **options: Any) -> None:
    """Adds flags of which exactly one must be given, by their names, as `add` does."""
    section = self._sections[group].add_mutually_exclusive_group(required=True)
    self._alternatives.append(
      [self._add(section, group, [name], help, options) for name, help in helps.items()]
    )

  def _add(
    self,
    section: Any,
    group: Group,
    names: Sequence[str],
    help: str,
    options: Mapping[str, Any],
  ) -> argparse.Action:
    default = options.get("default")
    if default is not None and not isinstance(default, bool):
      help += " (default: %(default)s)"
    action: argparse.Action = section.add_argument(*names, help=help, **options)
    self.flags[group].append(action)
    if group.is_rare:
      self._hidden[action], action.help = help, argparse.SUPPRESS
    return action

  def add_dry_run(self) -> None:
    """Adds the flag that makes a command say what it would do."""
    self.add(
      RUNS, "--dry_run", action="store_true", help="print what would be done and where, do nothing"
    )

  def show_all(self) -> None:
    """Makes help show every flag."""
    for action, text in self._hidden.items():
      action.help = text
    self._hidden = {}
    self._shows_all = True

  def format_help(self) -> str:
    """Returns the help, in colors where the terminal shows them."""
    self.usage = self._describe_usage()
    self.description = textwrap.fill(self.description or "", _columns())
    self.epilog = "\n\n".join(self._describe_the_rest())
    return super().format_help()

  def error(self, message: str) -> NoReturn:
    """Raises a `UsageError` in place of printing the usage."""
    raise UsageError(f"{message}; see `{self.prog} --help`")

  def parse(self, argv: Sequence[str]) -> tuple[argparse.Namespace, PipelineOptions]:
    """Splits a command line into this parser's arguments and Beam's options.

    Raises:
      UsageError: an argument is wrong, or a flag is neither ours nor Beam's.
    """
    arguments, rest = self.parse_known_args(argv)
    self._refuse_empty(arguments)
    for conclude in self.conclusions:
      conclude(arguments)
    with _refusals_as_errors(self):
      options = beam_options(rest)
    self._refuse_unknown(options, rest)
    return arguments, options

  def _refuse_empty(self, arguments: argparse.Namespace) -> None:
    """Refuses values like those that a shell makes of a variable which is not set."""
    for action in itertools.chain.from_iterable(self.flags.values()):
      if getattr(arguments, action.dest, None) == "":
        name = (action.option_strings or [action.dest])[0]
        self.error(f"argument {name}: it is empty: give a value, or leave it out")

  def _refuse_unknown(self, options: PipelineOptions, flags: Sequence[str]) -> None:
    """Refuses flags that are nobody's; runners but for two may have some that only they know."""
    known = [name for actions in self.flags.values() for a in actions for name in a.option_strings]
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

  def _describe_usage(self) -> str:
    required = [
      _written(action) for actions in self.flags.values() for action in actions if action.required
    ]
    required += [f"({' | '.join(map(_written, actions))})" for actions in self._alternatives]
    prefix = "usage: "
    text = " ".join([self.prog, *required, "[flags]"])
    columns = shutil.get_terminal_size().columns - len(prefix)
    return textwrap.fill(text, columns, subsequent_indent=" " * len(prefix), break_on_hyphens=False)

  def _describe_the_rest(self) -> Iterator[str]:
    if self.examples:
      yield self.examples
    if self._shows_all:
      yield from self.appendices
    last = []
    if self.runs_jobs:
      last.append("All other flags are Apache Beam's: --runner, --direct_num_workers, …")
    if self._hidden:
      last.append(f"`{self.prog} --help_all` shows {len(self._hidden)} more flags")
    if last:
      yield "\n".join(last)


def _written(action: argparse.Action) -> str:
  """Returns a flag as the usage has it."""
  return "=".join([*action.option_strings[:1], str(action.metavar)])


def _columns() -> int:
  return shutil.get_terminal_size().columns


class _ShowAll(argparse.Action):
  """Shows every flag, and ends the process as `--help` does."""

  def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
    assert isinstance(parser, Parser)
    parser.show_all()
    parser.print_help()
    parser.exit()


class _HelpFormatter(RawDescriptionRichHelpFormatter):
  """Keeps line breaks, takes brackets for brackets, and colors only what is not prose."""

  group_name_formatter = str
  help_markup = False
  text_markup = False
  styles: ClassVar = {
    "argparse.args": "cyan",
    "argparse.groups": "yellow",
    "argparse.help": "none",
    "argparse.metavar": "green",
    "argparse.syntax": "cyan",
    "argparse.text": "none",
    "argparse.prog": "none",
    "argparse.default": "none",
  }

  def __init__(self, prog: str):
    super().__init__(prog, max_help_position=_HELP_COLUMN, console=terminal.console(sys.stdout))


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
