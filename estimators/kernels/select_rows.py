"""The compiled loop over pairs that keeps those whose influence reaches a threshold.

It counts as `kernels` does; after a change there, touch this file too, for Numba's on-disk cache.
"""

import numba
import numpy as np

from estimators.kernels.influence_rows import count_panel, load_group, panel_tiles
from estimators.kernels.vectors import GROUP, LANES

# Pairs between two looks at whether any of them is near the threshold.
_SIFTED = 64


@numba.njit(nogil=True, cache=True, error_model="numpy")
def select_rows(
  member_bits: np.ndarray,
  rows: np.ndarray,
  first_tile: np.ndarray,
  stop_tile: np.ndarray,
  parts: np.ndarray,
  considered: np.ndarray,
  runs_in: np.ndarray,
  runs: np.ndarray,
  tiles: np.ndarray,
  tests: np.ndarray,
  correct: np.ndarray,
  least: np.ndarray,
  most: np.ndarray,
  min_influence: float,
) -> np.ndarray:
  """Finds the pairs of some training examples whose influence is at least `min_influence`.

  The runs come in one part, or in two parts of which each is scored on its own and both together:
  one set of runs, or three.

  The score grows with correct_in, so it has an upper bound that needs no count: tiles in which no
  test example can reach the threshold, because almost every run or almost none is right on it,
  are passed over.

  Args:
    member_bits: uint64 [train, words].
    rows: int64 [rows], training examples, those that meet the same tiles next to each other.
    first_tile: int64 [rows], first tile that each meets.
    stop_tile: int64 [rows], one past its last tile.
    parts: int64 [parts + 1], the first word of each part of the runs, and the number of words.
    considered: bool [sets, train], whether a training example may form pairs.
    runs_in: int64 [sets, train], runs that saw each training example; where `considered`, neither
      0 nor all.
    runs: int64 [sets], number of runs.
    tiles: uint64 [tiles, words, LANES].
    tests: int64 [tiles * LANES], the test example in each lane.
    correct: float64 [sets, tiles * LANES], its correct runs; infinite in lanes that hold none.
    least: float64 [sets, tiles], least of a tile's correct runs.
    most: float64 [sets, tiles], most of them, empty lanes aside.
    min_influence: float64.

  Returns:
    int32 [pairs, 4]: set, training example, test example, correct_in.
  """
  sets = len(runs)
  panel = panel_tiles(tiles)
  group = np.empty((GROUP, tiles.shape[1]), np.uint64)
  counts = np.empty((sets, GROUP, panel * LANES), np.int32)
  reach = np.empty((sets, 2))
  found = np.empty((1024, 4), np.int32)
  size = 0
  first = 0
  while first < len(rows):
    stop = first + 1
    while stop < len(rows) and first_tile[stop] == first_tile[first]:
      stop += 1
    for panel_first in range(first_tile[first], stop_tile[first], panel):
      panel_stop = min(panel_first + panel, stop_tile[first])
      for start in range(first, stop, GROUP):
        some = rows[start : min(start + GROUP, stop)]
        _find_reach(some, considered, runs_in, runs, min_influence, reach)
        tile, tile_stop = _reachable(reach, least, most, panel_first, panel_stop)
        if tile == tile_stop:
          continue
        load_group(member_bits, some, group)
        for part in range(len(parts) - 1):
          count_panel(group, tiles, tile, tile_stop, parts[part], parts[part + 1], counts[part])
        lanes = slice(tile * LANES, tile_stop * LANES)
        columns = lanes.stop - lanes.start
        for g in range(len(some)):
          if sets > 1:
            _add(counts[0, g, :columns], counts[1, g, :columns], counts[2, g, :columns])
          for each in range(sets):
            if considered[each, some[g]]:
              found, size = _keep(
                found,
                size,
                each,
                some[g],
                runs_in[each, some[g]],
                runs[each],
                counts[each, g, :columns],
                tests[lanes],
                correct[each, lanes],
                min_influence,
              )
    first = stop
  return found[:size].copy()


