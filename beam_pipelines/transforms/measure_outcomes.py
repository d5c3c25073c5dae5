"""Measuring as a transform: packed blocks in, in/out statistics per training example out."""

from __future__ import annotations

import dataclasses

import apache_beam as beam

from beam_pipelines.transforms.pack_runs import BlockKey, PackedTrainBlock
from estimators.outcome_kinds import CORRECT, OutcomeKind
from estimators.scores import InOutStatistics
from files.spill import Spilled, load


@dataclasses.dataclass
class MeasureOutcomes(beam.PTransform):
  """Counts who got which training example right, or takes the means of real outcomes on it.

  Input: the `train_blocks` of `PackRuns`. Output: `(BlockKey, InOutStatistics)`, arrays [examples];
  of no examples where it was not recorded.

  Args:
    kind: what outcomes are.
  """

  kind: OutcomeKind = CORRECT

  def expand(self, blocks: beam.PCollection) -> beam.PCollection[tuple[BlockKey, InOutStatistics]]:
    """Measures each block."""
    return blocks | "Measure" >> beam.Map(_measure, self.kind)


def _measure(
  keyed: tuple[BlockKey, PackedTrainBlock | Spilled], kind: OutcomeKind
) -> tuple[BlockKey, InOutStatistics]:
  key, block = keyed[0], load(keyed[1])
  member = block.member[: len(block.outcomes)]
  return key, kind.measure(member, block.outcomes, len(block.runs))
