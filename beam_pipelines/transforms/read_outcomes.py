"""Recorded outcomes as a transform: run directories in, outcomes and skipped runs out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsSingleton, TaggedOutput

from beam_pipelines.storage.runs import aux_arrays
from beam_pipelines.storage.runs.experiment import RunDirectory, Skipped
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.scores.directory import read_part
from beam_pipelines.storage.scores.outcomes_table import decode_outcomes

OUTCOMES = "outcomes"
SKIPPED = "skipped"

_RUNS_PER_BATCH = 256


class SetSizes(NamedTuple):
  """How many examples the training and the test set have."""

  num_train: int
  num_test: int


@dataclasses.dataclass
class ReadRecordedOutcomes(beam.PTransform):
  """Reads `aux_arrays.npz` of each run; what is wrong with one run concerns that run alone.

  Input: `RunDirectory`s. Output: a dict of `outcomes` (`RunOutcome`s, all of the same sizes) and
  `skipped` (`Skipped`s). Each worker thread reads several runs at the same time.

  Args:
    sizes: of the data set; None: whatever most runs have.
  """

  sizes: SetSizes | None = None

  def expand(self, runs: beam.PCollection[RunDirectory]) -> dict[str, beam.PCollection]:
    """Reads, then sets aside the runs whose sizes are not the others'."""
    read = (
      runs
      | "Batch"
      >> beam.BatchElements(min_batch_size=_RUNS_PER_BATCH, max_batch_size=_RUNS_PER_BATCH)
      | "Read" >> beam.FlatMap(_read).with_outputs(SKIPPED, main=OUTCOMES)
    )
    if self.sizes is None:
      sizes = (
        read[OUTCOMES]
        | "Sizes" >> beam.Map(lambda located: _sizes(located[1]))
        | "Count sizes" >> beam.combiners.Count.PerElement()
        | "Most frequent" >> beam.CombineGlobally(_most_frequent)
        | "Without the count" >> beam.Map(lambda most: most and most[0])
      )
    else:
      sizes = runs.pipeline | "Sizes of the data set" >> beam.Create([self.sizes])
    checked = read[OUTCOMES] | "Check sizes" >> beam.ParDo(
      _check_sizes, AsSingleton(sizes)
    ).with_outputs(SKIPPED, main=OUTCOMES)
    skipped = (read[SKIPPED], checked[SKIPPED]) | "All skipped" >> beam.Flatten()
    return {OUTCOMES: checked[OUTCOMES], SKIPPED: skipped}


@dataclasses.dataclass
class ReadScoredOutcomes(beam.PTransform):
  """Reads the outcomes that a scores directory was made of.

  Input: paths of parts of its `outcomes` table. Output: `RunOutcome`s.
  """

  def expand(self, parts: beam.PCollection[str]) -> beam.PCollection[RunOutcome]:
    """Reads each part."""
    return parts | "Read part" >> beam.FlatMap(lambda path: decode_outcomes(read_part(path)))


def common_sizes(outcomes: beam.PCollection[RunOutcome]) -> beam.PCollection[SetSizes]:
  """Returns the sizes that all outcomes share, as a singleton; (0, 0) without outcomes."""
  return (
    outcomes
    | "Sizes of outcomes" >> beam.Map(_sizes)
    | "Any sizes" >> beam.CombineGlobally(lambda sizes: max(sizes, default=SetSizes(0, 0)))
  )


def _read(runs: Sequence[RunDirectory]) -> Iterator[tuple[str, RunOutcome] | TaggedOutput]:
  for run, fetched in aux_arrays.fetch_many(runs):
    try:
      if isinstance(fetched, aux_arrays.AuxArraysError):
        raise fetched
      yield run.path, aux_arrays.decode(run.key, fetched)
    except aux_arrays.AuxArraysError as error:
      yield TaggedOutput(SKIPPED, Skipped(run.path, str(error)))


def _sizes(outcome: RunOutcome) -> SetSizes:
  return SetSizes(outcome.num_train, outcome.num_test)


def _most_frequent(
  counts: Iterable[tuple[SetSizes, int] | None],
) -> tuple[SetSizes, int] | None:
  """Larger sizes win a tie; None stands for no runs at all."""
  return max(filter(None, counts), key=lambda pair: (pair[1], pair[0]), default=None)


def _check_sizes(
  located: tuple[str, RunOutcome], expected: SetSizes
) -> Iterator[RunOutcome | TaggedOutput]:
  path, outcome = located
  found = _sizes(outcome)
  if found == SetSizes(*expected):
    yield outcome
  else:
    reason = (
      f"is of {found.num_train:,} training and {found.num_test:,} test examples, "
      f"not {expected[0]:,} and {expected[1]:,}"
    )
    yield TaggedOutput(SKIPPED, Skipped(path, reason))
