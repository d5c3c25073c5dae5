"""Selection of influential pairs, where outcomes are reals, without a dense matrix."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from estimators.bits import check_bits, keep_runs, popcount
from estimators.kernels.select_soft_rows import SoftTests, SoftTrains, select_soft_rows
from estimators.kernels.tiles import map_rows, tile_values
from estimators.means import check_values, measure_pairs
from estimators.pairs import InfluencePairs, keep_top_k
from estimators.selection import (
  HalvesPairs,
  check_halves,
  check_length,
  check_selection_labels,
  merge_selected,
)
from estimators.soft_influence import RELATIVE_ERROR, ROWS_PER_CALL, deviations_of
from estimators.thresholds import check_threshold, reaches


class _Task(NamedTuple):
  """Training examples of one class, and its test examples."""

  rows: np.ndarray
  tests: np.ndarray
  laid_out: SoftTests


def select_soft_in_halves(
  member_bits: np.ndarray,
  test_values: np.ndarray,
  halves: tuple[np.ndarray, np.ndarray],
  min_influence: float,
  *,
  train_labels: np.ndarray | None = None,
  test_labels: np.ndarray | None = None,
  eligible: Sequence[np.ndarray | None] = (None, None, None),
  top_k: int | None = None,
  first_train: int = 0,
  threads: int | None = None,
) -> HalvesPairs:
  """Selects pairs by all runs and by each half of them, as `select_in_halves` does of bits.

  All pairs are scored as by `soft_influence_block`; those that reach the threshold, or may within
  its error, are measured in float64, and that decides. Memory beside the result: copies of
  `member_bits` and of `test_values`.

  Args:
    member_bits: uint64 [train, words], run-packed: the run was trained on the example. All training
      examples or a block of them.
    test_values: float32 [test, runs], the outcome of each run.
    halves: two bool [runs], from `split_halves`: each run is in one of them.
    min_influence: least influence of a selected pair, in the unit of the outcomes.
    train_labels: int [train]; with `test_labels`, only pairs of the same label are selected.
    test_labels: int [test].
    eligible: three times bool [train] or None, training examples to consider for all runs, for the
      first half and for the second. None: all.
    top_k: of these pairs keep those among the k largest of their training or test example.
    first_train: index of the block's first training example; it is added to `train_example`.
    threads: number of threads. None: NUMBA_NUM_THREADS, by default all cores of the process.

  Raises:
    ValueError: shapes or types do not fit, `min_influence` is not finite, `top_k` not positive, or
      a run is in no half or in both.
  """
  check_halves(halves)
  runs = len(halves[0])
  check_bits("member_bits", member_bits, runs)
  check_values("test_values", test_values, runs)
  check_threshold(min_influence)
  train, test = len(member_bits), len(test_values)
  train_labels, test_labels = check_selection_labels(train_labels, test_labels, train, test)

  masks = np.stack([np.ones(runs, bool), *halves])
  parts = [keep_runs(member_bits, half) for half in halves]
  words = np.concatenate(parts, axis=1)
  runs_of = np.count_nonzero(masks, axis=1)
  of_halves = [popcount(part) for part in parts]
  runs_in = np.stack([sum(of_halves), *of_halves])
  considered = (runs_in > 0) & (runs_in < runs_of[:, None])
  for some, each in zip(considered, eligible, strict=True):
    check_length("eligible", each, train)
    if each is not None:
      some &= each
  tasks = list(_tasks(considered, train_labels, test_labels, test_values, halves))

  def select(one: slice) -> list[InfluencePairs]:
    task = tasks[one.start]
    trains = SoftTrains(
      np.ascontiguousarray(words[task.rows].T),
      considered[:, task.rows],
      runs_in[:, task.rows],
      runs_of,
    )
    found = select_soft_rows(trains, task.laid_out, min_influence)
    return [
      measured(each, task.rows[of_set[:, 1]], task.tests[of_set[:, 2]])
      for each in range(3)
      for of_set in [found[found[:, 0] == each]]
    ]

  def measured(each: int, trains: np.ndarray, tests: np.ndarray) -> InfluencePairs:
    means = measure_pairs(member_bits, test_values, runs, trains, tests, masks[each])
    pairs = InfluencePairs(trains + first_train, tests, means)
    pairs = pairs[reaches(means, min_influence)]
    return pairs if top_k is None else keep_top_k(pairs, top_k)

  none = np.zeros(0, np.int64)
  empty = [measured(each, none, none) for each in range(3)]
  selected = map_rows(select, len(tasks), threads, rows_per_call=1)
  return HalvesPairs(*merge_selected([empty, *selected], 3, top_k))


def _tasks(
  considered: np.ndarray,
  train_labels: np.ndarray,
  test_labels: np.ndarray,
  test_values: np.ndarray,
  halves: Sequence[np.ndarray],
) -> Iterator[_Task]:
  """Yields the training examples that are considered, class by class, with their test examples."""
  rows = np.flatnonzero(considered.any(axis=0))
  for label in np.intersect1d(train_labels[rows], test_labels):
    tests = np.flatnonzero(test_labels == label)
    laid_out = _lay_out(test_values[tests], halves)
    of_class = rows[train_labels[rows] == label]
    for first in range(0, len(of_class), ROWS_PER_CALL):
      yield _Task(of_class[first : first + ROWS_PER_CALL], tests, laid_out)


def _lay_out(values: np.ndarray, halves: Sequence[np.ndarray]) -> SoftTests:
  deviations = deviations_of(values)
  parts = [deviations[:, half] for half in halves]
  tiles = [tile_values(part) for part in parts]
  lanes = tiles[0].shape[0] * tiles[0].shape[2]
  sums, bounds = np.zeros((3, lanes)), np.full((3, lanes), -math.inf)
  for each, part in ((1, parts[0]), (2, parts[1])):
    sums[each, : len(values)] = part.sum(axis=1, dtype=np.float64)
    bounds[each, : len(values)] = RELATIVE_ERROR * np.abs(part).sum(axis=1, dtype=np.float64)
  sums[0], bounds[0] = sums[1:].sum(axis=0), bounds[1:].sum(axis=0)
  return SoftTests(
    np.concatenate(tiles, axis=1),
    np.cumsum([0, *(tile.shape[1] // 64 for tile in tiles)]),
    sums,
    bounds,
  )
