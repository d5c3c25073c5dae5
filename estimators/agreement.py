"""How far two sets of scores of the same examples, or pairs of examples, agree."""

import dataclasses
import math
from typing import Self

import numpy as np

from estimators.reliability import Moments


@dataclasses.dataclass(frozen=True, eq=False)
class IndexedScores:
  """Scores of examples, or of pairs of a training and a test example.

  Attributes:
    index: int64 [rows, 1], the example, or [rows, 2], training and test example; not negative.
    scores: float64 [rows]; NaN where undefined.
    labels: int64 like `index`, the classes of those examples; None if they are not known.
  """

  index: np.ndarray
  scores: np.ndarray
  labels: np.ndarray | None = None

  def __len__(self) -> int:
    return len(self.scores)

  def take(self, rows: np.ndarray) -> Self:
    """Returns the scores of `rows` (indices or a mask)."""
    labels = None if self.labels is None else self.labels[rows]
    return type(self)(self.index[rows], self.scores[rows], labels)

  def reindexed(self, *columns: np.ndarray) -> Self:
    """Returns the rows under other indices, without those that have none.

    Args:
      *columns: int64 [examples], for each column of the index what each example there becomes,
        −1 for none; examples beyond have none either.
    """
    moved = np.stack(
      [_look_up(column, of) for column, of in zip(self.index.T, columns, strict=True)], axis=1
    )
    kept = (moved >= 0).all(axis=1)
    labels = None if self.labels is None else self.labels[kept]
    return type(self)(moved[kept], self.scores[kept], labels)

  def repeated(self) -> tuple[int, ...] | None:
    """Returns an index that is there more than once, or None if all differ."""
    keys = _keys(self.index, _width(self))
    order = np.argsort(keys, kind="stable")
    again = order[1:][keys[order[1:]] == keys[order[:-1]]]
    return tuple(self.index[again[0]].tolist()) if len(again) else None


@dataclasses.dataclass(frozen=True, eq=False)
class DenseScores:
  """Scores of every pair of a training and a test example.

  Attributes:
    matrix: floats [training examples, test examples]; NaN where undefined.
  """

  matrix: np.ndarray

  def __len__(self) -> int:
    return self.matrix.size

  def at(self, index: np.ndarray) -> IndexedScores:
    """Returns the pairs of `index`, int64 [rows, 2], that the matrix has."""
    index = index[(index < self.matrix.shape).all(axis=1)]
    return IndexedScores(index, self.matrix[index[:, 0], index[:, 1]].astype(np.float64))

  def rows(self) -> IndexedScores:
    """Returns all pairs: 24 bytes each."""
    index = np.indices(self.matrix.shape, dtype=np.int64).reshape(2, -1).T
    return IndexedScores(index, self.matrix.ravel().astype(np.float64))


@dataclasses.dataclass(frozen=True)
class Agreement:
  """Statistics of two scores of the same rows, over the rows at which both are defined.

  Attributes:
    defined: number of those rows.
    pearson: Pearson's correlation; NaN if either score does not vary.
    spearman: Spearman's rank correlation, ties having their average rank; NaN likewise.
    mean_absolute_difference: NaN without rows.
  """

  defined: int
  pearson: float
  spearman: float
  mean_absolute_difference: float


def common_rows(
  first: IndexedScores | DenseScores, second: IndexedScores | DenseScores
) -> tuple[IndexedScores, IndexedScores]:
  """Returns the rows of each whose index both have, in the same ascending order of the index.

  Of dense scores only those rows are taken; of two of them, all that both have.

  Args:
    first: with each index once.
    second: likewise, of the same kind of index.
  """
  if isinstance(first, DenseScores):
    first = first.rows() if isinstance(second, DenseScores) else first.at(second.index)
  if isinstance(second, DenseScores):
    second = second.at(first.index)
  width = max(_width(first), _width(second))
  _, of_first, of_second = np.intersect1d(
    _keys(first.index, width),
    _keys(second.index, width),
    assume_unique=True,
    return_indices=True,
  )
  return first.take(of_first), second.take(of_second)


def agree(first: np.ndarray, second: np.ndarray) -> Agreement:
  """Compares two scores, float64 [rows] each, of the same rows."""
  defined = ~(np.isnan(first) | np.isnan(second))
  first, second = first[defined], second[defined]
  return Agreement(
    defined=len(first),
    pearson=Moments.of(first, second).correlation,
    spearman=Moments.of(_average_ranks(first), _average_ranks(second)).correlation,
    mean_absolute_difference=float(np.abs(first - second).mean()) if len(first) else math.nan,
  )


def largest_differences(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
  """Returns the rows, at most `count`, at which two scores differ most, largest difference first.

  Rows at which the scores are equal or either is undefined are left out; of equal differences the
  first row goes first.
  """
  differences = np.abs(first - second)
  rows = np.flatnonzero(differences > 0)
  return rows[np.argsort(-differences[rows], kind="stable")[:count]]


def _average_ranks(values: np.ndarray) -> np.ndarray:
  _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
  return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _look_up(examples: np.ndarray, column: np.ndarray) -> np.ndarray:
  return np.append(column, -1)[np.minimum(examples, len(column))]


def _width(scores: IndexedScores) -> int:
  return 1 + int(scores.index[:, -1].max(initial=0))


def _keys(index: np.ndarray, width: int) -> np.ndarray:
  """Returns one number per row, in the order of the rows' indices; `width` exceeds the last one."""
  return index[:, 0] if index.shape[1] == 1 else index[:, 0] * width + index[:, 1]
