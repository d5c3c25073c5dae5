"""`heldout export` of outcomes, as other tools have them."""

from __future__ import annotations

import argparse

from beam_pipelines.launch import command
from beam_pipelines.storage.layouts.experiment_export import export_experiment
from files.errors import UsageError

_SHOWN = 3


def export_outcomes(args: argparse.Namespace) -> int:
  """Writes the outcomes that are asked for, and says what was; returns the exit status.

  Raises:
    UsageError: flags do not go together, or something cannot be written.
  """
  if args.experiment is None or args.scores is not None:
    raise UsageError(
      f"--format={args.format} needs --experiment, and no --scores: it has outcomes of runs"
    )
  if args.dataset is not None:
    raise UsageError(f"--dataset: --format={args.format} has no labels; leave it out")
  if args.output == "-":
    raise UsageError(f"--output: --format={args.format} is a directory of files")
  directory = args.output.rstrip("/")
  summary = export_experiment(args.experiment, args.format, directory, args.ratio)
  print(f"{args.format}: {summary.runs:,} runs at ratio {summary.subset_ratio}, into {directory}")
  if summary.skipped:
    print(f"left out {len(summary.skipped):,} inputs:")
    for entry in summary.skipped[:_SHOWN]:
      print(f"  {entry.path} {entry.reason}")
  command.show_warnings(summary.notes)
  return 0
