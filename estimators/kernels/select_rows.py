"""The compiled loop over pairs that keeps those whose influence reaches a threshold.

Test examples lie in tiles: class by class, in each class by rising number of correct runs. A tile
holds the words of LANES examples side by side (here 4), the words of each part of the runs
together. Training examples of one class go over its tiles in groups of GROUP. They pass over tiles
at either end that are out of reach, as tile 2 may be; lanes that no example takes are empty.

                      class 0               class 1
    test example     7  2  0  4   5  .  .  .   3  9  1  8   6 11 10  .
    correct runs    20 31 31 45  60  .  .  .   4 28 33 33  47 51 70  .
                   +------------+------------+------------+------------+
            word 0 |            |            |            |            | first half
            word 1 |   tile 0   |   tile 1   |   tile 2   |   tile 3   | of the runs
                   +- - - - - - +- - - - - - +- - - - - - +- - - - - - +
            word 2 |            |            |            |            | second half
            word 3 |            |            |            |            | of the runs
                   +------------+------------+------------+------------+

Of a pair only correct_in is counted, for its *lead* (see `estimators.thresholds`),
correct_in * runs_out - correct_out * runs_in, is correct_in * runs - correct * runs_in: in the
plane of correct and correct_in, equal scores lie on parallel lines. Below, 8 of 16 runs saw the
training example and the threshold is 1/4, a least lead of 16. Each mark is a possible pair: `0` has
no influence, `@` is on the threshold, `@` and `#` are kept. The line meets the borders at 2 and at
14 correct runs; a test example with fewer or more is out of reach.

    correct_in
    runs_in 8 |                        #  #  #  #  #  #  @  .  0
              |                     #  #  #  #  #  @  .  0  .
              |                  #  #  #  #  @  .  0  .  .
              |               #  #  #  @  .  0  .  .  .
              |            #  #  @  .  0  .  .  .  .
              |         #  @  .  0  .  .  .  .  .
              |      @  .  0  .  .  .  .  .  .
              |   .  0  .  .  .  .  .  .  .
            0 |0  .  .  .  .  .  .  .  .
              +--------------------------------------------------
               0     2                 8                 14    16   correct
"""

from typing import NamedTuple

import numba
import numpy as np

from estimators.kernels.influence_rows import count_panel, load_group, panel_tiles
from estimators.kernels.vectors import GROUP, LANES

# Pairs between two looks at whether any of them is kept.
_SIFTED = 64

# The types of the arguments stand in this file for the sake of Numba's on-disk cache, which looks
# at no other; after a change in one that is imported here, touch this one too.


class TrainSide(NamedTuple):
  """Training examples as the kernel takes them.

  A set of runs is all of them or, where they come in two parts, the first part or the second: sets
  are 1 or 3, in that order.

  Attributes:
    member_bits: uint64 [train, words], the words of one part of the runs after the other.
    test_class: int64 [train], which of the classes of `TestSide` each can influence.
    considered: bool [sets, train], whether it may form pairs.
    runs_in: int64 [sets, train], runs that saw it; where `considered`, neither 0 nor all.
    least_lead: int64 [sets, train], least lead of a pair that is kept.
    runs: int64 [sets], number of runs.
  """

  member_bits: np.ndarray
  test_class: np.ndarray
  considered: np.ndarray
  runs_in: np.ndarray
  least_lead: np.ndarray
  runs: np.ndarray


class TestSide(NamedTuple):
  """Test examples in tiles of one class each, in ascending order of their correct runs.

  Attributes:
    tiles: uint64 [tiles, words, LANES], the words of one part of the runs after the other.
    parts: int64 [parts + 1], the first word of each part, and the number of words.
    tests: int64 [tiles * LANES], the test example in each lane, -1 in empty lanes.
    correct: float64 [sets, tiles * LANES], its correct runs, infinite in empty lanes.
    least: float64 [sets, tiles], least of a tile's correct runs.
    most: float64 [sets, tiles], most of them, empty lanes aside.
    first_tile: int64 [classes], the first tile of each class.
    stop_tile: int64 [classes], one past its last tile.
  """

  tiles: np.ndarray
  parts: np.ndarray
  tests: np.ndarray
  correct: np.ndarray
  least: np.ndarray
  most: np.ndarray
  first_tile: np.ndarray
  stop_tile: np.ndarray


