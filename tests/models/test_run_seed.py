import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.augmentation import epoch_augmentations
from models.initial_weights import draw_weights
from models.registry import ModelError
from models.run_seed import RunSeed, Stream

WORDS = st.integers(0, 2**32 - 1)
RATIOS = st.floats(0.01, 1.0)


@given(seed=WORDS, ratio=RATIOS, run=WORDS, num_train=st.integers(100, 1000))
def test_a_subset_is_sorted_distinct_examples_of_the_training_set(seed, ratio, run, num_train):
  subset = RunSeed(seed, ratio, run).subset(num_train)
  assert subset.dtype == np.int64
  assert len(subset) == round(ratio * num_train)
  assert np.all(np.diff(subset) > 0)
  assert subset[0] >= 0
  assert subset[-1] < num_train


def test_subsets_follow_from_seed_ratio_and_run_alone():
  keys = list(itertools.product((0, 1), (0.5, np.nextafter(0.5, 1)), (0, 1)))
  subsets = [tuple(RunSeed(*key).subset(1000)) for key in keys]
  assert len(set(subsets)) == len(keys)
  assert [tuple(RunSeed(*key).subset(1000)) for key in reversed(keys)] == subsets[::-1]


def test_the_streams_of_trained_campaigns_never_change():
  """Numbers drawn long ago: runs that are added to an experiment must go with its earlier ones."""
  run = RunSeed(seed=1, subset_ratio=0.7, run=123)
  subset = run.subset(20)
  assert subset.tolist() == [0, 1, 2, 4, 8, 10, 11, 12, 13, 14, 15, 16, 18, 19]
  order = next(run.epoch_orders(subset))
  assert order.tolist() == [0, 1, 8, 18, 14, 19, 4, 10, 12, 16, 2, 13, 15, 11]
  augmentations = next(epoch_augmentations(run, examples=3, crop=2, flip=True))
  assert augmentations.tolist() == [[3, 2, 0], [3, 4, 0], [1, 2, 0]]
  weights = draw_weights(run, {"w": np.array([[1, 2, 3, 4]], np.float32)})["w"]
  assert weights.tolist() == [
    [-1.1985976696014404, 1.6550003290176392, -0.03703375160694122, -0.061061710119247437]
  ]


def test_every_example_is_in_a_share_of_the_subsets_that_is_the_ratio():
  runs = 2000
  counts = np.zeros(50)
  for run in range(runs):
    counts[RunSeed(3, 0.3, run).subset(50)] += 1
  # Six standard deviations of a binomial share.
  assert np.abs(counts / runs - 0.3).max() < 6 * np.sqrt(0.3 * 0.7 / runs)


def test_epochs_go_through_the_subset_in_orders_of_their_own():
  subset = RunSeed(0, 0.7, 5).subset(300)
  first, second = itertools.islice(RunSeed(0, 0.7, 5).epoch_orders(subset), 2)
  assert not np.array_equal(first, second)
  np.testing.assert_array_equal(np.sort(first), subset)
  np.testing.assert_array_equal(np.sort(second), subset)
  np.testing.assert_array_equal(next(RunSeed(0, 0.7, 5).epoch_orders(subset)), first)
  assert not np.array_equal(next(RunSeed(0, 0.7, 6).epoch_orders(subset)), first)


def test_streams_of_one_run_are_independent():
  draws = {tuple(RunSeed(0, 0.7, 5).stream(stream).integers(2**32, size=4)) for stream in Stream}
  assert len(draws) == len(Stream)


@pytest.mark.parametrize(
  ("seed", "ratio", "run", "message"),
  [
    (-1, 0.7, 0, "seed -1 is out of range: choose one from 0 to 4294967295"),
    (0, 0.7, 2**32, "run 4294967296 is out of range: choose one from 0 to 4294967295"),
    (0, 0.0, 0, "subset ratio 0.0 is out of range: choose one above 0, up to 1"),
    (0, 1.1, 0, "subset ratio 1.1 is out of range: choose one above 0, up to 1"),
    (0, 0.001, 0, "subset ratio 0.001 of 100 training examples leaves none"),
  ],
)
def test_a_run_that_cannot_be_drawn_is_refused(seed, ratio, run, message):
  with pytest.raises(ModelError, match=f"^{message}$"):
    RunSeed(seed, ratio, run).subset(100)
