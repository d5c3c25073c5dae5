"""Importing as a transform: ranges of foreign rows in, one pack of runs out."""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsIter, AsSingleton
from apache_beam.utils.shared import Shared

import files
from beam_pipelines.storage.layouts.foreign_rows import (
  Description,
  ForeignRows,
  RowError,
  make_outcomes,
)
from beam_pipelines.storage.layouts.sources import Source
from beam_pipelines.storage.runs import packed_part
from beam_pipelines.storage.runs.experiment import list_runs
from beam_pipelines.storage.runs.misreadings import RunTrace
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.runs.packs import (
  RESULT,
  Pack,
  PackedPart,
  PackedRuns,
  directory_of,
  write_manifest,
)
from beam_pipelines.storage.runs.run_place import RunKey
from files.errors import UsageError

_READ_BYTES = 1 << 25
_SHOWN_PROBLEMS = 20

# How far the share that runs saw may lie from the ratio that their directory is named by.
_ROUNDING = 0.05


@dataclasses.dataclass(frozen=True)
class ImportTask:
  """What is imported, and whereto.

  Attributes:
    source: the outcomes.
    experiment: the directory of runs.
    subset_ratio: of the runs.
    rows: first row, and the one after the last.
    first_run: id that row 0 gets, or would get; the others follow.
    pack: name of the pack.
    there: the packed runs at this ratio, whose outcomes are not imported again.
  """

  source: Source
  experiment: str
  subset_ratio: float
  rows: tuple[int, int]
  first_run: int
  pack: str
  there: tuple[PackedRuns, ...]

  @property
  def directory(self) -> str:
    """Of the pack."""
    return directory_of(self.experiment, self.subset_ratio, self.pack)


class RowCounts(NamedTuple):
  """What rows add up to: those that are imported, and what their runs saw and were right on."""

  imported: int = 0
  there: int = 0
  left_out: int = 0
  seen: int = 0
  correct_seen: int = 0
  unseen: int = 0
  correct_unseen: int = 0

  @property
  def total(self) -> int:
    """All rows."""
    return self.imported + self.there + self.left_out


@dataclasses.dataclass(frozen=True)
class ImportedRange:
  """What became of a range of rows.

  Attributes:
    start: the first of them.
    counts: see `RowCounts`.
    part: the file that was written of them; None if none was to be imported.
    problems: the first rows that were left out, with the reason.
  """

  start: int
  counts: RowCounts
  part: PackedPart | None
  problems: tuple[tuple[int, str], ...]


@dataclasses.dataclass
class ImportOutcomes(beam.PTransform):
  """Imports foreign outcomes as one pack, whose manifest comes last.

  Input: ranges of rows, `(start, stop)`, each of which becomes a part. Output: the `RowCounts` of
  all. Files are opened once per process. A repetition writes the same files. Nothing is believed
  before all rows are accounted for: imported, there already, or left out with a reason. What came
  of it is written to `result.json` in the pack's directory, for whoever waits: the counts and the
  first reasons, or in `refusal` why nothing was imported.

  Args:
    task: what is imported.
  """

  task: ImportTask

  def expand(self, ranges: beam.PCollection[tuple[int, int]]) -> beam.PCollection[RowCounts]:
    """Looks at what is there, imports each range, and publishes in one place."""
    pipeline = ranges.pipeline
    digests = (
      pipeline
      | "Packed runs" >> beam.Create(self.task.there, reshuffle=False)
      | "Read digests" >> beam.FlatMap(_read_digests)
      | "All digests" >> beam.combiners.ToSet()
    )
    imported = ranges | "Import range" >> beam.ParDo(_ImportRange(self.task), AsSingleton(digests))
    return (
      pipeline
      | "Once" >> beam.Create([self.task])
      | "Publish pack" >> beam.Map(_publish, AsIter(imported))
    )


