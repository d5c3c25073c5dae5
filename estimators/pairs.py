"""Selected pairs of a training and a test example: merging, ranking and summing up."""

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from estimators.counts import InOutCounts
from estimators.scores import InOutStatistics, score


@dataclasses.dataclass(frozen=True, eq=False)
class InfluencePairs:
  """Pairs of a training and a test example, in ascending order of (training, test) example.

  Attributes:
    train_example: int64 [pairs].
    test_example: int64 [pairs].
    statistics: of shape [pairs], the outcomes being those on the test example.
  """

  train_example: np.ndarray
  test_example: np.ndarray
  statistics: InOutStatistics

  def __len__(self) -> int:
    return len(self.train_example)

  def __getitem__(self, index: np.ndarray | slice) -> Self:
    return type(self)(self.train_example[index], self.test_example[index], self.statistics[index])

  @property
  def influence(self) -> np.ndarray:
    """The pairs' influence, float64 [pairs]."""
    return score(self.statistics)


def keep_top_k(pairs: InfluencePairs, top_k: int) -> InfluencePairs:
  """Keeps the pairs among the k largest influences of their training or of their test example.

  Of equal influences the one with the lower example index on the other side comes first.

  Raises:
    ValueError: `top_k` is not positive.
  """
  if top_k < 1:
    raise ValueError(f"top_k is {top_k}: pass a positive number, or None to keep all pairs")
  influence = pairs.influence
  train, test = pairs.train_example, pairs.test_example
  return pairs[(_rank(train, test, influence) < top_k) | (_rank(test, train, influence) < top_k)]


def merge_pairs(blocks: Sequence[InfluencePairs], top_k: int | None = None) -> InfluencePairs:
  """Merges the pairs of disjoint blocks of training examples.

  With `top_k`, the blocks may each have been cut by `keep_top_k`: a pair among the k largest of
  all is among the k largest of its block, so the answer is that of one undivided block, whatever
  the order or nesting of the merges.

  Args:
    blocks: pairs selected under the same thresholds, of statistics of one kind.
    top_k: keep the pairs that `keep_top_k` keeps. None: all.

  Raises:
    ValueError: a pair occurs twice, or `top_k` is not positive.
  """
  train = np.concatenate([np.zeros(0, np.int64), *(block.train_example for block in blocks)])
  test = np.concatenate([np.zeros(0, np.int64), *(block.test_example for block in blocks)])
  order = np.lexsort((test, train))
  statistics = [block.statistics for block in blocks] or [InOutCounts(*np.zeros((4, 0), np.int32))]
  columns = zip(*(vars(each).values() for each in statistics), strict=True)
  merged = type(statistics[0])(*(np.concatenate(column)[order] for column in columns))
  pairs = InfluencePairs(train[order], test[order], merged)
  twice = (np.diff(pairs.train_example) == 0) & (np.diff(pairs.test_example) == 0)
  if twice.any():
    at = int(np.argmax(twice))
    raise ValueError(
      f"training example {pairs.train_example[at]} and test example {pairs.test_example[at]} "
      "are paired twice: merge each block of training examples once"
    )
  return pairs if top_k is None else keep_top_k(pairs, top_k)


@dataclasses.dataclass(frozen=True, eq=False)
class PairSummary:
  """What the selected pairs say of each example on one side.

  Attributes:
    pairs: int64 [examples], number of its pairs.
    largest: float64 [examples], largest influence among them; NaN where there is none.
  """

  pairs: np.ndarray
  largest: np.ndarray


def summarize_pairs(example: np.ndarray, influence: np.ndarray, examples: int) -> PairSummary:
  """Sums pairs up per training example or per test example.

  If an example has a pair at all, its largest influence over all pairs is among the selected.

  Args:
    example: int64 [pairs], `train_example` or `test_example` of the pairs.
    influence: float64 [pairs].
    examples: number of examples on that side.
  """
  largest = np.full(examples, -np.inf)
  np.maximum.at(largest, example, influence)
  largest[largest == -np.inf] = np.nan
  return PairSummary(np.bincount(example, minlength=examples), largest)


def _rank(group: np.ndarray, other: np.ndarray, influence: np.ndarray) -> np.ndarray:
  """Returns each pair's place, from 0, among those of its group by falling influence."""
  order = np.lexsort((other, -influence, group))
  places = np.arange(len(order))
  starts = np.concatenate([np.ones(min(1, len(order)), bool), np.diff(group[order]) != 0])
  rank = np.empty(len(order), np.int64)
  rank[order] = places - np.maximum.accumulate(np.where(starts, places, 0))
  return rank