@numba.njit(nogil=True, cache=True, error_model="numpy")
def select_rows(train: TrainSide, test: TestSide, rows: np.ndarray) -> np.ndarray:
  """Finds the pairs of some training examples whose lead is at least theirs.

  Args:
    train: all training examples.
    test: all test examples, of the same sets of runs.
    rows: int64 [rows], training examples, those of one class next to each other.

  Returns:
    int32 [pairs, 4]: set, training example, test example, correct_in.
  """
  sets, parts = len(train.runs), len(test.parts) - 1
  panel = panel_tiles(test.tiles)
  group = np.empty((GROUP, test.tiles.shape[1]), np.uint64)
  counts = np.empty((sets, GROUP, panel * LANES), np.int32)
  reach = np.empty((sets, 2))
  found = np.empty((1024, 4), np.int32)
  size = 0
  first = 0
  while first < len(rows):
    test_class = train.test_class[rows[first]]
    stop = first + 1
    while stop < len(rows) and train.test_class[rows[stop]] == test_class:
      stop += 1
    class_stop = test.stop_tile[test_class]
    for panel_first in range(test.first_tile[test_class], class_stop, panel):
      panel_stop = min(panel_first + panel, class_stop)
      for start in range(first, stop, GROUP):
        some = rows[start : min(start + GROUP, stop)]
        _find_reach(train, some, reach)
        tile, tile_stop = _reachable(test, reach, panel_first, panel_stop)
        if tile == tile_stop:
          continue
        load_group(train.member_bits, some, group)
        for part in range(parts):
          # Where there are two parts, their counts stand behind those of all runs.
          of_part = counts[sets - parts + part]
          count_panel(
            group, test.tiles, tile, tile_stop, test.parts[part], test.parts[part + 1], of_part
          )
        found, size = _keep_group(found, size, train, test, some, counts, tile, tile_stop)
    first = stop
  return found[:size].copy()


@numba.njit(nogil=True, cache=True)
def _keep_group(
  found: np.ndarray,
  size: int,
  train: TrainSide,
  test: TestSide,
  rows: np.ndarray,
  counts: np.ndarray,
  tile: int,
  tile_stop: int,
) -> tuple[np.ndarray, int]:
  """Appends the pairs of a group that are kept, set by set.

  Args:
    found: int32 [room, 4], the pairs so far.
    size: how many they are.
    train: all training examples.
    test: all test examples.
    rows: int64 [GROUP] at most, the training examples.
    counts: int32 [sets, GROUP, lanes], correct_in from lane tile * LANES on; where there are two
      parts of the runs, that of all runs is written.
    tile: the first tile.
    tile_stop: one past the last.

  Returns:
    `found`, or a larger array with its contents, and the number of pairs in it.
  """
  lanes = slice(tile * LANES, tile_stop * LANES)
  tests, columns = test.tests[lanes], lanes.stop - lanes.start
  for g in range(len(rows)):
    if len(counts) > 1:
      _add(counts[1, g, :columns], counts[2, g, :columns], counts[0, g, :columns])
    for each in range(len(counts)):
      if not train.considered[each, rows[g]]:
        continue
      line, slope = _line(train, each, rows[g])
      correct_in, correct = counts[each, g, :columns], test.correct[each, lanes]
      kept = _kept(correct_in, correct, line, slope)
      if kept:
        found = _with_room(found, size + kept)
        size = _keep(found, size, each, rows[g], correct_in, tests, correct, line, slope)
  return found, size


