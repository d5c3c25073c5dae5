"""Influence of every training example on every test example, as a dense block."""

import numpy as np

from estimators.bits import check_bits, popcount
from estimators.kernels.influence_rows import influence_rows
from estimators.kernels.tiles import map_rows, tile_bits, tiles_for
from estimators.kernels.vectors import LANES


def influence_block(
  member_bits: np.ndarray,
  test_bits: np.ndarray,
  runs: int,
  *,
  out: np.ndarray | None = None,
  threads: int | None = None,
) -> np.ndarray:
  """Scores the influence of each training example on each test example.

  The values are `score` of the pair's counts, computed in float64 and rounded once. Beside the
  result, only a copy of `test_bits` is held.

  Args:
    member_bits: uint64 [train, words], run-packed: the run was trained on the example.
    test_bits: uint64 [test, words], run-packed: the run classifies the test example correctly.
    runs: number of runs in the bits.
    out: float32 [train, test] to write to, such as the block before. None: a new array.
    threads: number of threads. None: NUMBA_NUM_THREADS, by default all cores of the process.

  Returns:
    float32 [train, test]; rows of training examples that every run saw, or none, are NaN.

  Raises:
    ValueError: the bits do not fit the number of runs, or `out` does not fit the bits.
  """
  check_bits("member_bits", member_bits, runs)
  check_bits("test_bits", test_bits, runs)
  train, test = len(member_bits), len(test_bits)
  if out is None:
    out = np.empty((train, test), np.float32)
  elif out.dtype != np.float32 or out.shape != (train, test):
    raise ValueError(f"out is {out.dtype} {list(out.shape)}: pass float32 [{train}, {test}]")
  tiles = tile_bits(test_bits, np.arange(test), tiles_for(test))
  correct = np.zeros(len(tiles) * LANES)
  correct[:test] = popcount(test_bits)
  runs_in = popcount(member_bits)
  rows = np.arange(train)

  def score_rows(some: slice) -> None:
    influence_rows(member_bits, rows[some], runs_in, runs, tiles, correct, out)

  for _ in map_rows(score_rows, train, threads):
    pass
  return out
