"""The strongest influences of one training example, or on one test example, with their errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow.compute as pc

from beam_pipelines.storage.scores.dense import read_dense, row_blocks
from beam_pipelines.storage.scores.directory import DENSE, Scores
from estimators.counts import InOutCounts
from estimators.scores import standard_error
from files.errors import UsageError

TRAIN, TEST = "train", "test"

_COUNTS = ("runs_in", "runs_out", "correct_in", "correct_out")


@dataclasses.dataclass(frozen=True, eq=False)
class StrongestPairs:
  """Pairs that one example is in, the largest absolute influence first.

  Attributes:
    others: int64 [pairs], test examples for a training example, training examples for a test one.
    influence: float64 [pairs].
    error: float64 [pairs], standard errors.
    pairs: of how many defined pairs these are the strongest.
    is_dense: whether those are all pairs of the example; otherwise the selected ones.
  """

  others: np.ndarray
  influence: np.ndarray
  error: np.ndarray
  pairs: int
  is_dense: bool


def strongest_pairs(
  scores: Scores, subset_ratio: float, side: str, example: int, count: int
) -> StrongestPairs:
  """Returns the strongest pairs of an example: of all, if there is a dense matrix, or the selected.

  Args:
    scores: opened.
    subset_ratio: of the runs.
    side: `train` or `test`: of which split the example is.
    example: its index.
    count: how many pairs at most.

  Raises:
    UsageError: there is no such example, or the scores are damaged.
  """
  size = getattr(scores.manifest.examples, side)
  if not 0 <= example < size:
    raise UsageError(
      f"{scores.path} holds scores of {size:,} {'training' if side == TRAIN else side} examples, "
      f"and none of {example}"
    )
  if scores.manifest.parts_of(DENSE):
    return _of_all(scores, subset_ratio, side, example, count)
  return _of_selected(scores, subset_ratio, side, example, count)


def _of_all(
  scores: Scores, subset_ratio: float, side: str, example: int, count: int
) -> StrongestPairs:
  matrix = read_dense(scores.path, subset_ratio)
  if side == TRAIN:
    influence = np.asarray(matrix[example]).astype(np.float64)
  else:
    columns = [block[:, example] for _, block in row_blocks(scores.path, matrix)]
    influence = np.concatenate(columns).astype(np.float64)
  rows = _largest(influence, count)
  pairs = [(example, row) if side == TRAIN else (row, example) for row in rows.tolist()]
  error = standard_error(_count_pairs(scores, subset_ratio, pairs))
  defined = int(np.count_nonzero(~np.isnan(influence)))
  return StrongestPairs(rows, influence[rows], error, defined, is_dense=True)


def _of_selected(
  scores: Scores, subset_ratio: float, side: str, example: int, count: int
) -> StrongestPairs:
  other = {TRAIN: "test_example", TEST: "train_example"}[side]
  wanted = (pc.field("subset_ratio") == subset_ratio) & (pc.field(f"{side}_example") == example)
  table = scores.table("influence").filter(wanted).sort_by(other)
  influence = table["influence"].to_numpy()
  rows = _largest(influence, count)
  return StrongestPairs(
    table[other].to_numpy()[rows],
    influence[rows],
    table["influence_se"].to_numpy()[rows],
    len(table),
    is_dense=False,
  )


def _largest(influence: np.ndarray, count: int) -> np.ndarray:
  """Returns the rows of the largest absolute values, of equal ones the first; none undefined."""
  defined = np.flatnonzero(~np.isnan(influence))
  return defined[np.argsort(-np.abs(influence[defined]), kind="stable")[:count]]


def _count_pairs(scores: Scores, subset_ratio: float, pairs: list[tuple[int, int]]) -> InOutCounts:
  """Counts a few pairs anew, from the outcomes of the runs: the matrix has scores alone."""
  outcomes = scores.table("outcomes").filter(pc.field("subset_ratio") == subset_ratio)
  train, test = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
  counts = dict.fromkeys(_COUNTS, np.zeros(len(pairs), np.int32))
  for in_subset, correct in zip(
    outcomes["in_subset"].to_pylist(), outcomes["test_correct"].to_pylist(), strict=True
  ):
    saw, right = _bits(in_subset, train), _bits(correct, test)
    for name, here in zip(_COUNTS, (saw, ~saw, saw & right, ~saw & right), strict=True):
      counts[name] = counts[name] + here
  return InOutCounts(**counts)


def _bits(packed: bytes, examples: np.ndarray) -> np.ndarray:
  """Returns the bits of some examples; bit e % 8 of byte e // 8 is that of example e."""
  content = np.frombuffer(packed, np.uint8)
  return (content[examples // 8] >> (examples % 8)) & 1 == 1
