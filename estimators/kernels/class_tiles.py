"""Test examples laid out for the selection kernel: class by class, in order of their accuracy."""

from collections.abc import Sequence

import numpy as np

from estimators.kernels.select_rows import TestSide
from estimators.kernels.tiles import tile_bits
from estimators.kernels.vectors import LANES


def lay_out_tests(
  parts: Sequence[np.ndarray], correct: np.ndarray, labels: np.ndarray
) -> tuple[TestSide, np.ndarray]:
  """Lays test examples out in tiles of one class each, in ascending order of their correct runs.

  Args:
    parts: for each part of the runs, uint64 [test, words], run-packed.
    correct: int64 [sets, test], correct runs; the first set is all of them.
    labels: int [test].

  Returns:
    The tiles, and the label of each class in them, int [classes], ascending.
  """
  order = np.lexsort((correct[0], labels))
  names, sizes = np.unique(labels, return_counts=True)
  tiles = -(-sizes // LANES)
  stop_tile = np.cumsum(tiles)
  first_tile = stop_tile - tiles
  place = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
  lanes = np.repeat(first_tile * LANES, sizes) + place
  tests = np.full(LANES * tiles.sum(), -1, np.int64)
  tests[lanes] = order
  of_lane = np.full((len(correct), len(tests)), np.inf)
  of_lane[:, lanes] = correct[:, order]
  of_tile = of_lane.reshape(len(correct), -1, LANES)
  side = TestSide(
    tiles=tile_bits(np.concatenate(parts, axis=1)[order], lanes, int(tiles.sum())),
    parts=np.cumsum([0, *(bits.shape[1] for bits in parts)]),
    tests=tests,
    correct=of_lane,
    least=of_tile.min(axis=2),
    most=np.where(np.isinf(of_tile), -np.inf, of_tile).max(axis=2),
    first_tile=first_tile,
    stop_tile=stop_tile,
  )
  return side, names
