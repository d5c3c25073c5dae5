"""What the selected pairs say of each example, as transforms."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsSingleton

from beam_pipelines.storage.runs.judgement import SetSizes
from beam_pipelines.storage.scores.tables import make_table
from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.pack_runs import BlockKey
from beam_pipelines.transforms.select_pairs import MemorizedPairs
from beam_pipelines.transforms.spill_values import SpillValues
from beam_pipelines.transforms.stage_parts import Part
from estimators.pairs import summarize_pairs
from files.spill import Spill, Spilled, load


@dataclasses.dataclass
class SummarizeInfluence(beam.PTransform):
  """Rows of the tables `train_influence` and `test_influence`.

  Input: `(BlockKey, MemorizedPairs)`. Output: two `Part`s per subset ratio.

  Args:
    sizes: a singleton `SetSizes`.
    labels: a singleton `Labels`.
    spill: where the sums of a block wait for the others, or None: in memory.
  """

  sizes: beam.PCollection[SetSizes]
  labels: beam.PCollection[Labels]
  spill: Spill | None = None

  def expand(self, selected: beam.PCollection) -> beam.PCollection[Part]:
    """Sums up each block on either side, then brings the blocks of a subset ratio together."""
    return (
      selected
      | "Sum up block" >> beam.FlatMap(_sum_up_block)
      | "Let wait" >> SpillValues(self.spill)
      | "Gather blocks" >> beam.GroupByKey()
      | "Sum up ratio" >> beam.Map(_sum_up, AsSingleton(self.sizes), AsSingleton(self.labels))
    )


class _Summary(NamedTuple):
  """Of the examples of one side that are in pairs at all: arrays of one length."""

  example: np.ndarray
  pairs: np.ndarray
  largest: np.ndarray


def _sum_up_block(
  keyed: tuple[BlockKey, MemorizedPairs],
) -> Iterator[tuple[tuple[float, str], _Summary]]:
  (subset_ratio, _), selected = keyed
  influence = selected.pairs.influence
  for side, of_pair in (
    ("train", selected.pairs.train_example),
    ("test", selected.pairs.test_example),
  ):
    example, place = np.unique(of_pair, return_inverse=True)
    summary = summarize_pairs(place, influence, len(example))
    yield (subset_ratio, side), _Summary(example, summary.pairs, summary.largest)


def _sum_up(
  gathered: tuple[tuple[float, str], Iterable[_Summary | Spilled]], sizes: SetSizes, labels: Labels
) -> Part:
  (subset_ratio, side), summaries = gathered
  size, labels_of = {
    "train": (sizes[0], labels.of_train),
    "test": (sizes[1], labels.of_test),
  }[side]
  pairs, largest = np.zeros(size, np.int64), np.full(size, np.nan)
  for summary in map(load, summaries):
    pairs[summary.example] += summary.pairs
    largest[summary.example] = np.fmax(largest[summary.example], summary.largest)
  rows = make_table(
    f"{side}_influence",
    subset_ratio=subset_ratio,
    example=np.arange(size),
    label=labels_of(np.arange(size)),
    pairs=pairs,
    largest_influence=largest,
  )
  return Part(f"{side}_influence", f"ratio-{subset_ratio}", rows)
