"""The dense influence matrix as a transform: one Zarr chunk per block of training examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import apache_beam as beam
from apache_beam.pvalue import AsDict, AsList, AsSingleton

import files
from beam_pipelines.storage.runs.judgement import SetSizes
from beam_pipelines.storage.scores import dense
from beam_pipelines.storage.scores.directory import DENSE
from beam_pipelines.storage.scores.manifest import StoredPart
from beam_pipelines.storage.scores.staging import Staging
from beam_pipelines.transforms.pack_runs import (
  TEST_SETS,
  TRAIN_BLOCKS,
  BlockKey,
  PackedTestSet,
  PackedTrainBlock,
)
from estimators.outcome_kinds import CORRECT, OutcomeKind
from files.spill import Spilled, load


@dataclasses.dataclass
class StageDenseInfluence(beam.PTransform):
  """Writes influence of every training example on every test example, where nobody reads yet.

  Input: the output of `PackRuns`. Output: two collections of `StoredPart`s, the files of the Zarr
  group: they are not flattened here, because Flink and Spark cannot run a Flatten of a Flatten of
  which one branch is a side input of the other. A block needs 4 bytes per pair of memory, twice;
  writing one again writes the same file.

  Args:
    staging: where to.
    sizes: a singleton `SetSizes`.
    block_size: that of `PackRuns`.
    kind: what outcomes are.
  """

  staging: Staging
  sizes: beam.PCollection[SetSizes]
  block_size: int
  kind: OutcomeKind = CORRECT

  def expand(
    self, packed: dict[str, beam.PCollection]
  ) -> tuple[beam.PCollection[StoredPart], beam.PCollection[StoredPart]]:
    """Creates the matrices, then fills them."""
    group = files.join(self.staging.path, DENSE)
    created = packed[TEST_SETS] | "Create matrix" >> beam.FlatMap(
      _create, AsSingleton(self.sizes), group, self.block_size
    )
    filled = packed[TRAIN_BLOCKS] | "Fill rows" >> beam.FlatMap(
      _fill, AsDict(packed[TEST_SETS]), AsList(created), group, self.kind
    )
    return created, filled


def _create(
  keyed: tuple[float, PackedTestSet], sizes: SetSizes, group: str, block_size: int
) -> list[StoredPart]:
  subset_ratio, _ = keyed
  num_train, num_test = sizes[:2]  # a plain tuple, as Beam passes it
  return dense.create_dense(group, subset_ratio, (num_train, num_test), block_size)


def _fill(
  keyed: tuple[BlockKey, PackedTrainBlock | Spilled],
  test_sets: Mapping[float, PackedTestSet],
  created: list[StoredPart],
  group: str,
  kind: OutcomeKind,
) -> list[StoredPart]:
  """`created` is not read: it says that there is something to fill."""
  (subset_ratio, start), block = keyed[0], load(keyed[1])
  influence = kind.influence_block(block.member, test_sets[subset_ratio].outcomes, len(block.runs))
  return dense.write_rows(group, subset_ratio, start, influence)
