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
from beam_pipelines.transforms.stage_parts import Part
from estimators.counts import InOutCounts
from estimators.scores import c_scores, consistency, score, standard_error


@dataclasses.dataclass
class TabulateExamples(beam.PTransform):
  """Rows of the `examples` table.

  Input: `(BlockKey, InOutCounts)`. Output: a `Part` per block.

  Args:
    labels: a singleton `Labels`.
  """

  labels: beam.PCollection[Labels]

  def expand(self, counts: beam.PCollection) -> beam.PCollection[Part]:
    """Scores each block."""
    return counts | "Examples table" >> beam.Map(_examples_part, AsSingleton(self.labels))


@dataclasses.dataclass
class TabulateCScores(beam.PTransform):
  """Rows of the `cscores` table, averages over subset ratios.

  Input: `(BlockKey, InOutCounts)`. Output: a `Part` per block of examples.

  Args:
    labels: a singleton `Labels`.
  """

  labels: beam.PCollection[Labels]

  def expand(self, counts: beam.PCollection) -> beam.PCollection[Part]:
    """Brings the ratios of each block together."""
    return (
      counts
      | "Key by examples" >> beam.MapTuple(_key_by_start)
      | "Gather ratios" >> beam.GroupByKey()
      | "C-scores table" >> beam.Map(_cscores_part, AsSingleton(self.labels))
    )


def part_name(subset_ratio: float, start: int) -> str:
  """Returns the file name of a block's rows: the same whenever it is written, and sortable."""
  return f"ratio-{subset_ratio}-from-{start:08d}"


def _examples_part(keyed: tuple[BlockKey, InOutCounts], labels: Labels) -> Part:
  (subset_ratio, start), counts = keyed
  examples = np.arange(start, start + len(counts.runs_in))
  rows = make_table(
    "examples",
    subset_ratio=subset_ratio,
    example=examples,
    label=labels.of_train(examples),
    runs_in=counts.runs_in,
    runs_out=counts.runs_out,
    correct_in=counts.correct_in,
    correct_out=counts.correct_out,
    memorization=score(counts),
    memorization_se=standard_error(counts),
    consistency=consistency(counts),
  )
  return Part("examples", part_name(subset_ratio, start), rows)


def _key_by_start(key: BlockKey, counts: InOutCounts) -> tuple[int, tuple[float, InOutCounts]]:
  subset_ratio, start = key
  return start, (subset_ratio, counts)


def _cscores_part(
  gathered: tuple[int, Iterable[tuple[float, InOutCounts]]], labels: Labels
) -> Part:
  start, by_ratio = gathered
  # In the order of the ratios, so that sums of floats do not depend on the order of arrival.
  ordered = sorted(by_ratio, key=lambda pair: pair[0])
  scores = c_scores([counts for _, counts in ordered])
  examples = np.arange(start, start + len(scores.score))
  rows = make_table(
    "cscores",
    example=examples,
    label=labels.of_train(examples),
    ratios=scores.ratios,
    cscore=scores.score,
    cscore_se=scores.standard_error,
  )
  return Part("cscores", f"from-{start:08d}", rows)
