"""What the selected pairs say of each example, as transforms."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsSingleton

from beam_pipelines.storage.tables import make_table
from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.pack_runs import BlockKey
from beam_pipelines.transforms.read_outcomes import SetSizes
from beam_pipelines.transforms.select_pairs import MemorizedPairs
from beam_pipelines.transforms.write_scores import Part
from estimators.pairs import summarize_pairs


@dataclasses.dataclass
class InfluenceSummaryParts(beam.PTransform):
  """Rows of the tables `train_influence` and `test_influence`.

  Input: `(BlockKey, MemorizedPairs)`. Output: two `Part`s per subset ratio.

  Args:
    sizes: a singleton `SetSizes`.
    labels: a singleton `Labels`.
  """

  sizes: beam.PCollection[SetSizes]
  labels: beam.PCollection[Labels]

  def expand(self, selected: beam.PCollection) -> beam.PCollection[Part]:
    """Brings the pairs of a subset ratio together and sums them up on either side."""
    return (
      selected
      | "Key by ratio" >> beam.Map(_key_by_ratio)
      | "Gather pairs" >> beam.GroupByKey()
      | "Sum up" >> beam.FlatMap(_parts, AsSingleton(self.sizes), AsSingleton(self.labels))
    )


def _key_by_ratio(
  keyed: tuple[BlockKey, MemorizedPairs],
) -> tuple[float, tuple[np.ndarray, np.ndarray, np.ndarray]]:
  (subset_ratio, _), selected = keyed
  pairs = selected.pairs
  return subset_ratio, (pairs.train_example, pairs.test_example, pairs.influence)


def _parts(
  gathered: tuple[float, Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]],
  sizes: SetSizes,
  labels: Labels,
) -> Iterator[Part]:
  subset_ratio, blocks = gathered
  train, test, influence = map(np.concatenate, zip(*blocks, strict=True))
  for side, examples, size, labels_of in (
    ("train", train, sizes[0], labels.of_train),
    ("test", test, sizes[1], labels.of_test),
  ):
    summary = summarize_pairs(examples, influence, size)
    every = np.arange(size)
    rows = make_table(
      f"{side}_influence",
      subset_ratio=subset_ratio,
      example=every,
      label=labels_of(every),
      pairs=summary.pairs,
      largest_influence=summary.largest,
    )
    yield Part(f"{side}_influence", f"ratio-{subset_ratio}", rows)
