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

from estimators.kernels.vectors import GROUP, LANES, count_tile, multiply_add

# A quarter of a usual second-level cache.
_PANEL_BYTES = 1 << 18


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
  words = tiles.shape[1]
  panel = panel_tiles(tiles)
  group, counts = np.empty((GROUP, words), np.uint64), np.empty((GROUP, panel * LANES), np.int32)
  for tile in range(0, len(tiles), panel):
    column = tile * LANES
    columns = min(counts.shape[1], out.shape[1] - column)
    for start in range(0, len(rows), GROUP):
      live = load_group(member_bits, rows[start:], group)
      count_panel(group, tiles, tile, min(tile + panel, len(tiles)), 0, words, counts)
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


@numba.njit(nogil=True, cache=True)
def panel_tiles(tiles: np.ndarray) -> int:
  """Returns how many tiles make a panel."""
  return max(1, min(len(tiles), _PANEL_BYTES // (8 * LANES * max(tiles.shape[1], 1))))


@numba.njit(nogil=True, cache=True)
def load_group(member_bits: np.ndarray, rows: np.ndarray, group: np.ndarray) -> int:
  """Copies the first GROUP of `rows` into `group` and returns how many there were."""
  live = min(GROUP, len(rows))
  for g in range(GROUP):
    group[g] = member_bits[rows[min(g, live - 1)]]
  return live


@numba.njit(nogil=True, cache=True)
def count_panel(
  group: np.ndarray,
  tiles: np.ndarray,
  tile: int,
  tile_stop: int,
  word: int,
  word_stop: int,
  counts: np.ndarray,
) -> None:
  """Counts words word : word_stop of a group against tiles tile : tile_stop.

  The counts go into the first columns of `counts`.
  """
  for k in range(tile_stop - tile):
    count_tile(group, tiles, tile + k, word, word_stop, counts, k * LANES)


@numba.njit(nogil=True, cache=True)
def _divide(a: float, n: float, per_n: float) -> float:
  """Returns a / n, to the bit, given per_n = 1 / n.

  One multiplication corrected by its own remainder is the rounded quotient (Brisebarre, Muller &
  Raina 2004, IEEE Transactions on Computers 53(8)), at a fifth of the cost of a division.
  """
  quotient = a * per_n
  return multiply_add(multiply_add(-quotient, n, a), per_n, quotient)
