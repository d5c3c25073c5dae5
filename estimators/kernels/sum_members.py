"""Compiled sums of real outcomes over the runs that saw a training example.

The textbook way to a difference of means is two matrix products, one of the runs in and one of the
runs out. One is enough: the sum over the runs out is that of all runs less that over the runs in.
And a product of bits and reals can do with less. Four runs have only 16 subsets, so the 16 sums of
their values are tabulated once, and four bits of a training example look theirs up: one load and
one addition in place of four multiplications and additions. That is the method of Arlazarov, Dinic,
Kronrod & Faradzhev 1970 ("of the four Russians"), for real sums.

Values come in tiles, float32 [tiles, 64 * words, VALUE_LANES]: the values of VALUE_LANES test
examples side by side, run after run. The 16 tables of one word of runs and one tile take 32 KB,
which stay in the first-level cache while every training example looks them up.

Sums are float32 over _WORDS_PER_SUM words of runs, and float64 beyond. Every operation is rounded
in a fixed order, so that equal values give equal sums on any machine.
"""

import numba
import numpy as np

from estimators.kernels.vectors import VALUE_LANES, add_entries

_WORDS_PER_SUM = 4

# Roundings to float32 that a value goes through on its way into a sum: 3 in a table, and at each
# table that is looked up.
SUM_ROUNDINGS = 3 + 16 * _WORDS_PER_SUM


@numba.njit(nogil=True, cache=True)
def sum_members(
  words: np.ndarray, tile: np.ndarray, tables: np.ndarray, sums: np.ndarray, totals: np.ndarray
) -> None:
  """Sums the values of one tile over the runs that saw each of some training examples.

  Args:
    words: uint64 [words, rows], run-packed membership, word by word.
    tile: float32 [64 * words, VALUE_LANES].
    tables: float32 [16, 16, VALUE_LANES], scratch.
    sums: float32 [rows, VALUE_LANES], scratch.
    totals: float64 [rows, VALUE_LANES], written.
  """
  totals[:] = 0
  for first in range(0, len(words), _WORDS_PER_SUM):
    sums[:] = 0
    for word in range(first, min(first + _WORDS_PER_SUM, len(words))):
      _tabulate(tile[64 * word : 64 * (word + 1)], tables)
      for row in range(len(totals)):
        add_entries(tables, words[word, row], sums, row)
    for row in range(len(totals)):
      for k in range(VALUE_LANES):
        totals[row, k] += sums[row, k]


@numba.njit(nogil=True, cache=True)
def _tabulate(values: np.ndarray, tables: np.ndarray) -> None:
  """Writes the sums of all subsets of each four of 64 runs; bit b of an entry is run b of four."""
  for table in range(16):
    tables[table, 0] = 0
    for bit in range(4):
      size = 1 << bit
      for entry in range(size):
        for k in range(VALUE_LANES):
          tables[table, size + entry, k] = tables[table, entry, k] + values[4 * table + bit, k]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def soft_influence_rows(
  words: np.ndarray,
  runs_in: np.ndarray,
  runs: int,
  tiles: np.ndarray,
  sums: np.ndarray,
  out: np.ndarray,
) -> None:
  """Scores some training examples against all test examples.

  Args:
    words: uint64 [words, rows], run-packed membership of the training examples, word by word.
    runs_in: int64 [rows], runs that saw each of them.
    runs: number of runs.
    tiles: float32 [tiles, 64 * words, VALUE_LANES], test examples in their order.
    sums: float64 [tiles * VALUE_LANES], sum of each test example's values over all runs.
    out: float32 [rows, test], written, NaN where undefined.
  """
  tables, part, totals = make_room(len(runs_in))
  for tile in range(len(tiles)):
    sum_members(words, tiles[tile], tables, part, totals)
    column = tile * VALUE_LANES
    columns = min(VALUE_LANES, out.shape[1] - column)
    for row in range(len(runs_in)):
      for k in range(columns):
        out[row, column + k] = lead(totals[row, k], sums[column + k], runs_in[row], runs)


@numba.njit(nogil=True, cache=True)
def make_room(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns the arrays that `sum_members` writes, for so many training examples."""
  return (
    np.empty((16, 16, VALUE_LANES), np.float32),
    np.empty((rows, VALUE_LANES), np.float32),
    np.empty((rows, VALUE_LANES), np.float64),
  )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def lead(sum_in: float, sum_all: float, runs_in: int, runs: int) -> float:
  """Returns the mean over the runs in less that over the others, NaN if either side is empty."""
  if runs_in == 0 or runs_in == runs:
    return np.nan
  per_in, per_out = 1 / np.float64(runs_in), 1 / np.float64(runs - runs_in)
  return sum_in * (per_in + per_out) - sum_all * per_out
