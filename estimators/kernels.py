"""Compiled loops over pairs: in how many runs a training example was in and a test example right.

For training example i and test example j that is popcount(member_bits[i] & test_bits[j]), the only
count a pair needs: the others follow from the totals of i and of j.

The test bits come in tiles, uint64 [tiles, words, LANES]: word w of LANES test examples side by
side. One word of a training example then meets LANES test examples in one AND, one popcount and
one addition, with no sum across lanes. A group of GROUP training examples goes over a tile with
its counts in registers; a panel of tiles that fits the second-level cache goes over all groups.

The kernels hold no lock and start no thread, so any number of threads may call them at once.
Numba's own parallel loops do not allow that: its default threading layer aborts the process.
"""

import numba
import numpy as np

from estimators.vectors import GROUP, LANES, count_tile, multiply_add

# A quarter of a usual second-level cache.
_PANEL_BYTES = 1 << 18
# Pairs between two looks at whether any of them is near the threshold.
_SIFTED = 64


@numba.njit(nogil=True, cache=True)
def count_rows(
  member_bits: np.ndarray, rows: np.ndarray, tiles: np.ndarray, out: np.ndarray
) -> None:
  """Counts some training examples against all test examples.

  Args:
    member_bits: uint64 [train, words].
    rows: int64 [rows], training examples.
    tiles: uint64 [tiles, words, LANES], test examples in their order.
    out: int32 [train, test]; its `rows` are written.
  """
  group, counts = _buffers(tiles)
  panel = counts.shape[1] // LANES
  for tile in range(0, len(tiles), panel):
    column = tile * LANES
    columns = min(counts.shape[1], out.shape[1] - column)
    for start in range(0, len(rows), GROUP):
      live = _load_group(member_bits, rows[start:], group)
      _count_panel(group, tiles, tile, min(tile + panel, len(tiles)), counts)
      for g in range(live):
        row_out, row_counts = out[rows[start + g], column : column + columns], counts[g]
        for k in range(len(row_out)):
          row_out[k] = row_counts[k]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def influence_rows(
  member_bits: np.ndarray,
  rows: np.ndarray,
  runs_in: np.ndarray,
  runs: int,
  tiles: np.ndarray,
  correct: np.ndarray,
  out: np.ndarray,
) -> None:
  """Scores some training examples against all test examples.

  Args:
    member_bits: uint64 [train, words].
    rows: int64 [rows], training examples.
    runs_in: int64 [train], runs that saw each training example.
    runs: number of runs.
    tiles: uint64 [tiles, words, LANES], test examples in their order.
    correct: float64 [tiles * LANES], correct runs of each test example.
    out: float32 [train, test]; its `rows` are written, NaN where undefined (0 / 0).
  """
  group, counts = _buffers(tiles)
  panel = counts.shape[1] // LANES
  for tile in range(0, len(tiles), panel):
    column = tile * LANES
    columns = min(counts.shape[1], out.shape[1] - column)
    for start in range(0, len(rows), GROUP):
      live = _load_group(member_bits, rows[start:], group)
      _count_panel(group, tiles, tile, min(tile + panel, len(tiles)), counts)
      for g in range(live):
        row = rows[start + g]
        seen = np.float64(runs_in[row])
        unseen = runs - seen
        per_seen, per_unseen = 1 / seen, 1 / unseen
        row_out, row_counts = out[row, column : column + columns], counts[g]
        row_correct = correct[column : column + columns]
        for k in range(len(row_out)):
          a = np.float64(row_counts[k])
          row_out[k] = _divide(a, seen, per_seen) - _divide(row_correct[k] - a, unseen, per_unseen)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def select_rows(
  member_bits: np.ndarray,
  rows: np.ndarray,
  first_tile: np.ndarray,
  stop_tile: np.ndarray,
  runs_in: np.ndarray,
  runs: int,
  tiles: np.ndarray,
  tests: np.ndarray,
  correct: np.ndarray,
  min_influence: float,
) -> np.ndarray:
  """Finds the pairs of some training examples whose influence is at least `min_influence`.

  The score grows with correct_in, so it has an upper bound that needs no count: tiles in which no
  test example can reach the threshold, because almost every run or almost none is right on it,
  are passed over.

  Args:
    member_bits: uint64 [train, words].
    rows: int64 [rows], training examples, those that meet the same tiles next to each other.
    first_tile: int64 [rows], first tile that each meets.
    stop_tile: int64 [rows], one past its last tile.
    runs_in: int64 [train], runs that saw each training example; for `rows` neither 0 nor `runs`.
    runs: number of runs.
    tiles: uint64 [tiles, words, LANES]; within a range of tiles, `correct` ascends.
    tests: int64 [tiles * LANES], the test example in each lane.
    correct: float64 [tiles * LANES], its correct runs; infinite in lanes that hold none.
    min_influence: float64.

  Returns:
    int32 [pairs, 3]: training example, test example, correct_in.
  """
  group, counts = _buffers(tiles)
  panel = counts.shape[1] // LANES
  found = np.empty((1024, 3), np.int32)
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
        tile, tile_stop = _reachable(
          some, runs_in, runs, correct, min_influence, panel_first, panel_stop
        )
        if tile == tile_stop:
          continue
        _load_group(member_bits, some, group)
        _count_panel(group, tiles, tile, tile_stop, counts)
        lanes = slice(tile * LANES, tile_stop * LANES)
        for g in range(len(some)):
          found, size = _keep(
            found,
            size,
            some[g],
            runs_in[some[g]],
            runs,
            counts[g, : lanes.stop - lanes.start],
            tests[lanes],
            correct[lanes],
            min_influence,
          )
    first = stop
  return found[:size].copy()


