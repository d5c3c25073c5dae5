"""Recorded outcomes as a transform: run directories in, outcomes and skipped runs out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.pvalue import AsSingleton, TaggedOutput

from beam_pipelines.storage.runs.experiment import RunDirectory
from beam_pipelines.storage.runs.judgement import (
  SetSizes,
  UnusableRunError,
  agree_on_sizes,
  check_sizes,
  fetch_many,
  read_outcome,
  read_packed,
)
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.runs.packs import PackedRuns
from beam_pipelines.storage.scores.directory import read_part
from beam_pipelines.storage.scores.manifest import StoredPart
from beam_pipelines.storage.scores.outcomes_table import decode_outcomes
from beam_pipelines.transforms.skip_runs import skip
from beam_pipelines.transforms.spill_values import SpillValues
from files.spill import Spill, Spilled, load

OUTCOMES = "outcomes"
SKIPPED = "skipped"

_RUNS_PER_BATCH = 256


@dataclasses.dataclass
class ReadRecordedOutcomes(beam.PTransform):
  """Reads recorded outcomes; what is wrong with one run concerns that run alone.

  Input: `RunDirectory`s. Output: a dict of `outcomes` (`RunOutcome`s, all of the same sizes) and
  `skipped` (`Skipped`s). Each worker thread reads several `aux_arrays.npz` at the same time. Packed
  runs are read part by part, in the memory of one part.

  Args:
    sizes: of the data set; None: whatever most runs have. Where as many runs have others, all are
      skipped: the sizes must be said.
    packed: packed runs to be read as well.
    exact: whether runs must have just these `sizes`; otherwise, where there are packed ones, all
      may lack the outcomes of one side.
    with_margins: whether outcomes have margins, too: a run that records none is skipped.
    spill: where outcomes wait for each other, or None: in memory.
  """

  sizes: SetSizes | None = None
  packed: tuple[PackedRuns, ...] = ()
  exact: bool = False
  with_margins: bool = False
  spill: Spill | None = None

  def expand(self, runs: beam.PCollection[RunDirectory]) -> dict[str, beam.PCollection]:
    """Reads, then sets aside the runs whose sizes are not the others'."""
    read = (
      runs
      | "Batch"
      >> beam.BatchElements(min_batch_size=_RUNS_PER_BATCH, max_batch_size=_RUNS_PER_BATCH)
      | "Read" >> beam.FlatMap(_read, self.with_margins).with_outputs(SKIPPED, main=OUTCOMES)
    )
    located, skipped = read[OUTCOMES], read[SKIPPED]
    known = self.sizes is not None and (self.exact or not self.packed)
    if self.packed or not known:
      located = located | "Let wait" >> SpillValues(self.spill)
    if self.packed:
      packed = self._read_packed(runs.pipeline)
      waiting = packed[OUTCOMES] | "Let packed wait" >> SpillValues(self.spill)
      located = (located, waiting) | "Unpacked and packed" >> beam.Flatten()
      skipped = (skipped, packed[SKIPPED]) | "Skipped of both" >> beam.Flatten()
    if known:
      agreed = runs.pipeline | "Sizes of the data set" >> beam.Create([(self.sizes,)])
    else:
      agreed = (
        located
        | "Sizes" >> beam.Map(lambda located: SetSizes.of(load(located[1])))
        | "Count sizes" >> beam.combiners.Count.PerElement()
        | "Gather sizes" >> beam.combiners.ToList()
        | "Most frequent" >> beam.Map(agree_on_sizes, self.sizes)
      )
    checked = located | "Check sizes" >> beam.ParDo(_check_sizes, AsSingleton(agreed)).with_outputs(
      SKIPPED, main=OUTCOMES
    )
    skipped = (skipped, checked[SKIPPED]) | "All skipped" >> beam.Flatten()
    return {OUTCOMES: checked[OUTCOMES], SKIPPED: skipped}

  def _read_packed(self, pipeline: beam.Pipeline) -> dict[str, beam.PCollection]:
    return (
      pipeline
      | "Packed runs" >> beam.Create(self.packed, reshuffle=False)
      | "One worker per part" >> beam.Reshuffle()
      | "Read packed"
      >> beam.FlatMap(_read_packed, self.with_margins).with_outputs(SKIPPED, main=OUTCOMES)
    )


@dataclasses.dataclass
class ReadScoredOutcomes(beam.PTransform):
  """Reads the outcomes that a scores directory was made of.

  Input: parts of its `outcomes` table. Output: `RunOutcome`s.

  Args:
    scores: the scores directory.
  """

  scores: str

  def expand(self, parts: beam.PCollection[StoredPart]) -> beam.PCollection[RunOutcome]:
    """Reads each part."""
    return parts | "Read part" >> beam.FlatMap(
      lambda part: decode_outcomes(read_part(self.scores, part))
    )


def common_sizes(gathered: beam.PCollection[list[RunOutcome]]) -> beam.PCollection[SetSizes]:
  """Returns the sizes that the outcomes of all groups share, a singleton; (0, 0) without any."""
  return (
    gathered
    | "Sizes of outcomes" >> beam.Map(lambda group: SetSizes.of(group[0]))
    | "Any sizes" >> beam.CombineGlobally(lambda sizes: max(sizes, default=SetSizes(0, 0)))
  )


def _read(
  runs: Sequence[RunDirectory], with_margins: bool
) -> Iterator[tuple[str, RunOutcome] | TaggedOutput]:
  for run, fetched in fetch_many(runs):
    try:
      if isinstance(fetched, UnusableRunError):
        raise fetched
      yield run.path, read_outcome(run, fetched, with_margins=with_margins)
    except UnusableRunError as error:
      yield TaggedOutput(SKIPPED, skip(run.path, error))


def _read_packed(
  packed: PackedRuns, with_margins: bool
) -> Iterator[tuple[str, RunOutcome] | TaggedOutput]:
  for run, found in read_packed(packed, with_margins=with_margins):
    path = packed.path_of(run)
    if isinstance(found, UnusableRunError):
      yield TaggedOutput(SKIPPED, skip(path, found))
    else:
      yield path, found


def _check_sizes(
  located: tuple[str, RunOutcome | Spilled], agreed: Sequence[SetSizes]
) -> Iterator[RunOutcome | TaggedOutput]:
  path, outcome = located[0], load(located[1])
  try:
    check_sizes(SetSizes.of(outcome), agreed)
  except UnusableRunError as error:
    yield TaggedOutput(SKIPPED, skip(path, error))
  else:
    yield outcome
