import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimators import InOutCounts, c_scores, consistency, score, standard_error


@st.composite
def sides(draw: st.DrawFn) -> tuple[int, int]:
  """Draws a number of runs and how many of them are correct."""
  runs = draw(st.integers(0, 4) | st.integers(0, 4000))
  return runs, draw(st.integers(0, runs))


def counts_of(rows: list[tuple[tuple[int, int], tuple[int, int]]]) -> InOutCounts:
  table = np.array([[*inside, *outside] for inside, outside in rows], np.int32).reshape(-1, 4)
  return InOutCounts(table[:, 0], table[:, 2], table[:, 1], table[:, 3])


@given(st.lists(st.tuples(sides(), sides()), max_size=8))
def test_score_and_error_follow_their_definitions(
  rows: list[tuple[tuple[int, int], tuple[int, int]]],
) -> None:
  counts = counts_of(rows)
  for got, error, held_out, ((runs_in, correct_in), (runs_out, correct_out)) in zip(
    score(counts), standard_error(counts), consistency(counts), rows, strict=True
  ):
    assert math.isnan(held_out) if runs_out == 0 else held_out == correct_out / runs_out
    if runs_in == 0 or runs_out == 0:
      assert math.isnan(got)
      assert math.isnan(error)
      continue
    assert got == correct_in / runs_in - correct_out / runs_out
    variance = sum(
      Fraction((x + 1) * (n - x + 1), (n + 2) ** 3)
      for x, n in ((correct_in, runs_in), (correct_out, runs_out))
    )
    assert error == pytest.approx(math.sqrt(variance), rel=1e-14)
    assert error > 0


def test_scores_keep_the_shape_of_the_counts() -> None:
  runs = np.arange(6, dtype=np.int32).reshape(2, 3)
  counts = InOutCounts(runs, runs, runs // 2, runs // 3)
  assert score(counts).shape == standard_error(counts).shape == (2, 3)


@given(st.lists(st.lists(sides(), min_size=3, max_size=3), min_size=1, max_size=9))
def test_c_score_is_the_mean_over_the_ratios_with_held_out_runs(
  ratios: list[list[tuple[int, int]]],
) -> None:
  result = c_scores([counts_of([((1, 0), held_out) for held_out in ratio]) for ratio in ratios])
  for e in range(3):
    defined = [ratio[e] for ratio in ratios if ratio[e][0] > 0]
    assert result.ratios[e] == len(defined)
    if not defined:
      assert math.isnan(result.score[e])
      assert math.isnan(result.standard_error[e])
      continue
    mean = sum(Fraction(x, n) for n, x in defined) / len(defined)
    variance = sum(Fraction((x + 1) * (n - x + 1), (n + 2) ** 3) for n, x in defined)
    assert result.score[e] == pytest.approx(float(mean), rel=1e-14, abs=1e-300)
    assert result.standard_error[e] == pytest.approx(math.sqrt(variance) / len(defined), rel=1e-14)


def test_c_score_of_no_ratio_is_refused() -> None:
  with pytest.raises(ValueError, match="no subset ratio to average"):
    c_scores([])