@numba.njit(nogil=True, cache=True)
def _buffers(tiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Allocates a group of training examples and its counts over a panel of tiles."""
  words = tiles.shape[1]
  panel = max(1, min(len(tiles), _PANEL_BYTES // (8 * LANES * max(words, 1))))
  return np.empty((GROUP, words), np.uint64), np.empty((GROUP, panel * LANES), np.int32)


@numba.njit(nogil=True, cache=True)
def _load_group(member_bits: np.ndarray, rows: np.ndarray, group: np.ndarray) -> int:
  """Copies the first GROUP of `rows` into `group` and returns how many there were."""
  live = min(GROUP, len(rows))
  for g in range(GROUP):
    group[g] = member_bits[rows[min(g, live - 1)]]
  return live


@numba.njit(nogil=True, cache=True)
def _count_panel(
  group: np.ndarray, tiles: np.ndarray, tile: int, tile_stop: int, counts: np.ndarray
) -> None:
  """Counts a group against tiles tile : tile_stop into the first columns of `counts`."""
  for k in range(tile_stop - tile):
    count_tile(group, tiles, tile + k, counts, k * LANES)


@numba.njit(nogil=True, cache=True)
def _divide(a: float, n: float, per_n: float) -> float:
  """Returns a / n, to the bit, given per_n = 1 / n.

  One multiplication corrected by its own remainder is the rounded quotient (Brisebarre, Muller &
  Raina 2004, IEEE Transactions on Computers 53(8)), at a fifth of the cost of a division.
  """
  quotient = a * per_n
  return multiply_add(multiply_add(-quotient, n, a), per_n, quotient)


@numba.njit(nogil=True, cache=True)
def _reachable(
  rows: np.ndarray,
  runs_in: np.ndarray,
  runs: int,
  correct: np.ndarray,
  min_influence: float,
  tile: int,
  tile_stop: int,
) -> tuple[int, int]:
  """Narrows tiles tile : tile_stop to those in which one of `rows` can reach the threshold.

  With T correct runs in all, the score is largest when as many of them as can be saw the training
  example: T / runs_in, or 1 - (T - runs_in) / runs_out. The margin of a hundredth of a run is far
  above rounding.
  """
  least, most = np.inf, -np.inf
  for row in rows:
    seen = np.float64(runs_in[row])
    least = min(least, min_influence * seen)
    most = max(most, seen + (1 - min_influence) * (runs - seen))
  while tile < tile_stop and correct[(tile + 1) * LANES - 1] < least - 0.01:
    tile += 1
  while tile < tile_stop and correct[(tile_stop - 1) * LANES] > most + 0.01:
    tile_stop -= 1
  return tile, tile_stop


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
  row: int,
  runs_in: int,
  runs: int,
  counts: np.ndarray,
  tests: np.ndarray,
  correct: np.ndarray,
  min_influence: float,
) -> tuple[np.ndarray, int]:
  """Appends the pairs of one training example that reach the threshold to `found`.

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
      grown = np.empty((2 * len(found), 3), np.int32)
      grown[:size] = found[:size]
      found = grown
    for k in range(len(some)):
      a = np.float64(some[k])
      if a / seen - (some_correct[k] - a) / unseen >= min_influence:
        found[size, 0] = row
        found[size, 1] = tests[base + k]
        found[size, 2] = some[k]
        size += 1
  return found, size
