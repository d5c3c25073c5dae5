"""Rows of the tables that have runs for rows: scored and skipped ones, outcomes, correctness."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from beam_pipelines.storage.runs.experiment import Skipped
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.scores.outcomes_table import encode_outcomes
from beam_pipelines.storage.scores.tables import make_table, table_schema
from beam_pipelines.transforms.spill_values import SpillValues
from beam_pipelines.transforms.stage_parts import Part
from estimators.outcome_kinds import CORRECT, OutcomeKind
from files.spill import Spill, Spilled, load

_RUNS_PER_PART = 64
_MARGIN_BYTES_PER_PART = 1 << 25


@dataclasses.dataclass
class TabulateRuns(beam.PTransform):
  """Rows of the `runs` table. Input: the output of `GatherNeighbours`. Output: the one `Part`."""

  def expand(self, gathered: beam.PCollection[list[RunOutcome]]) -> beam.PCollection[Part]:
    """Summarises each group, then gathers."""
    return (
      gathered
      | "Summarise runs" >> beam.Map(lambda group: list(map(_summarise, group)))
      | "Gather runs" >> beam.combiners.ToList()
      | "Runs table" >> beam.Map(_runs_part)
    )


@dataclasses.dataclass
class TabulateSkipped(beam.PTransform):
  """Input: `Skipped`s. Output: the one `Part` of the `skipped` table, sorted by path."""

  def expand(self, skipped: beam.PCollection[Skipped]) -> beam.PCollection[Part]:
    """Gathers."""
    return (
      skipped
      | "Gather skipped" >> beam.combiners.ToList()
      | "Skipped table" >> beam.Map(_skipped_part)
    )


@dataclasses.dataclass
class GatherNeighbours(beam.PTransform):
  """Groups neighbouring runs. Input: collections of `RunOutcome`s. Output: lists, by ratio and id.

  One shuffled record per run. Whatever is made of outcomes starts here: there are engines that give
  each consumer of what is read all that the others take of it, too.

  Args:
    spill: where outcomes wait for their neighbours, or None: in memory.
  """

  spill: Spill | None = None

  def expand(
    self, outcomes: Sequence[beam.PCollection[RunOutcome]]
  ) -> beam.PCollection[list[RunOutcome]]:
    """Groups up to 64 run ids, fewer where their margins are many."""
    waiting = [
      each
      | f"Key by neighbours {number}" >> beam.Map(_key_by_neighbours)
      | f"Let wait {number}" >> SpillValues(self.spill)  # also for a Flatten
      for number, each in enumerate(outcomes)
    ]
    return (
      waiting
      | "From anywhere" >> beam.Flatten()
      | "Group" >> beam.GroupByKey()
      | "In order" >> beam.MapTuple(_in_order)
    )


@dataclasses.dataclass
class TabulateOutcomes(beam.PTransform):
  """Rows of the `outcomes` table. Input: the output of `GatherNeighbours`. Output: `Part`s.

  Args:
    kind: what is scored of the outcomes.
  """

  kind: OutcomeKind = CORRECT

  def expand(self, gathered: beam.PCollection[list[RunOutcome]]) -> beam.PCollection[Part]:
    """Encodes each group."""
    return gathered | "Outcomes table" >> beam.Map(_outcomes_part, self.kind)


@dataclasses.dataclass
class TabulateCorrectness(beam.PTransform):
  """Rows of the `correctness` table. Input: `RunOutcome`s. Output: a `Part` per run.

  Args:
    kind: what is scored of the outcomes.
  """

  kind: OutcomeKind = CORRECT

  def expand(self, outcomes: beam.PCollection[RunOutcome]) -> beam.PCollection[Part]:
    """Unpacks each run."""
    return outcomes | "Correctness table" >> beam.Map(_correctness_part, self.kind)


def _summarise(outcome: RunOutcome) -> dict[str, Any]:
  accuracies = outcome.accuracies()
  return {
    "subset_ratio": outcome.key.subset_ratio,
    "run": outcome.key.run,
    "examples_in": outcome.examples_in,
    "accuracy_train": accuracies.train,
    "accuracy_removed": accuracies.removed,
    "accuracy_test": accuracies.test,
  }


def _runs_part(groups: Iterable[list[dict[str, Any]]]) -> Part:
  ordered = sorted(
    itertools.chain.from_iterable(groups), key=lambda row: (row["subset_ratio"], row["run"])
  )
  return Part("runs", "all", pa.Table.from_pylist(ordered, schema=table_schema("runs")))


def _key_by_neighbours(outcome: RunOutcome) -> tuple[tuple[float, int], RunOutcome]:
  margin_bytes = len(outcome.train_margin or b"") + len(outcome.test_margin or b"")
  runs = max(1, min(_RUNS_PER_PART, _MARGIN_BYTES_PER_PART // max(margin_bytes, 1)))
  first = outcome.key.run - outcome.key.run % runs
  return (outcome.key.subset_ratio, first), outcome


def _in_order(_: tuple[float, int], group: Iterable[RunOutcome | Spilled]) -> list[RunOutcome]:
  return sorted(map(load, group), key=lambda outcome: outcome.key)


def _outcomes_part(ordered: list[RunOutcome], kind: OutcomeKind) -> Part:
  (subset_ratio, first), _ = _key_by_neighbours(ordered[0])
  name = f"ratio-{subset_ratio}-runs-from-{first:06d}"
  return Part("outcomes", name, encode_outcomes(ordered, kind))


def _correctness_part(outcome: RunOutcome, kind: OutcomeKind) -> Part:
  in_subset, train_correct, test_correct = outcome.unpack()
  key = outcome.key
  common = {"subset_ratio": key.subset_ratio, "run": key.run}
  train_margin, test_margin = (
    ({"margin": of_set} for of_set in outcome.margins) if outcome.margins else ({}, {})
  )
  train = make_table(
    "correctness",
    kind.name,
    **common,
    **train_margin,
    split="train",
    example=np.arange(len(train_correct)),  # none where they were not recorded
    in_subset=in_subset[: len(train_correct)],
    correct=train_correct,
  )
  test = make_table(
    "correctness",
    kind.name,
    **common,
    **test_margin,
    split="test",
    example=np.arange(outcome.num_test),
    in_subset=False,
    correct=test_correct,
  )
  name = f"ratio-{key.subset_ratio}-run-{key.run:06d}"
  return Part("correctness", name, pa.concat_tables([train, test]))


def _skipped_part(skipped: Iterable[Skipped]) -> Part:
  rows = [dataclasses.asdict(entry) for entry in sorted(skipped)]
  return Part("skipped", "all", pa.Table.from_pylist(rows, schema=table_schema("skipped")))
