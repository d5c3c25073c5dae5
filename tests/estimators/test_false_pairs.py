import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators import expected_false_pairs, pack_runs, popcount, select_pairs
from tests.helpers.exact import exactly_reaches


def tail_by_enumeration(seen: int, right: int, runs: int, threshold: float) -> Fraction:
  """Adds up the share of run subsets that reach the threshold."""
  reached = sum(
    math.comb(right, a) * math.comb(runs - right, seen - a)
    for a in range(max(0, seen + right - runs), min(seen, right) + 1)
    if exactly_reaches(seen, runs - seen, a, right - a, threshold)
  )
  return Fraction(reached, math.comb(runs, seen))


@settings(deadline=None)
@given(
  runs=st.integers(2, 60) | st.just(600),
  train=st.lists(st.floats(0, 1), max_size=3),
  test=st.lists(st.floats(0, 1), max_size=3),
  threshold=st.floats(-1.2, 1.2) | st.sampled_from([-5.0, -1.0, 0.0, 0.25, 0.5, 1.0, 5.0]),
)
def test_expectation_is_that_of_enumerated_subsets(
  runs: int, train: list[float], test: list[float], threshold: float
) -> None:
  runs_in = np.array([round(share * runs) for share in train], int)
  correct = np.array([round(share * runs) for share in test], int)
  expected = sum(
    tail_by_enumeration(int(seen), int(right), runs, threshold)
    for seen in runs_in
    for right in correct
    if 0 < seen < runs
  )
  got = expected_false_pairs(runs_in, correct, runs, threshold)
  assert got == pytest.approx(float(expected), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("runs", [13, 20])
def test_a_score_equal_to_the_threshold_counts(runs: int) -> None:
  """Thresholds that a count meets exactly, where an estimate of that count may round either way."""
  for seen in range(1, runs):
    for right in range(runs + 1):
      for a in range(max(0, seen + right - runs), min(seen, right) + 1):
        threshold = a / seen - (right - a) / (runs - seen)
        got = expected_false_pairs(np.array([seen]), np.array([right]), runs, threshold)
        expected = tail_by_enumeration(seen, right, runs, threshold)
        assert got == pytest.approx(float(expected), rel=1e-12)


def test_labels_keep_pairs_of_one_class_and_blocks_add_up() -> None:
  random = np.random.default_rng(0)
  runs_in, correct = random.integers(0, 51, 40), random.integers(0, 51, 30)
  train_labels, test_labels = random.integers(0, 3, 40), random.integers(1, 4, 30)
  by_class = sum(
    expected_false_pairs(runs_in[train_labels == k], correct[test_labels == k], 50, 0.2)
    for k in range(4)
  )
  blocks = sum(
    expected_false_pairs(
      runs_in[b], correct, 50, 0.2, train_labels=train_labels[b], test_labels=test_labels
    )
    for b in (slice(0, 11), slice(11, 40))
  )
  assert blocks == pytest.approx(by_class, rel=1e-12)
  assert 0 < by_class < expected_false_pairs(runs_in, correct, 50, 0.2)


def test_expectation_matches_pairs_selected_without_influence() -> None:
  random = np.random.default_rng(5)
  member = random.random((2000, 100)) < 0.7
  correct = random.random((500, 100)) < random.random((500, 1))
  selected = select_pairs(pack_runs(member), pack_runs(correct), 100, 0.2)
  expected = expected_false_pairs(
    popcount(pack_runs(member)), popcount(pack_runs(correct)), 100, 0.2
  )
  assert len(selected) == pytest.approx(expected, rel=0.1)
  assert expected > 10_000


def test_half_of_the_labels_is_refused() -> None:
  ones = np.ones(2, int)
  with pytest.raises(ValueError, match="only one of train_labels and test_labels is given"):
    expected_false_pairs(ones, ones, 2, 0.1, train_labels=ones)


def test_a_threshold_that_is_not_finite_is_refused() -> None:
  ones = np.ones(2, int)
  with pytest.raises(ValueError, match="min_influence is inf"):
    expected_false_pairs(ones, ones, 2, math.inf)
