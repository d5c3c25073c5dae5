import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimators.agreement import (
  DenseScores,
  IndexedScores,
  agree,
  common_rows,
  largest_differences,
)

SCORES = st.sampled_from([math.nan, -0.5, 0.0, 0.25, 0.5, 1.0])


def _rank(value, values):
  """The average of the positions that a value's ties take in ascending order."""
  below = sum(other < value for other in values)
  return below + (sum(other == value for other in values) + 1) / 2


def _correlation(x, y):
  if len(set(x)) < 2 or len(set(y)) < 2:
    return math.nan
  return np.corrcoef(x, y)[0, 1]


@given(st.lists(st.tuples(SCORES, SCORES), max_size=12))
def test_statistics_are_those_of_the_rows_where_both_are_defined(rows):
  first, second = np.array(rows, float).reshape(-1, 2).T
  agreement = agree(first, second)
  defined = [(a, b) for a, b in rows if not math.isnan(a) and not math.isnan(b)]
  x, y = [a for a, _ in defined], [b for _, b in defined]
  ranks = [_rank(a, x) for a in x], [_rank(b, y) for b in y]
  differences = [abs(a - b) for a, b in defined]
  assert agreement.defined == len(defined)
  assert agreement.pearson == pytest.approx(_correlation(x, y), nan_ok=True)
  assert agreement.spearman == pytest.approx(_correlation(*ranks), nan_ok=True)
  mean = sum(differences) / len(defined) if defined else math.nan
  assert agreement.mean_absolute_difference == pytest.approx(mean, nan_ok=True)


@given(st.lists(st.tuples(SCORES, SCORES), max_size=12), st.integers(0, 5))
def test_largest_differences_go_first(rows, count):
  first, second = np.array(rows, float).reshape(-1, 2).T
  differences = {row: abs(a - b) for row, (a, b) in enumerate(rows) if abs(a - b) > 0}
  expected = sorted(differences, key=lambda row: (-differences[row], row))[:count]
  assert largest_differences(first, second, count).tolist() == expected


def _indexed(rows, width):
  index = np.array(list(rows), np.int64).reshape(-1, width)
  return IndexedScores(index, np.arange(len(index), dtype=float), 100 * index)


@st.composite
def _indices(draw, width):
  examples = st.tuples(*[st.integers(0, 6)] * width)
  return [draw(st.lists(examples, max_size=15, unique=True)) for _ in range(2)]


@given(st.one_of(_indices(1), _indices(2)))
def test_common_rows_are_those_of_the_same_index(indices):
  width = len(next((index for rows in indices for index in rows), (0,)))
  first, second = (_indexed(rows, width) for rows in indices)
  expected = sorted(set(indices[0]) & set(indices[1]))
  for common, rows in zip(common_rows(first, second), indices, strict=True):
    assert [tuple(index) for index in common.index.tolist()] == expected
    assert common.scores.tolist() == [rows.index(index) for index in expected]
    assert common.labels.tolist() == [[100 * example for example in index] for index in expected]


def test_labels_may_be_unknown():
  known = _indexed([(1,), (2,)], 1)
  unknown = IndexedScores(known.index, known.scores)
  first, second = common_rows(known, unknown)
  assert first.labels.tolist() == [[100], [200]]
  assert second.labels is None


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8))
def test_a_repeated_index_is_found(rows):
  repeated = _indexed(rows, 2).repeated()
  if len(set(rows)) == len(rows):
    assert repeated is None
  else:
    assert rows.count(repeated) > 1


@st.composite
def _matrices(draw):
  rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 4))
  values = draw(st.lists(SCORES, min_size=rows * columns, max_size=rows * columns))
  return np.array(values, np.float32).reshape(rows, columns)


def _pairs(scores):
  return dict(zip(map(tuple, scores.index.tolist()), scores.scores.tolist(), strict=True))


@given(_matrices(), _indices(2), st.booleans())
def test_of_dense_scores_the_rows_of_the_other_side_are_taken(matrix, indices, swapped):
  dense, rows = DenseScores(matrix), _indexed(indices[0], 2)
  sides = (rows, dense) if swapped else (dense, rows)
  found = common_rows(*sides)
  of_dense, of_rows = found[::-1] if swapped else found
  inside = {pair for pair in indices[0] if pair[0] < matrix.shape[0] and pair[1] < matrix.shape[1]}
  assert of_dense.index.tolist() == of_rows.index.tolist() == sorted(map(list, inside))
  np.testing.assert_array_equal(of_dense.scores, [matrix[pair] for pair in sorted(inside)])
  assert _pairs(of_rows) == {pair: _pairs(rows)[pair] for pair in inside}


@given(_matrices(), _matrices())
def test_of_two_matrices_the_pairs_of_both_are_taken(first, second):
  rows, columns = np.minimum(first.shape, second.shape)
  found = common_rows(DenseScores(first), DenseScores(second))
  for scores, matrix in zip(found, (first, second), strict=True):
    assert scores.index.tolist() == [[i, j] for i in range(rows) for j in range(columns)]
    np.testing.assert_array_equal(scores.scores, matrix[:rows, :columns].ravel())


@given(
  st.one_of(_indices(1), _indices(2)),
  st.lists(st.lists(st.integers(-1, 9), max_size=8), min_size=2, max_size=2),
)
def test_reindexed_rows_go_where_their_examples_do(indices, columns):
  width = len(indices[0][0]) if indices[0] else 1
  scores = _indexed(indices[0], width)
  columns = [np.array(column, np.int64) for column in columns[:width]]

  def moved(row):
    return [
      int(column[example]) if example < len(column) else -1
      for example, column in zip(row, columns, strict=True)
    ]

  expected = [
    (moved(row), score, [100 * example for example in row])
    for row, score in zip(indices[0], scores.scores, strict=True)
    if -1 not in moved(row)
  ]
  found = scores.reindexed(*columns)
  rows = zip(found.index.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
  assert list(rows) == expected
