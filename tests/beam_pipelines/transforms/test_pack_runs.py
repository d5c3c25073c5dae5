import random

import apache_beam as beam
import numpy as np
import pytest

from beam_pipelines.transforms.pack_runs import TEST_SETS, TRAIN_BLOCKS, PackRuns
from beam_pipelines.transforms.tabulate_runs import GatherNeighbours
from files.spill import Spill, load
from tests.helpers.eager import run_eagerly
from tests.helpers.outcomes import NUM_TEST, NUM_TRAIN, make_outcomes


class _Pack(beam.PTransform):
  def __init__(self, block_size, spill):
    self.block_size = block_size
    self.spill = spill

  def expand(self, outcomes):
    gathered = (outcomes,) | GatherNeighbours(self.spill)
    return gathered | PackRuns(self.block_size, spill=self.spill)


def _unpack(bits, runs):
  shifts = np.arange(64, dtype=np.uint64)
  return ((bits[:, :, None] >> shifts) & np.uint64(1)).reshape(len(bits), -1)[:, :runs].astype(bool)


@pytest.mark.parametrize("spills", [False, True])
def test_packs_all_runs_of_a_block_in_order_of_run(tmp_path, spills):
  outcomes = make_outcomes(0.7, range(70)) + make_outcomes(0.3, range(5))
  shuffled = random.Random(0).sample(outcomes, len(outcomes))
  packed = run_eagerly(_Pack(16, Spill(str(tmp_path)) if spills else None), shuffled)
  assert bool(list(tmp_path.iterdir())) == spills

  blocks = {key: load(block) for key, block in packed[TRAIN_BLOCKS]}
  assert sorted(blocks) == [(ratio, start) for ratio in (0.3, 0.7) for start in (0, 16, 32)]
  for ratio, runs in ((0.3, 5), (0.7, 70)):
    unpacked = [outcome.unpack() for outcome in outcomes if outcome.key.subset_ratio == ratio]
    member = np.array([in_subset for in_subset, _, _ in unpacked]).T
    correct = np.array([train_correct for _, train_correct, _ in unpacked]).T
    for start in (0, 16, 32):
      block = blocks[ratio, start]
      stop = min(start + 16, NUM_TRAIN)
      assert block.runs.tolist() == list(range(runs))
      assert np.array_equal(_unpack(block.member, runs), member[start:stop])
      assert np.array_equal(_unpack(block.outcomes, runs), correct[start:stop])


def test_packs_the_test_set_whole():
  outcomes = make_outcomes(0.5, range(3))
  ((ratio, packed),) = run_eagerly(_Pack(8192, None), outcomes[::-1])[TEST_SETS]
  assert ratio == 0.5
  assert packed.runs.tolist() == [0, 1, 2]
  assert packed.outcomes.shape == (NUM_TEST, 1)
  expected = np.array([outcome.unpack()[2] for outcome in outcomes]).T
  assert np.array_equal(_unpack(packed.outcomes, 3), expected)
