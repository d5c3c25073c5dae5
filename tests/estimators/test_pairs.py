import math

import numpy as np
import pytest

from estimators import InfluencePairs, InOutCounts, keep_top_k, merge_pairs, summarize_pairs


def pairs_of(rows: list[tuple[int, int, int]]) -> InfluencePairs:
  """Builds pairs from (train, test, correct_in), of 10 runs in and 10 runs out, none correct."""
  train, test, correct_in = np.array(rows, np.int64).reshape(-1, 3).T
  ten = np.full(len(rows), 10, np.int32)
  counts = InOutCounts(ten, ten, correct_in.astype(np.int32), np.zeros_like(ten))
  return InfluencePairs(train, test, counts)


def test_ties_go_to_the_lower_index() -> None:
  tied = pairs_of([(0, 5, 7), (1, 5, 7), (1, 6, 7), (2, 5, 7), (2, 6, 7)])
  kept = keep_top_k(tied, 1)
  # Test example 5 keeps training example 0 and 6 keeps 1; training examples 1 and 2 keep 5.
  assert kept.train_example.tolist() == [0, 1, 1, 2]
  assert kept.test_example.tolist() == [5, 5, 6, 5]


def test_no_pairs_at_all() -> None:
  nothing = merge_pairs([])
  assert len(nothing) == 0
  assert len(merge_pairs([nothing, pairs_of([])], top_k=3)) == 0
  assert nothing.influence.dtype == np.float64


def test_a_block_merged_twice_is_refused() -> None:
  block = pairs_of([(3, 1, 4), (3, 2, 5)])
  with pytest.raises(ValueError, match="training example 3 and test example 1 are paired twice"):
    merge_pairs([block, block])


def test_summary_counts_pairs_and_finds_the_largest() -> None:
  pairs = pairs_of([(0, 1, 4), (0, 3, 9), (2, 1, 6)])
  by_train = summarize_pairs(pairs.train_example, pairs.influence, 3)
  assert by_train.pairs.tolist() == [2, 0, 1]
  np.testing.assert_array_equal(by_train.largest, [0.9, math.nan, 0.6])
  by_test = summarize_pairs(pairs.test_example, pairs.influence, 5)
  assert by_test.pairs.tolist() == [0, 2, 0, 1, 0]
  np.testing.assert_array_equal(by_test.largest, [math.nan, 0.6, math.nan, 0.9, math.nan])
