"""The `heldout` command: finds the pipeline module of that name and runs it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from beam_pipelines.launch.process import end

COMMANDS = {
  "build-tfrecords": "write a tree of images, such as ImageNet's, as a data set that streams",
  "train": "train subset runs and write their run directories",
  "subsets": "write the subsets that runs would have, for training elsewhere",
  "ingest": "stream an archive of runs, such as a released one, into run directories",
  "import-outcomes": "make runs of what was trained and evaluated elsewhere",
  "inspect": "say what is in an experiment directory",
  "score": "turn outcomes into memorization, influence and consistency tables",
  "verify": "compare what checkpoints predict with what their runs have recorded",
  "explain": "say which examples influence one, or are influenced by it",
  "report": "show score tables as one HTML file",
  "export": "write scores as published files, or outcomes as other tools have them",
  "compare": "compare scores with published ones or with each other",
  "doctor": "say whether this machine has what jobs need",
}


def entry() -> NoReturn:
  """Runs the command line as a process of its own, which an interrupt ends at once."""
  if "_ARGCOMPLETE" in os.environ:  # a shell asks, and waits
    from beam_pipelines.launch.completion import complete

    complete()
  end(main())


def main(argv: Sequence[str] | None = None) -> int:
  """Dispatches `heldout COMMAND …`; returns the exit status."""
  arguments = list(sys.argv[1:] if argv is None else argv)
  if not arguments or arguments[0] in ("-h", "--help"):
    print(_usage())
    return 0
  if arguments[0] == "--version":
    from importlib.metadata import version

    print(f"heldout {version('heldout')}")
    return 0
  if arguments[0].partition("=")[0] == "--completion":
    return _print_completion(arguments)
  name = arguments[0]
  if name not in COMMANDS:
    print(f"heldout: error: unknown command {name!r}; see `heldout --help`", file=sys.stderr)
    return 2
  from beam_pipelines.launch import command  # which takes a second, as does the next

  module = importlib.import_module(f"beam_pipelines.{name.replace('-', '_')}")
  return command.execute(name, module.run, arguments[1:])


def _print_completion(arguments: Sequence[str]) -> int:
  from beam_pipelines.launch.completion import SHELLS, shell_code

  shell = "=".join(arguments).partition("=")[2]  # after a space or a =
  if shell not in SHELLS:
    print(f"heldout: error: --completion is of {', '.join(SHELLS)}", file=sys.stderr)
    return 2
  print(shell_code(shell))
  return 0


def _usage() -> str:
  width = max(map(len, COMMANDS))
  commands = "\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
  return (
    "usage: heldout COMMAND [flags]\n\n"
    "Measures what networks memorize, from models trained on random subsets.\n\n"
    f"{commands}\n\n"
    "`heldout COMMAND --help` explains each, `heldout --version` says which one this is.\n"
    '`eval "$(heldout --completion bash)"` makes a shell complete flags and their values.\n\n'
    "Exit status: 0 if all went well; 1 if `verify` or `doctor` found something wrong; 2 after an\n"
    "error, which is one line; 130 after Ctrl-C.\n\n"
    "A usual order:\n\n"
    "  heldout train --experiment=runs --dataset=digits --runs=0:200\n"
    "  heldout score --experiment=runs --scores=scores --dataset=digits\n"
    "  heldout report --scores=scores --dataset=digits --output=report.html"
  )


if __name__ == "__main__":
  entry()
