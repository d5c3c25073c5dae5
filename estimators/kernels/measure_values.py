"""The compiled loop that takes means and standard deviations of real outcomes over runs."""

import numba
import numpy as np

# Sums that are added up side by side, so that one addition need not wait for the one before.
_STRIDE = 8


@numba.njit(nogil=True, cache=True, error_model="numpy")
def measure_values(
  member_bits: np.ndarray,
  values: np.ndarray,
  mask: np.ndarray,
  trains: np.ndarray,
  examples: np.ndarray,
  runs: np.ndarray,
  means: np.ndarray,
  deviations: np.ndarray,
) -> None:
  """Measures values on one side and on the other: runs that saw an example, and that did not.

  In two passes, of which the second goes by deviations from the mean, so that nothing cancels; all
  in float64 and in a fixed order.

  Args:
    member_bits: uint64 [train, words].
    values: float32 [examples, runs].
    mask: uint64 [words], the runs that count.
    trains: int64 [rows], the training example of each row.
    examples: int64 [rows], the example whose values each row takes.
    runs: int32 [rows, 2], written: how many runs are in, and how many out.
    means: float64 [rows, 2], written; NaN where there is no run.
    deviations: float64 [rows, 2], written: standard deviations with one degree of freedom less
      than runs; NaN of fewer than two runs.
  """
  # Lanes, so that weight and sum of the runs in stand beside those of the runs out.
  counts, sums = np.empty((2, _STRIDE)), np.empty((2, _STRIDE))
  center = np.empty(2)
  for row in range(len(trains)):
    member, value = member_bits[trains[row]], values[examples[row]]
    counts[:], sums[:] = 0, 0
    for run in range(len(value)):
      counted, side = _side(member, mask, run)
      if counted:
        counts[side, run % _STRIDE] += 1
        sums[side, run % _STRIDE] += value[run]
    for side in range(2):
      runs[row, side] = counts[side].sum()
      center[side] = means[row, side] = sums[side].sum() / counts[side].sum()
    sums[:] = 0
    for run in range(len(value)):
      counted, side = _side(member, mask, run)
      if counted:
        apart = value[run] - center[side]
        sums[side, run % _STRIDE] += apart * apart
    for side in range(2):
      freedom = runs[row, side] - 1
      deviations[row, side] = np.sqrt(sums[side].sum() / freedom) if freedom > 0 else np.nan


@numba.njit(nogil=True, cache=True)
def _side(member: np.ndarray, mask: np.ndarray, run: int) -> tuple[bool, np.int64]:
  """Returns whether a run counts, and whether it is out (1) or in (0)."""
  place, word = np.uint64(run % 64), run // 64
  one = np.uint64(1)
  return (mask[word] >> place) & one == one, 1 - np.int64((member[word] >> place) & one)