class _ImportRange(beam.DoFn):
  def __init__(self, task: ImportTask):
    self._task = task
    self._shared = Shared()

  def setup(self) -> None:
    self._rows: ForeignRows = self._shared.acquire(self._task.source.open)

  def process(self, rows: tuple[int, int], there: set[bytes]) -> Iterator[ImportedRange]:
    start, stop = rows
    outcomes: list[RunOutcome] = []
    problems: list[tuple[int, str]] = []
    counts = Counter[str]()
    for row, outcome in self._read(start, stop):
      if isinstance(outcome, RowError):
        counts["left_out"] += 1
        problems.append((row, str(outcome)))
      elif RunTrace.of(outcome).digest in there:
        counts["there"] += 1
      else:
        counts.update(_count(outcome))
        outcomes.append(outcome)
    part = packed_part.write(self._task.directory, outcomes) if outcomes else None
    yield ImportedRange(start, RowCounts(**counts), part, tuple(problems[:_SHOWN_PROBLEMS]))

  def _read(self, start: int, stop: int) -> Iterator[tuple[int, RunOutcome | RowError]]:
    described = self._rows.description
    step = max(1, _READ_BYTES // described.row_bytes)
    for first in range(start, stop, step):
      chunk = self._rows.read(first, min(first + step, stop))
      run = self._task.first_run + first
      outcomes = make_outcomes(described, chunk, self._task.subset_ratio, run)
      yield from enumerate(outcomes, start=first)


def _read_digests(packed: PackedRuns) -> Iterator[bytes]:
  try:
    yield from packed_part.read_digests(packed).values()
  except packed_part.PartError as error:
    raise UsageError(f"{packed.directory}: {error}") from error


def _count(outcome: RunOutcome) -> dict[str, int]:
  in_subset, correct, _ = outcome.unpack()
  counts = {"imported": 1, "seen": outcome.examples_in}
  counts["unseen"] = outcome.num_train - outcome.examples_in
  if outcome.train_recorded:
    counts["correct_seen"] = int(np.count_nonzero(correct & in_subset))
    counts["correct_unseen"] = int(np.count_nonzero(correct & ~in_subset))
  return counts


def _publish(task: ImportTask, imported: Iterable[ImportedRange]) -> RowCounts:
  ranges = sorted(set(imported), key=lambda each: each.start)  # repeated work gives the same
  counts = RowCounts(
    *(sum(column) for column in zip(*(each.counts for each in ranges), strict=True))
  )
  parts = tuple(each.part for each in ranges if each.part)
  described = task.source.open().description
  problems = [problem for each in ranges for problem in each.problems][:_SHOWN_PROBLEMS]
  result: dict[str, object] = {
    **counts._asdict(),
    "problems": problems,
    "bytes": sum(part.bytes for part in parts),
    "refusal": _find_refusal(task, counts, parts, described),
  }
  files.write_json(files.join(task.directory, RESULT), result)
  if parts and result["refusal"] is None:
    write_manifest(task.directory, _describe_pack(task, counts, parts, described))
  return counts


def _find_refusal(
  task: ImportTask, counts: RowCounts, parts: Sequence[PackedPart], described: Description
) -> str | None:
  """Returns why nothing is imported, if that is so."""
  start, stop = task.rows
  if counts.total != stop - start or sum(part.rows for part in parts) != counts.imported:
    return (
      f"the job lost or repeated some of its work: {counts.total:,} rows, not {stop - start:,}: "
      "nothing is imported; run it again, or on another runner"
    )
  sizes = {info.name: info.size for info in files.list_files(task.directory)}
  lost = next((part.name for part in parts if sizes.get(part.name) != part.bytes), None)
  if lost:
    return f"{files.join(task.directory, lost)} is not whole: nothing is imported; run it again"
  if counts.imported and task.source.subset_ratio is None:
    share = counts.seen / (counts.imported * described.num_train)
    if abs(share - task.subset_ratio) > _ROUNDING:
      return (
        f"the runs saw {share:.1%} of the training set on average, which is not the "
        f"{task.subset_ratio} of those that were looked at first: say the subset ratio"
      )
  new = {RunKey(task.subset_ratio, run) for part in parts for run in part.ids}
  listing = list_runs(task.experiment)
  others = [packed for packed in listing.packed if packed.directory != task.directory]
  keys = [run.key for run in listing.runs] + [key for packed in others for key in packed.keys]
  taken = sorted(key for key in keys if key in new)
  if taken:
    return (
      f"{task.experiment}: {len(taken):,} of the runs are there already with other outcomes, the "
      f"first {taken[0].subset_ratio}/{taken[0].run}: choose other run ids"
    )
  return None


def _describe_pack(
  task: ImportTask, counts: RowCounts, parts: tuple[PackedPart, ...], described: Description
) -> Pack:
  return Pack(
    subset_ratio=task.subset_ratio,
    num_train=described.num_train,
    num_test=described.num_test,
    recorded=described.recorded,
    missing=described.missing,
    origin=described.origin,
    rows={"imported": counts.imported, "there": counts.there, "left_out": counts.left_out},
    created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    parts=parts,
    margin=described.margins,
  )
