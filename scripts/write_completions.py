"""Writes what shells suggest, from the parsers of the commands.

`python scripts/write_completions.py > beam_pipelines/launch/completions.json`
"""

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from beam_pipelines.cli import COMMANDS
from beam_pipelines.launch.engines import RUNNERS
from beam_pipelines.launch.parser import Parser
from image_datasets import spec_beginnings

BEAMS = (
  ("--runner", "where the job runs", RUNNERS),
  ("--direct_num_workers", "workers on this machine; 0 for all cores", ()),
  (
    "--direct_running_mode",
    "how they run",
    ("in_memory", "multi_threading", "multi_processing"),
  ),
)
"""The flags of Beam that are used daily."""


def describe() -> dict[str, Any]:
  """Returns the flags of all commands, and how specs of data sets begin."""
  commands = {name: _describe_command(name, what) for name, what in COMMANDS.items()}
  return {"datasets": spec_beginnings(), "commands": commands}


def _describe_command(name: str, what: str) -> dict[str, object]:
  module = importlib.import_module(f"beam_pipelines.{name.replace('-', '_')}")
  parser: Parser = module.make_parser()
  parser.show_all()
  flags = [
    _describe_flag(action, parser.suggestions.get(action, ()))
    for actions in parser.flags.values()
    for action in actions
  ]
  if parser.runs_jobs:
    flags += [
      {"names": [flag], "help": help, "value": "VALUE", "values": list(values)}
      for flag, help, values in BEAMS
    ]
  return {"help": what, "flags": flags}


def _describe_flag(action: argparse.Action, suggestions: Sequence[str]) -> dict[str, object]:
  value = None if action.nargs == 0 else str(action.metavar)
  return {
    "names": list(action.option_strings) or [action.dest],
    "help": str(action.help).partition(" (default")[0],
    "value": value if action.option_strings else "FILE",
    "values": [str(choice) for choice in action.choices or suggestions],
  }


def write(table: dict[str, Any]) -> str:
  """Returns the table as it is stored, a flag a line."""
  commands = [
    f'{_json(name)}: {{"help": {_json(command["help"])}, "flags": [\n'
    + ",\n".join(map(_json, command["flags"]))
    + "\n]}"
    for name, command in table["commands"].items()
  ]
  text = ",\n".join(commands)
  return f'{{"datasets": {_json(table["datasets"])},\n"commands": {{\n{text}\n}}}}\n'


def _json(value: object) -> str:
  return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
  sys.stdout.write(write(describe()))
