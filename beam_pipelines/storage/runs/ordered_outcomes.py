"""The recorded outcomes of an experiment, one after the other, in the order of their runs."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from beam_pipelines.storage.runs.experiment import Listing, RunDirectory, Skipped
from beam_pipelines.storage.runs.judgement import (
  UnusableRunError,
  fetch_many,
  read_outcome,
  read_packed,
)
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.runs.packs import PackedRuns
from beam_pipelines.storage.runs.run_place import RunKey


class Recorded(NamedTuple):
  """A run with its outcome, or why it has none that can be used."""

  key: RunKey
  path: str
  outcome: RunOutcome | UnusableRunError

  @property
  def skipped(self) -> Skipped | None:
    """The run as an input that was not used, or None if it can be."""
    if isinstance(self.outcome, UnusableRunError):
      return Skipped(self.path, str(self.outcome))
    return None


def read_in_order(
  listing: Listing, subset_ratio: float, *, with_margins: bool = False
) -> Iterator[Recorded]:
  """Yields all runs of a subset ratio by ascending id.

  Run directories are read several at a time, of each pack one part is in memory.

  Args:
    listing: the experiment's.
    subset_ratio: the ratio.
    with_margins: whether margins are needed.
  """
  directories = [run for run in listing.runs if run.key.subset_ratio == subset_ratio]
  parts = [packed for packed in listing.packed if packed.subset_ratio == subset_ratio]
  by_pack = itertools.groupby(
    sorted(parts, key=lambda part: (part.directory, part.runs)), key=lambda part: part.directory
  )
  streams = [_read_directories(directories, with_margins)]
  streams += [_read_parts(list(of_pack), with_margins) for _, of_pack in by_pack]
  yield from heapq.merge(*streams, key=lambda recorded: recorded.key)


def _read_directories(runs: Sequence[RunDirectory], with_margins: bool) -> Iterator[Recorded]:
  for run, fetched in fetch_many(runs):
    try:
      if isinstance(fetched, UnusableRunError):
        raise fetched
      outcome: RunOutcome | UnusableRunError = read_outcome(run, fetched, with_margins=with_margins)
    except UnusableRunError as error:
      outcome = error
    yield Recorded(run.key, run.path, outcome)


def _read_parts(parts: Sequence[PackedRuns], with_margins: bool) -> Iterator[Recorded]:
  for part in parts:
    for run, found in read_packed(part, with_margins=with_margins):
      yield Recorded(RunKey(part.subset_ratio, run), part.path_of(run), found)
