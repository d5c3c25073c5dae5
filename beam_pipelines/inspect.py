"""`heldout inspect`: says what an experiment directory holds."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from beam_pipelines.launch import arguments, command
from beam_pipelines.storage.runs import aux_arrays
from beam_pipelines.storage.runs.experiment import RunDirectory, Skipped, list_some_runs
from beam_pipelines.storage.runs.outcome import Accuracies

_CONCURRENT_READS = 16


class _Inspected(NamedTuple):
  run: RunDirectory
  accuracies: Accuracies | None
  problem: str | None


def run(argv: Sequence[str]) -> int:
  """Prints one line per subset ratio and one per problem; returns the exit status."""
  parser = command.Parser(
    "inspect",
    "Says what is in an experiment directory: ratios, runs, accuracies, size, and what is wrong.",
    "Example:\n  heldout inspect --experiment=gs://bucket/cifar100-inception",
  )
  parser.add_argument("--experiment", type=arguments.path, required=True, help="what to inspect")
  args, _ = parser.parse(argv)
  listing = list_some_runs(args.experiment)
  with ThreadPoolExecutor(_CONCURRENT_READS) as pool:
    reading = pool.map(_inspect, listing.runs)
    inspected = list(
      tqdm(reading, total=len(listing.runs), unit=" runs", disable=None, leave=False)
    )
  print(
    "\n".join([args.experiment, "", *_table(inspected), "", *_problems(inspected, listing.skipped)])
  )
  return 0


def _inspect(run: RunDirectory) -> _Inspected:
  try:
    return _Inspected(run, aux_arrays.read(run).accuracies(), None)
  except aux_arrays.AuxArraysError as error:
    return _Inspected(run, None, str(error))


def _table(inspected: Sequence[_Inspected]) -> Iterable[str]:
  yield (
    f"{'ratio':>8}{'runs':>8}{'complete':>10}{'usable':>8}{'train':>9}{'removed':>9}{'test':>9}"
    f"{'checkpoints':>13}{'MB':>12}"
  )
  for ratio in sorted({row.run.key.subset_ratio for row in inspected}):
    yield _line(str(ratio), [row for row in inspected if row.run.key.subset_ratio == ratio])
  yield _line("all", inspected)


def _line(name: str, rows: Sequence[_Inspected]) -> str:
  usable = [row.accuracies for row in rows if row.accuracies]
  complete = sum(row.run.complete for row in rows)
  means = "".join(
    _percent([getattr(accuracies, split) for accuracies in usable])
    for split in ("train", "removed", "test")
  )
  checkpoints = sum(len(row.run.checkpoint_names) == 1 for row in rows)
  megabytes = sum(row.run.bytes for row in rows) / 1e6
  return (
    f"{name:>8}{len(rows):>8,}{complete:>10,}{len(usable):>8,}{means}"
    f"{checkpoints:>13,}{megabytes:>12,.1f}"
  )


def _percent(values: Sequence[float | None]) -> str:
  defined = [value for value in values if value is not None]
  return f"{np.mean(defined):>9.2%}" if defined else f"{'-':>9}"


def _problems(inspected: Sequence[_Inspected], skipped: Sequence[Skipped]) -> Iterable[str]:
  problems = [(row.run.path, row.problem) for row in inspected if row.problem]
  problems += [(entry.path, entry.reason) for entry in skipped]
  if not problems:
    yield "every run can be scored"
    return
  yield f"{len(problems):,} cannot be scored:"
  for path, problem in problems:
    yield f"  {path}: {problem}"


if __name__ == "__main__":
  sys.exit(command.execute("inspect", run))
