"""The compiled sums of tails over all pairs of a number of runs in and of test examples."""

import math

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def sum_tails(
  runs_in: np.ndarray,
  trains: np.ndarray,
  least_lead: np.ndarray,
  correct: np.ndarray,
  tests: np.ndarray,
  runs: int,
  log_factorial: np.ndarray,
) -> float:
  """Sums the probabilities of reaching the threshold without influence.

  Args:
    runs_in: int64 [kinds of training examples], runs that saw such an example, not 0 and not all.
    trains: int64 [kinds of training examples], how many examples are of the kind.
    least_lead: int64 [kinds of training examples], from `estimators.thresholds`.
    correct: int64 [kinds of test examples], runs that are correct on such an example.
    tests: int64 [kinds of test examples], how many examples are of the kind.
    runs: number of runs.
    log_factorial: float64 [runs + 1].
  """
  total = 0.0
  for train in range(len(runs_in)):
    for test in range(len(correct)):
      tail = _tail(runs_in[train], correct[test], runs, least_lead[train], log_factorial)
      total += trains[train] * tests[test] * tail
  return total


@numba.njit(nogil=True, cache=True)
def _tail(seen: int, right: int, runs: int, least_lead: int, log_factorial: np.ndarray) -> float:
  """Returns the probability that a pair without influence reaches the threshold."""
  unseen = runs - seen
  lowest, highest = max(0, right - unseen), min(seen, right)
  # The lead is correct_in * runs - right * seen.
  least = -((-least_lead - right * seen) // runs)
  least = min(max(least, lowest), highest + 1)
  # The sum runs away from the mean, so that it begins with its largest term.
  upwards = least * runs > seen * right
  a = least if upwards else least - 1
  probability = 0.0
  if lowest <= a <= highest:
    term = math.exp(
      log_factorial[right]
      - log_factorial[a]
      - log_factorial[right - a]
      + log_factorial[runs - right]
      - log_factorial[seen - a]
      - log_factorial[unseen - right + a]
      - log_factorial[runs]
      + log_factorial[seen]
      + log_factorial[unseen]
    )
    while lowest <= a <= highest and term > 1e-17 * probability:
      probability += term
      if upwards:
        term *= (seen - a) * (right - a) / ((a + 1) * (unseen - right + a + 1))
        a += 1
      else:
        term *= a * (unseen - right + a) / ((seen - a + 1) * (right - a + 1))
        a -= 1
  return probability if upwards else 1 - probability


@numba.njit(nogil=True, cache=True, error_model="numpy")
def sum_normal_tails(
  runs_in: np.ndarray, trains: np.ndarray, deviations: np.ndarray, runs: int, threshold: float
) -> float:
  """Sums the normal probabilities of reaching the threshold without influence.

  Args:
    runs_in: int64 [kinds of training examples], as for `sum_tails`.
    trains: int64 [kinds of training examples], as for `sum_tails`.
    deviations: float64 [test], standard deviation of each test example's outcomes over all runs.
    runs: number of runs.
    threshold: least influence.
  """
  total = 0.0
  for train in range(len(runs_in)):
    unit = math.sqrt(1 / runs_in[train] + 1 / (runs - runs_in[train]))
    of_tests = 0.0
    for deviation in deviations:
      if deviation > 0:
        of_tests += 0.5 * math.erfc(threshold / (deviation * unit) / math.sqrt(2))
      else:  # outcomes that do not vary have an influence of exactly 0
        of_tests += threshold <= 0
    total += trains[train] * of_tests
  return total
