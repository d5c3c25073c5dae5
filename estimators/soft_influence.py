"""Influence of every training example on outcomes that are reals, as a dense block."""

import numpy as np

from estimators.bits import check_bits, popcount
from estimators.kernels.sum_members import SUM_ROUNDINGS, soft_influence_rows
from estimators.kernels.tiles import map_rows, tile_values
from estimators.means import check_values

# A tile's tables are made anew for each: enough rows to look them up, in few enough megabytes.
ROWS_PER_CALL = 1024

# Of the size of its outcomes' deviations from their mean, by how much a sum may be wrong: each
# rounding to float32 by half a unit in the last place, that of the deviation itself included.
RELATIVE_ERROR = (SUM_ROUNDINGS + 1) * 2.0**-24


def soft_influence_block(
  member_bits: np.ndarray,
  test_values: np.ndarray,
  runs: int,
  *,
  out: np.ndarray | None = None,
  threads: int | None = None,
) -> np.ndarray:
  """Scores the influence of each training example on the outcomes of each test example.

  The values are `score` of the pair's means. Outcomes enter as deviations from their mean, so that
  a large common part costs no accuracy, in float32; sums are float32 over 256 runs and float64
  beyond, rounded once to float32 at the end. With D the sum of the absolute deviations of a test
  example's outcomes, a value is off by at most 68 · 2⁻²⁴ · D · (1/runs_in + 1/runs_out), and half
  a unit in its last place. In practice errors are random, and a hundredth of that: for 2,000 runs,
  2e-8 of the outcomes' standard deviation (root mean square).

  Beside the result, a copy of `test_values` is held.

  Args:
    member_bits: uint64 [train, words], run-packed: the run was trained on the example.
    test_values: float32 [test, runs], the outcome of each run.
    runs: number of runs.
    out: float32 [train, test] to write to, such as the block before. None: a new array.
    threads: number of threads. None: NUMBA_NUM_THREADS, by default all cores of the process.

  Returns:
    float32 [train, test]; rows of training examples that every run saw, or none, are NaN.

  Raises:
    ValueError: the bits or values do not fit the number of runs, or `out` does not fit them.
  """
  check_bits("member_bits", member_bits, runs)
  check_values("test_values", test_values, runs)
  train, test = len(member_bits), len(test_values)
  if out is None:
    out = np.empty((train, test), np.float32)
  elif out.dtype != np.float32 or out.shape != (train, test):
    raise ValueError(f"out is {out.dtype} {list(out.shape)}: pass float32 [{train}, {test}]")
  deviations = deviations_of(test_values)
  tiles = tile_values(deviations)
  sums = np.zeros(tiles.shape[0] * tiles.shape[2])
  sums[:test] = deviations.sum(axis=1, dtype=np.float64)
  runs_in = popcount(member_bits)

  def score_rows(some: slice) -> None:
    words = np.ascontiguousarray(member_bits[some].T)
    soft_influence_rows(words, runs_in[some], runs, tiles, sums, out[some])

  for _ in map_rows(score_rows, train, threads, ROWS_PER_CALL):
    pass
  return out


def deviations_of(values: np.ndarray) -> np.ndarray:
  """Returns how far outcomes are from their example's mean, float32 [examples, runs]."""
  deviations = np.empty_like(values)
  for row, outcomes in enumerate(
    values
  ):  # one by one: a whole copy in float64 would be twice as much
    deviations[row] = outcomes - outcomes.mean(dtype=np.float64) if len(outcomes) else outcomes
  return deviations