@numba.njit(nogil=True, cache=True)
def _add(first: np.ndarray, second: np.ndarray, total: np.ndarray) -> None:
  for k in range(len(total)):
    total[k] = first[k] + second[k]


@numba.njit(nogil=True, cache=True)
def _find_reach(
  rows: np.ndarray,
  considered: np.ndarray,
  runs_in: np.ndarray,
  runs: np.ndarray,
  min_influence: float,
  reach: np.ndarray,
) -> None:
  """Finds how many correct runs a test example must have for one of `rows` to influence it enough.

  With T correct runs in all, the score is largest when as many of them as can be saw the training
  example: T / runs_in, or 1 - (T - runs_in) / runs_out. The margin of a hundredth of a run is far
  above rounding.

  Args:
    rows: int64 [rows].
    considered: as in `select_rows`, like all that is not explained.
    runs_in: likewise.
    runs: likewise.
    min_influence: likewise.
    reach: float64 [sets, 2], written: least and most correct runs.
  """
  for each in range(len(runs)):
    least, most = np.inf, -np.inf
    for row in rows:
      if considered[each, row]:
        seen = np.float64(runs_in[each, row])
        least = min(least, min_influence * seen)
        most = max(most, seen + (1 - min_influence) * (runs[each] - seen))
    reach[each, 0], reach[each, 1] = least - 0.01, most + 0.01


@numba.njit(nogil=True, cache=True)
def _reachable(
  reach: np.ndarray, least: np.ndarray, most: np.ndarray, tile: int, tile_stop: int
) -> tuple[int, int]:
  """Narrows tiles tile : tile_stop from both ends to those that are within reach of any set."""
  while tile < tile_stop and not _within(reach, least, most, tile):
    tile += 1
  while tile < tile_stop and not _within(reach, least, most, tile_stop - 1):
    tile_stop -= 1
  return tile, tile_stop


@numba.njit(nogil=True, cache=True)
def _within(reach: np.ndarray, least: np.ndarray, most: np.ndarray, tile: int) -> bool:
  for each in range(len(reach)):
    if most[each, tile] >= reach[each, 0] and least[each, tile] <= reach[each, 1]:
      return True
  return False


@numba.njit(nogil=True, cache=True)
def _near(counts: np.ndarray, correct: np.ndarray, line: float, slope: float) -> int:
  """Counts the pairs whose correct_in is on or above line + slope * correct."""
  near = 0
  for k in range(len(counts)):
    near += counts[k] >= line + slope * correct[k]
  return near


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _keep(
  found: np.ndarray,
  size: int,
  each: int,
  row: int,
  runs_in: int,
  runs: int,
  counts: np.ndarray,
  tests: np.ndarray,
  correct: np.ndarray,
  min_influence: float,
) -> tuple[np.ndarray, int]:
  """Appends the pairs of one training example that reach the threshold in one set of runs.

  Solved for correct_in, the threshold is a straight line in the test example's correct runs. It
  sorts out almost every pair without a division, erring by a hundredth of a run on the safe side;
  whatever passes is decided by the score itself.

  Returns:
    `found`, or a larger array with its contents, and the number of pairs in it.
  """
  seen = np.float64(runs_in)
  unseen = runs - seen
  slope = seen / runs
  line = slope * min_influence * unseen - 0.01
  if _near(counts, correct, line, slope) == 0:
    return found, size
  for base in range(0, len(counts), _SIFTED):
    some, some_correct = counts[base : base + _SIFTED], correct[base : base + _SIFTED]
    near = _near(some, some_correct, line, slope)
    if near == 0:
      continue
    if size + near > len(found):
      grown = np.empty((2 * len(found), 4), np.int32)
      grown[:size] = found[:size]
      found = grown
    for k in range(len(some)):
      a = np.float64(some[k])
      if a / seen - (some_correct[k] - a) / unseen >= min_influence:
        found[size, 0] = each
        found[size, 1] = row
        found[size, 2] = tests[base + k]
        found[size, 3] = some[k]
        size += 1
  return found, size
