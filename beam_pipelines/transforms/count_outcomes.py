"""Counting as a transform: packed blocks in, in/out counts per training example out."""

from __future__ import annotations

import dataclasses

import apache_beam as beam
import numpy as np

from beam_pipelines.transforms.pack_runs import BlockKey, PackedTrainBlock
from estimators.counts import InOutCounts, count_outcomes


@dataclasses.dataclass
class CountOutcomes(beam.PTransform):
  """Counts who got which training example right.

  Input: `(BlockKey, PackedTrainBlock)`. Output: `(BlockKey, InOutCounts)`, int32 [examples]; of
  no examples where it was not recorded.
  """

  def expand(self, blocks: beam.PCollection) -> beam.PCollection[tuple[BlockKey, InOutCounts]]:
    """Counts set bits."""
    return blocks | "Count" >> beam.MapTuple(_count)


def _count(key: BlockKey, block: PackedTrainBlock) -> tuple[BlockKey, InOutCounts]:
  if block.correct is None:
    return key, InOutCounts(*np.empty((4, 0), np.int32))
  return key, count_outcomes(block.member, block.correct, len(block.runs))
