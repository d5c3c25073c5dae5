"""Selection of influential pairs without a dense matrix."""

import dataclasses
import math

import numpy as np

from estimators import kernels
from estimators.bits import check_bits, popcount
from estimators.counts import InOutCounts
from estimators.pairs import InfluencePairs, keep_top_k, merge_pairs
from estimators.tiles import map_rows, tile_bits
from estimators.vectors import LANES

# Pairs that pile up before they are cut to the top k.
_PAIRS_HELD = 1 << 20


def select_pairs(
  member_bits: np.ndarray,
  test_bits: np.ndarray,
  runs: int,
  min_influence: float,
  *,
  train_labels: np.ndarray | None = None,
  test_labels: np.ndarray | None = None,
  eligible: np.ndarray | None = None,
  top_k: int | None = None,
  first_train: int = 0,
  threads: int | None = None,
) -> InfluencePairs:
  """Selects the pairs whose influence is defined and at least `min_influence`.

  The influence that is compared is `score` of the pair's counts, in float64. With labels, only
  pairs of one class are counted at all. Memory beside the result: a copy of `test_bits`.

  Args:
    member_bits: uint64 [train, words], run-packed: the run was trained on the example. All
      training examples or a block of them.
    test_bits: uint64 [test, words], run-packed: the run classifies the test example correctly.
    runs: number of runs in the bits.
    min_influence: least influence of a selected pair; the papers use 0.15, -1 selects all.
    train_labels: int [train]; with `test_labels`, only pairs of the same label are selected.
    test_labels: int [test].
    eligible: bool [train], training examples to consider, such as those whose memorization
      reaches a threshold. None: all.
    top_k: of these pairs keep those among the k largest of their training or test example, as
      `keep_top_k` does. Several blocks go through `merge_pairs` with the same `top_k`.
    first_train: index of the block's first training example; it is added to `train_example`.
    threads: number of threads. None: NUMBA_NUM_THREADS, by default all cores of the process.

  Raises:
    ValueError: shapes or types do not fit, `min_influence` is not finite or `top_k` not positive.
  """
  check_bits("member_bits", member_bits, runs)
  check_bits("test_bits", test_bits, runs)
  train, test = len(member_bits), len(test_bits)
  _check_length("train_labels", train_labels, train)
  _check_length("test_labels", test_labels, test)
  _check_length("eligible", eligible, train)
  if (train_labels is None) != (test_labels is None):
    raise ValueError("only one of train_labels and test_labels is given: pass both or neither")
  if not math.isfinite(min_influence):
    raise ValueError(f"min_influence is {min_influence}: pass a finite number; -1 selects all")
  if train_labels is None or test_labels is None:
    train_labels, test_labels = np.zeros(train, np.int64), np.zeros(test, np.int64)
  if eligible is None:
    eligible = np.ones(train, bool)

  runs_in, correct = popcount(member_bits), popcount(test_bits)
  classes = _tile_classes(test_bits, correct, test_labels)
  considered = eligible & (runs_in > 0) & (runs_in < runs) & np.isin(train_labels, classes.labels)
  rows = np.flatnonzero(considered)
  rows = rows[np.argsort(train_labels[rows], kind="stable")]
  of_class = np.searchsorted(classes.labels, train_labels[rows])

  def select(some: slice) -> InfluencePairs:
    found = kernels.select_rows(
      member_bits,
      rows[some],
      classes.first_tile[of_class[some]],
      classes.stop_tile[of_class[some]],
      runs_in,
      runs,
      classes.tiles,
      classes.tests,
      classes.correct,
      float(min_influence),
    )
    train_example, test_example, correct_in = found.T
    seen = runs_in[train_example]
    all_counts = (seen, runs - seen, correct_in, correct[test_example] - correct_in)
    pairs = InfluencePairs(
      train_example.astype(np.int64) + first_train,
      test_example.astype(np.int64),
      InOutCounts(*(counts.astype(np.int32) for counts in all_counts)),
    )
    return pairs if top_k is None else keep_top_k(pairs, top_k)

  blocks: list[InfluencePairs] = []
  held, most_held = 0, _PAIRS_HELD
  for block in map_rows(select, len(rows), threads):
    blocks.append(block)
    held += len(block)
    if top_k is not None and held > most_held:
      blocks = [merge_pairs(blocks, top_k)]
      held = len(blocks[0])
      most_held = max(_PAIRS_HELD, 2 * held)
  return merge_pairs(blocks, top_k)


@dataclasses.dataclass(frozen=True, eq=False)
class _ClassTiles:
  """Test examples in tiles of one class each, in ascending order of their correct runs.

  Attributes:
    tiles: uint64 [tiles, words, LANES].
    tests: int64 [tiles * LANES], the test example in each lane, -1 in empty lanes.
    correct: float64 [tiles * LANES], its correct runs, infinite in empty lanes.
    labels: int [classes], ascending.
    first_tile: int64 [classes], the first tile of each class.
    stop_tile: int64 [classes], one past its last tile.
  """

  tiles: np.ndarray
  tests: np.ndarray
  correct: np.ndarray
  labels: np.ndarray
  first_tile: np.ndarray
  stop_tile: np.ndarray


def _tile_classes(test_bits: np.ndarray, correct: np.ndarray, labels: np.ndarray) -> _ClassTiles:
  """Lays test examples out class by class."""
  order = np.lexsort((correct, labels))
  names, sizes = np.unique(labels, return_counts=True)
  tiles = -(-sizes // LANES)
  stop_tile = np.cumsum(tiles)
  first_tile = stop_tile - tiles
  place = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
  lanes = np.repeat(first_tile * LANES, sizes) + place
  tests = np.full(LANES * tiles.sum(), -1, np.int64)
  tests[lanes] = order
  lane_correct = np.full(len(tests), np.inf)
  lane_correct[lanes] = correct[order]
  bits = tile_bits(test_bits[order], lanes, int(tiles.sum()))
  return _ClassTiles(bits, tests, lane_correct, names, first_tile, stop_tile)


def _check_length(name: str, values: np.ndarray | None, examples: int) -> None:
  """Raises ValueError, naming the argument, unless it is None or has one value per example."""
  if values is not None and values.shape != (examples,):
    raise ValueError(
      f"{name} has shape {list(values.shape)}: pass one for each of the {examples} examples"
    )
