"""What shells suggest, told by a table: parsers are quick to make of it, commands slow to import.

`scripts/write_completions.py` writes the table from the parsers of the commands.
"""

from __future__ import annotations

import argparse
import functools
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from typing import Any

import argcomplete
from argcomplete.completers import DirectoriesCompleter, FilesCompleter

SHELLS = ("bash", "zsh", "fish")

TABLE = "completions.json"
"""The table, in the package of this module."""


def shell_code(shell: str) -> str:
  """Returns what a shell is to evaluate once, to ask `heldout` at each tab."""
  return argcomplete.shellcode(["heldout"], shell=shell)


def complete() -> None:
  """Answers the shell that asks, and ends the process; argcomplete's variables say what it asks."""
  table = json.loads(importlib.resources.files(__package__).joinpath(TABLE).read_text("utf-8"))
  parser = argparse.ArgumentParser("heldout")
  parser.add_argument("--version", action="store_true", help="say which one this is")
  shells: Any = parser.add_argument("--completion", help="print what makes a shell complete flags")
  shells.completer = functools.partial(_complete_value, SHELLS)
  commands = parser.add_subparsers()
  for name, command in table["commands"].items():
    one = commands.add_parser(name, help=command["help"], add_help=False)
    for flag in command["flags"]:
      _add(one, flag, table["datasets"])
  none: Any = functools.partial(_complete_value, ())  # which are files, unless one says otherwise
  argcomplete.autocomplete(parser, default_completer=none)


def _add(
  parser: argparse.ArgumentParser, flag: Mapping[str, Any], datasets: Mapping[str, bool]
) -> None:
  if flag["value"] is None:
    parser.add_argument(*flag["names"], action="store_true", help=flag["help"])
    return
  action: Any = parser.add_argument(*flag["names"], help=flag["help"])
  if flag["values"]:
    action.completer = functools.partial(_complete_value, flag["values"])
  elif flag["value"] == "DATASET":
    action.completer = functools.partial(_complete_dataset, datasets)
  elif flag["value"] == "DIR":
    action.completer = DirectoriesCompleter()
  elif flag["value"] == "FILE":
    action.completer = FilesCompleter()


def _complete_value(values: Sequence[str], **_: object) -> Sequence[str]:
  return values


def _complete_dataset(datasets: Mapping[str, bool], prefix: str, **_: object) -> list[str]:
  """Returns the kinds of data sets, or the paths that may follow one."""
  kind, colon, path = prefix.partition(":")
  if datasets.get(kind + colon):
    return [f"{kind}:{found}" for found in FilesCompleter()(path)]
  return [beginning for beginning in datasets if beginning.startswith(prefix)]
