"""The compiled loop over pairs that keeps those whose influence on real outcomes may reach enough.

Sums are those of `sum_members`, in float32 by parts, so a pair is kept as soon as its influence is
within a bound of the threshold: the few that are kept are measured in float64 afterwards.
"""

from typing import NamedTuple

import numba
import numpy as np

from estimators.kernels.sum_members import make_room, sum_members
from estimators.kernels.vectors import VALUE_LANES

# The types of the arguments stand in this file for the sake of Numba's on-disk cache, which looks
# at no other; after a change in one that is imported here, touch this one too.


class SoftTests(NamedTuple):
  """Test examples of one class in tiles.

  A set of runs is all of them, the first part or the second, in that order.

  Attributes:
    tiles: float32 [tiles, 64 * words, VALUE_LANES], the runs of one part after the other.
    parts: int64 [3], the first word of each part, and the number of words.
    sums: float64 [sets, tiles * VALUE_LANES], sum of each test example's values.
    bounds: float64 [sets, tiles * VALUE_LANES], by how much a sum over some of the runs may be
      wrong; negative infinity, so that nothing reaches, in lanes that no example takes.
  """

  tiles: np.ndarray
  parts: np.ndarray
  sums: np.ndarray
  bounds: np.ndarray


class SoftTrains(NamedTuple):
  """Some training examples of one class.

  Attributes:
    words: uint64 [words, rows], run-packed membership word by word, one part after the other.
    considered: bool [sets, rows], whether each may form pairs.
    runs_in: int64 [sets, rows], runs that saw it; where `considered`, neither 0 nor all.
    runs: int64 [sets], number of runs.
  """

  words: np.ndarray
  considered: np.ndarray
  runs_in: np.ndarray
  runs: np.ndarray


@numba.njit(nogil=True, cache=True, error_model="numpy")
def select_soft_rows(train: SoftTrains, test: SoftTests, min_influence: float) -> np.ndarray:
  """Finds the pairs whose influence is at least a threshold, or so near that it may be.

  Args:
    train: some training examples.
    test: all test examples that they may influence, of the same sets of runs.
    min_influence: the threshold.

  Returns:
    int32 [pairs, 3]: set, row of `train`, lane of `test`.
  """
  rows = train.words.shape[1]
  tables, part_sums, totals = make_room(rows)
  second = np.empty_like(totals)
  found = np.empty((1024, 3), np.int32)
  size = 0
  split, stop = test.parts[1], test.parts[2]
  for tile in range(len(test.tiles)):
    values = test.tiles[tile]
    sum_members(train.words[:split], values[: 64 * split], tables, part_sums, totals)
    sum_members(train.words[split:stop], values[64 * split :], tables, part_sums, second)
    lanes = slice(tile * VALUE_LANES, (tile + 1) * VALUE_LANES)
    for each in range(3):
      sums, bounds = test.sums[each, lanes], test.bounds[each, lanes]
      for row in range(rows):
        if not train.considered[each, row]:
          continue
        seen = np.float64(train.runs_in[each, row])
        per_out = 1 / (train.runs[each] - seen)
        both = 1 / seen + per_out
        kept = 0
        for k in range(VALUE_LANES):
          total = _total(totals[row, k], second[row, k], each)
          kept += (total + bounds[k]) * both - sums[k] * per_out >= min_influence
        if kept == 0:
          continue
        if size + kept > len(found):
          grown = np.empty((2 * (size + kept), 3), np.int32)
          grown[:size] = found[:size]
          found = grown
        for k in range(VALUE_LANES):
          total = _total(totals[row, k], second[row, k], each)
          if (total + bounds[k]) * both - sums[k] * per_out >= min_influence:
            found[size, 0], found[size, 1], found[size, 2] = each, row, tile * VALUE_LANES + k
            size += 1
  return found[:size].copy()


@numba.njit(nogil=True, cache=True)
def _total(first: float, second: float, each: int) -> float:
  if each == 0:
    return first + second
  return first if each == 1 else second
