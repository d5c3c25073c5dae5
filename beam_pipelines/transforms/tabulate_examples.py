"""Rows of the tables that have training examples for rows: memorization, consistency, C-scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsSingleton

from beam_pipelines.storage.scores.tables import make_table
from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.pack_runs import BlockKey
from beam_pipelines.transforms.spill_values import SpillValues
from beam_pipelines.transforms.stage_parts import Part
from estimators.outcome_kinds import CORRECT, OutcomeKind
from estimators.scores import InOutStatistics, c_scores, consistency, score, standard_error
from files.spill import Spill, Spilled, load


@dataclasses.dataclass
class TabulateExamples(beam.PTransform):
  """Rows of the `examples` table.

  Input: `(BlockKey, InOutStatistics)`. Output: a `Part` per block.

  Args:
    labels: a singleton `Labels`.
    kind: what outcomes are.
  """

  labels: beam.PCollection[Labels]
  kind: OutcomeKind = CORRECT

  def expand(self, statistics: beam.PCollection) -> beam.PCollection[Part]:
    """Scores each block."""
    return statistics | "Examples table" >> beam.Map(
      _examples_part, AsSingleton(self.labels), self.kind
    )


@dataclasses.dataclass
class TabulateCScores(beam.PTransform):
  """Rows of the `cscores` table, averages over subset ratios.

  Input: `(BlockKey, InOutStatistics)`. Output: a `Part` per block of examples.

  Args:
    labels: a singleton `Labels`.
    kind: what outcomes are.
    spill: where a ratio's statistics wait for those of the others, or None: in memory.
  """

  labels: beam.PCollection[Labels]
  kind: OutcomeKind = CORRECT
  spill: Spill | None = None

  def expand(self, statistics: beam.PCollection) -> beam.PCollection[Part]:
    """Brings the ratios of each block together."""
    return (
      statistics
      | "Key by examples" >> beam.MapTuple(_key_by_start)
      | "Let wait" >> SpillValues(self.spill)
      | "Gather ratios" >> beam.GroupByKey()
      | "C-scores table" >> beam.Map(_cscores_part, AsSingleton(self.labels), self.kind)
    )


def part_name(subset_ratio: float, start: int) -> str:
  """Returns the file name of a block's rows: the same whenever it is written, and sortable."""
  return f"ratio-{subset_ratio}-from-{start:08d}"


def _examples_part(
  keyed: tuple[BlockKey, InOutStatistics], labels: Labels, kind: OutcomeKind
) -> Part:
  (subset_ratio, start), statistics = keyed
  examples = np.arange(start, start + len(statistics.runs_in))
  rows = make_table(
    "examples",
    kind.name,
    subset_ratio=subset_ratio,
    example=examples,
    label=labels.of_train(examples),
    **vars(statistics),
    memorization=score(statistics),
    memorization_se=standard_error(statistics),
    consistency=consistency(statistics),
  )
  return Part("examples", part_name(subset_ratio, start), rows)


def _key_by_start(
  key: BlockKey, statistics: InOutStatistics
) -> tuple[int, tuple[float, InOutStatistics]]:
  subset_ratio, start = key
  return start, (subset_ratio, statistics)


def _cscores_part(
  gathered: tuple[int, Iterable[tuple[float, InOutStatistics] | Spilled]],
  labels: Labels,
  kind: OutcomeKind,
) -> Part:
  start, by_ratio = gathered
  # In the order of the ratios, so that sums of floats do not depend on the order of arrival.
  ordered = sorted(map(load, by_ratio), key=lambda pair: pair[0])
  scores = c_scores([statistics for _, statistics in ordered])
  examples = np.arange(start, start + len(scores.score))
  rows = make_table(
    "cscores",
    kind.name,
    example=examples,
    label=labels.of_train(examples),
    ratios=scores.ratios,
    cscore=scores.score,
    cscore_se=scores.standard_error,
  )
  return Part("cscores", f"from-{start:08d}", rows)
