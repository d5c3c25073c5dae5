"""Test examples laid out for the selection kernel: class by class, in order of their accuracy."""

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from estimators.kernels.tiles import tile_bits
from estimators.kernels.vectors import LANES


@dataclasses.dataclass(frozen=True, eq=False)
class ClassTiles:
  """Test examples in tiles of one class each, in ascending order of their correct runs.

  A set of runs is one part of the runs, or all of them together.

  Attributes:
    tiles: uint64 [tiles, words, LANES], the words of one part of the runs after the other.
    parts: int64 [parts + 1], the first word of each part, and the number of words.
    tests: int64 [tiles * LANES], the test example in each lane, -1 in empty lanes.
    correct: float64 [sets, tiles * LANES], its correct runs, infinite in empty lanes.
    least: float64 [sets, tiles], least of a tile's correct runs.
    most: float64 [sets, tiles], most of them, empty lanes aside.
    labels: int [classes], ascending.
    first_tile: int64 [classes], the first tile of each class.
    stop_tile: int64 [classes], one past its last tile.
  """

  tiles: np.ndarray
  parts: np.ndarray
  tests: np.ndarray
  correct: np.ndarray
  least: np.ndarray
  most: np.ndarray
  labels: np.ndarray
  first_tile: np.ndarray
  stop_tile: np.ndarray

  @classmethod
  def of(cls, parts: Sequence[np.ndarray], correct: np.ndarray, labels: np.ndarray) -> Self:
    """Lays test examples out.

    Args:
      parts: for each part of the runs, uint64 [test, words], run-packed.
      correct: int64 [sets, test], correct runs; the last set is all of them.
      labels: int [test].
    """
    order = np.lexsort((correct[-1], labels))
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
    return cls(
      tiles=tile_bits(np.concatenate(parts, axis=1)[order], lanes, int(tiles.sum())),
      parts=np.cumsum([0, *(bits.shape[1] for bits in parts)]),
      tests=tests,
      correct=of_lane,
      least=of_tile.min(axis=2),
      most=np.where(np.isinf(of_tile), -np.inf, of_tile).max(axis=2),
      labels=names,
      first_tile=first_tile,
      stop_tile=stop_tile,
    )
