import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from estimators import InOutCounts, pack_runs, reaches, score, select_pairs
from tests.helpers.exact import exact_score, exactly_reaches


@st.composite
def counts_of_one(draw: st.DrawFn) -> tuple[int, int, int, int]:
  """runs_in, runs_out, correct_in, correct_out."""
  runs = st.integers(0, 40) | st.sampled_from([100, 200, 2000, 4000])
  runs_in, runs_out = draw(runs), draw(runs)
  return runs_in, runs_out, draw(st.integers(0, runs_in)), draw(st.integers(0, runs_out))


def as_counts(rows: list[tuple[int, int, int, int]]) -> InOutCounts:
  return InOutCounts(*np.array(rows, np.int32).reshape(-1, 4).T)


@given(
  rows=st.lists(counts_of_one(), max_size=8),
  threshold=st.floats(allow_nan=False, allow_infinity=False)
  | st.integers(-100, 100).map(lambda hundredths: hundredths / 100)
  | st.sampled_from([-1.0, 1.0, -0.0, 5e-324, 0.30000000000000004]),
)
@example(rows=[(20, 20, 7, 4)], threshold=0.15)
@example(rows=[(20, 20, 4, 7)], threshold=-0.15)
@example(rows=[(3, 0, 3, 0), (0, 3, 0, 0)], threshold=-1.0)
def test_reaching_is_that_of_fractions(
  rows: list[tuple[int, int, int, int]], threshold: float
) -> None:
  reached = reaches(as_counts(rows), threshold)
  assert reached.dtype == bool
  assert reached.tolist() == [exactly_reaches(*row, threshold) for row in rows]


@given(counts_of_one())
def test_a_score_that_is_a_short_decimal_reaches_itself_and_nothing_more(
  row: tuple[int, int, int, int],
) -> None:
  value = exact_score(*row)
  if value is None or 10**12 % value.denominator:
    return
  reached = [
    reaches(as_counts([row]), float(threshold))[0]
    for threshold in (value, value - Fraction(1, 10**12), value + Fraction(1, 10**12))
  ]
  assert reached == [True, True, False]


def test_floats_would_have_decided_otherwise() -> None:
  """Of runs 20 in and 20 out, floats miss some scores that equal a threshold, 7/20 - 4/20 first."""
  grid = np.stack(np.meshgrid(np.arange(21), np.arange(21), indexing="ij")).reshape(2, -1)
  twenty = np.full(grid.shape[1], 20)
  counts = InOutCounts(twenty, twenty, *grid)
  threshold = 0.15
  missed = reaches(counts, threshold) & ~(score(counts) >= threshold)
  assert (grid[0][missed] - grid[1][missed] == 3).all()
  assert [7, 4] in grid.T[missed].tolist()


def test_counts_keep_their_shape() -> None:
  counts = InOutCounts(*(np.full((2, 3), value) for value in (4, 4, 2, 1)))
  assert reaches(counts, 0.25).tolist() == [[True] * 3] * 2
  assert reaches(as_counts([]), 0.25).shape == (0,)


@pytest.mark.parametrize("threshold", [math.nan, math.inf, -math.inf])
def test_a_threshold_that_is_not_finite_is_refused(threshold: float) -> None:
  with pytest.raises(ValueError, match=f"the threshold is {threshold}: pass a finite number"):
    reaches(as_counts([(4, 4, 2, 1)]), threshold)


@pytest.mark.parametrize("seen", [1, 8, 20, 25, 39])
def test_selection_agrees_at_every_threshold_in_hundredths(seen: int) -> None:
  """All possible pairs of 40 runs: most of these thresholds equal some of their scores."""
  runs = 40
  member = np.arange(runs) < seen
  corrects = [(a, b) for a in range(seen + 1) for b in range(runs - seen + 1)]
  correct = np.array(
    [(np.arange(runs) < a) | (np.arange(runs) - seen < b) & ~member for a, b in corrects]
  )
  bits = pack_runs(member[None]), pack_runs(correct)
  for hundredths in (-100, -85, -60, -35, -30, -15, -5, 0, 5, 10, 15, 25, 35, 55, 70, 95, 100):
    threshold = hundredths / 100
    selected = select_pairs(*bits, runs, threshold)
    expected = [
      j for j, (a, b) in enumerate(corrects) if exactly_reaches(seen, runs - seen, a, b, threshold)
    ]
    assert selected.test_example.tolist() == expected
    assert reaches(selected.statistics, threshold).all()
