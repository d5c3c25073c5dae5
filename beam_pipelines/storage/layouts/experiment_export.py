"""An experiment's outcomes in another tool's layout: which runs, and with which margins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import files
from beam_pipelines.storage.layouts.layout_writers import Exported, write_layout
from beam_pipelines.storage.layouts.notes import begin_note, is_abandoned
from beam_pipelines.storage.runs.experiment import Listing, Skipped, require_runs
from beam_pipelines.storage.runs.judgement import (
  SetSizes,
  UnusableRunError,
  agree_on_sizes,
  check_sizes,
)
from beam_pipelines.storage.runs.ordered_outcomes import read_in_order
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.runs.packs import MarginKind
from beam_pipelines.storage.runs.run_place import RunKey
from estimators.ratios import main_ratio
from files.errors import UsageError


class Summary(NamedTuple):
  """What was written, and what was not.

  Attributes:
    runs: how many.
    subset_ratio: theirs.
    skipped: runs that could not be used.
    notes: what else to know, as sentences.
  """

  runs: int
  subset_ratio: float
  skipped: list[Skipped]
  notes: list[str]


class _Judged(NamedTuple):
  usable: set[RunKey]
  sizes: SetSizes
  skipped: list[Skipped]


def export_experiment(
  experiment: str, layout: str, directory: str, subset_ratio: float | None = None
) -> Summary:
  """Writes the recorded outcomes of a subset ratio; runs are read twice, and never held.

  While it writes, a note in the directory says so. What a killed export has left is replaced.

  Args:
    experiment: the directory of runs.
    layout: one of `layout_writers.WRITTEN_LAYOUTS`.
    directory: where to; new, or empty.
    subset_ratio: the ratio; None for the one with the most runs.

  Raises:
    UsageError: there is nothing to write, something is in the directory, or the layout needs what
      is not recorded.
    OSError: something cannot be read or written.
  """
  former = _find_abandoned(directory)
  listing = require_runs(experiment)
  ratio = _choose_ratio(experiment, listing, subset_ratio)
  judged = _judge(listing, ratio)
  if not judged.usable:
    first = judged.skipped[0]
    raise UsageError(f"no run can be used; the first: {first.path} {first.reason}")
  exported = Exported(
    directory=directory,
    runs=len(judged.usable),
    sizes=judged.sizes,
    margin=_margin_of_all(listing, ratio, judged.usable),
    subset_ratio=ratio,
    origin=experiment,
  )
  outcomes = (
    recorded.outcome
    for recorded in read_in_order(listing, ratio, with_margins=exported.margin is not None)
    if recorded.key in judged.usable and isinstance(recorded.outcome, RunOutcome)
  )
  files.delete(former)
  notes = _write(layout, exported, outcomes)
  return Summary(len(judged.usable), ratio, [*listing.skipped, *judged.skipped], notes)


def _find_abandoned(directory: str) -> list[str]:
  """Returns the files that a killed export has left in a directory.

  Raises:
    UsageError: something else is there.
  """
  names = [info.name for info in files.list_files(directory, unfinished=True)]
  whole = not is_abandoned(directory, names)
  if whole and (found := [name for name in names if not files.is_left_over(name)]):
    raise UsageError(f"{files.join(directory, found[0])} is there: choose a new directory")
  return [files.join(directory, name) for name in names]


def _write(layout: str, exported: Exported, outcomes: Iterable[RunOutcome]) -> list[str]:
  """Writes a layout, all of it or nothing, unless the process is killed."""
  directory = exported.directory
  if not begin_note(directory):
    raise UsageError(f"{directory}: another command is writing there: choose a new directory")
  try:
    return write_layout(layout, exported, outcomes)
  except BaseException:
    files.delete(files.join(directory, info.name) for info in files.list_files(directory))
    raise


def _choose_ratio(experiment: str, listing: Listing, wanted: float | None) -> float:
  runs = Counter(key.subset_ratio for key in listing.keys)
  chosen = main_ratio(runs) if wanted is None else wanted
  if chosen is None or chosen not in runs:
    held = ", ".join(map(str, sorted(runs)))
    raise UsageError(f"{experiment} holds no runs at ratio {wanted}, but at {held}")
  return chosen


def _judge(listing: Listing, ratio: float) -> _Judged:
  sizes: dict[RunKey, SetSizes] = {}
  paths: dict[RunKey, str] = {}
  skipped = []
  for recorded in read_in_order(listing, ratio):
    if isinstance(recorded.outcome, RunOutcome):
      sizes[recorded.key] = SetSizes.of(recorded.outcome)
      paths[recorded.key] = recorded.path
    elif recorded.skipped:
      skipped.append(recorded.skipped)
  agreed = agree_on_sizes(Counter(sizes.values()).items())
  usable = set()
  for key, found in sizes.items():
    try:
      check_sizes(found, agreed)
      usable.add(key)
    except UnusableRunError as error:
      skipped.append(Skipped(paths[key], str(error)))
  return _Judged(usable, agreed[0] if agreed else SetSizes(0, 0), skipped)


def _margin_of_all(listing: Listing, ratio: float, usable: set[RunKey]) -> MarginKind | None:
  """Returns the kind of margins that all usable runs record, if they do."""
  kinds: set[MarginKind | None] = {
    packed.margin
    for packed in listing.packed
    if packed.subset_ratio == ratio and not usable.isdisjoint(packed.keys)
  }
  directories = {run.key for run in listing.runs}
  for recorded in read_in_order(Listing(listing.runs, ()), ratio, with_margins=True):
    if recorded.key in usable & directories:
      kinds.add("logsumexp" if isinstance(recorded.outcome, RunOutcome) else None)
      if len(kinds) > 1:
        return None
  return kinds.pop() if len(kinds) == 1 else None