@numba.njit(nogil=True, cache=True)
def _add(first: np.ndarray, second: np.ndarray, total: np.ndarray) -> None:
  for k in range(len(total)):
    total[k] = first[k] + second[k]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _find_reach(train: TrainSide, rows: np.ndarray, reach: np.ndarray) -> None:
  """Finds how many correct runs a test example must have for one of `rows` to influence it enough.

  The lead is largest when as many correct runs as can be saw the training example: correct *
  runs_out, or (runs - correct) * runs_in. Rounding cannot put a whole number on the wrong side of a
  quotient.

  Args:
    train: all training examples.
    rows: int64 [rows], some of them.
    reach: float64 [sets, 2], written: least and most correct runs.
  """
  for each in range(len(train.runs)):
    runs = train.runs[each]
    least, most = np.inf, -np.inf
    for row in rows:
      if train.considered[each, row]:
        seen, lead = train.runs_in[each, row], train.least_lead[each, row]
        least = min(least, lead / (runs - seen))
        most = max(most, runs - lead / seen)
    reach[each, 0], reach[each, 1] = least, most


@numba.njit(nogil=True, cache=True)
def _reachable(test: TestSide, reach: np.ndarray, tile: int, tile_stop: int) -> tuple[int, int]:
  """Narrows tiles tile : tile_stop from both ends to those that are within reach of any set."""
  while tile < tile_stop and not _within(test, reach, tile):
    tile += 1
  while tile < tile_stop and not _within(test, reach, tile_stop - 1):
    tile_stop -= 1
  return tile, tile_stop


@numba.njit(nogil=True, cache=True)
def _within(test: TestSide, reach: np.ndarray, tile: int) -> bool:
  for each in range(len(reach)):
    if test.most[each, tile] >= reach[each, 0] and test.least[each, tile] <= reach[each, 1]:
      return True
  return False


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _line(train: TrainSide, each: int, row: int) -> tuple[float, float]:
  """Returns the line, and its slope, in correct runs, that correct_in of kept pairs lies above.

  correct_in * runs - correct * runs_in is a whole number, so the line of a lead that is half of one
  below the least parts the same pairs. None comes so near it that rounding could matter, up to 2²⁵
  runs.
  """
  runs = np.float64(train.runs[each])
  return (train.least_lead[each, row] - 0.5) / runs, train.runs_in[each, row] / runs


@numba.njit(nogil=True, cache=True)
def _kept(correct_in: np.ndarray, correct: np.ndarray, line: float, slope: float) -> int:
  """Counts the pairs whose correct_in is above line + slope * correct."""
  kept = 0
  for k in range(len(correct_in)):
    kept += correct_in[k] >= line + slope * correct[k]
  return kept


@numba.njit(nogil=True, cache=True)
def _with_room(found: np.ndarray, size: int) -> np.ndarray:
  """Returns `found`, or a copy with room for `size` pairs at least."""
  if size <= len(found):
    return found
  grown = np.empty((max(size, 2 * len(found)), 4), np.int32)
  grown[: len(found)] = found
  return grown


@numba.njit(nogil=True, cache=True)
def _keep(
  found: np.ndarray,
  size: int,
  each: int,
  row: int,
  correct_in: np.ndarray,
  tests: np.ndarray,
  correct: np.ndarray,
  line: float,
  slope: float,
) -> int:
  """Appends the pairs of one training example that are kept in one set of runs.

  Args:
    found: int32 [room, 4], the pairs so far, with room for these.
    size: how many they are.
    each: the set of runs.
    row: the training example.
    correct_in: int32 [lanes], that of the pairs with some test examples.
    tests: int64 [lanes], these test examples.
    correct: float64 [lanes], their correct runs.
    line: from `_line`.
    slope: likewise.

  Returns:
    The number of pairs in `found`.
  """
  for base in range(0, len(correct_in), _SIFTED):
    some, some_correct = correct_in[base : base + _SIFTED], correct[base : base + _SIFTED]
    if _kept(some, some_correct, line, slope) == 0:
      continue
    for k in range(len(some)):
      if some[k] >= line + slope * some_correct[k]:
        found[size, 0] = each
        found[size, 1] = row
        found[size, 2] = tests[base + k]
        found[size, 3] = some[k]
        size += 1
  return size
