"""Rows that the report shows, of tables with millions: equal scores go by the lower index."""

import dataclasses

import numpy as np


def ordered_per_class(
  scores: np.ndarray, labels: np.ndarray, examples: np.ndarray
) -> dict[int, np.ndarray]:
  """Returns each class's rows, lowest score first; rows with an undefined score are left out.

  Args:
    scores: float64 `[rows]`, NaN where undefined.
    labels: int `[rows]`.
    examples: int `[rows]`, the example indices that break ties.

  Returns:
    Row indices by label, labels ascending.
  """
  rows = np.flatnonzero(~np.isnan(scores))
  rows = rows[np.lexsort((examples[rows], scores[rows], labels[rows]))]
  present, starts = np.unique(labels[rows], return_index=True)
  return dict(zip(present.tolist(), np.split(rows, starts[1:]), strict=True)) if rows.size else {}


def highest_mean_classes(scores: np.ndarray, labels: np.ndarray, count: int) -> list[int]:
  """Returns the labels of the `count` classes with the highest mean score, in ascending order.

  Args:
    scores: float64 `[rows]`, NaN where undefined.
    labels: int `[rows]`.
    count: how many classes at most.
  """
  defined = ~np.isnan(scores)
  present, inverse = np.unique(labels[defined], return_inverse=True)
  means = np.bincount(inverse, scores[defined]) / np.bincount(inverse)
  return sorted(present[np.argsort(-means, kind="stable")[:count]].tolist())


@dataclasses.dataclass(frozen=True)
class Carrier:
  """A training example and the selected pairs in which it is the training example."""

  train_example: int
  total: float  # sum of its influences
  rows: np.ndarray  # of the pairs, highest influence first


def top_carriers(
  train_examples: np.ndarray, test_examples: np.ndarray, influences: np.ndarray, count: int
) -> list[Carrier]:
  """Returns the `count` training examples with the highest sum of influences, highest first.

  Args:
    train_examples: int `[pairs]`.
    test_examples: int `[pairs]`; they break ties among equal influences.
    influences: float64 `[pairs]`.
    count: how many training examples at most.
  """
  if not train_examples.size:
    return []
  present, inverse = np.unique(train_examples, return_inverse=True)
  totals = np.bincount(inverse, influences)
  order = np.lexsort((test_examples, -influences, inverse))
  rows = np.split(order, np.cumsum(np.bincount(inverse))[:-1])
  top = np.argsort(-totals, kind="stable")[:count]
  return [Carrier(int(present[i]), float(totals[i]), rows[i]) for i in top]
