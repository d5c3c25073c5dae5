"""Whether scores reach a threshold, of bits decided in whole numbers: 7/20 - 4/20 is 0.15, no less.

With a correct ones of n runs in and b of m runs out, a/n - b/m reaches t when a·m - b·n, the *lead*
of the runs in, reaches t·n·m. The lead is a whole number, so the least one that does is too.
"""

import math
from fractions import Fraction

import numpy as np

from estimators.means import InOutMeans
from estimators.scores import InOutStatistics, score

# Scores lie within [-1, 1]: thresholds beyond give the same answer as these, in smaller numbers.
_BEYOND = Fraction(2)

_INT64 = 2**63 - 1


def reaches(statistics: InOutStatistics, threshold: float) -> np.ndarray:
  """Says of which examples or pairs the score is defined and at least a threshold.

  Args:
    statistics: counts of bits, of any integer type (those of more than 2³¹ runs overflow), or means
      of reals, whose score is compared in float64.
    threshold: of counts taken as the decimal number that it is written as, the shortest that gives
      the float: 0.15 is 15/100, although no float is.

  Returns:
    bool, of the shape of the statistics.

  Raises:
    ValueError: the threshold is not finite.
  """
  if isinstance(statistics, InOutMeans):
    check_threshold(threshold)
    return score(statistics) >= threshold
  runs_in, runs_out = (runs.astype(np.int64) for runs in (statistics.runs_in, statistics.runs_out))
  lead = statistics.correct_in * runs_out - statistics.correct_out * runs_in
  return (runs_in > 0) & (runs_out > 0) & (lead >= least_lead(runs_in, runs_out, threshold))


def least_lead(runs_in: np.ndarray, runs_out: np.ndarray, threshold: float) -> np.ndarray:
  """Returns the least whole correct_in · runs_out - correct_out · runs_in of a score that reaches.

  Args:
    runs_in: int [...].
    runs_out: int, of the same shape.
    threshold: as for `reaches`.

  Returns:
    int64 [...]: the threshold times runs_in · runs_out, rounded up.

  Raises:
    ValueError: the threshold is not finite.
  """
  check_threshold(threshold)
  exact = min(max(Fraction(repr(float(threshold))), -_BEYOND), _BEYOND)
  numerator, denominator = exact.as_integer_ratio()
  products = runs_in.astype(np.int64) * runs_out
  if max(abs(numerator) * int(products.max(initial=1)), denominator) > _INT64:
    products = products.astype(object)  # many digits: Python's whole numbers, which have no end
  return np.asarray(-(-numerator * products // denominator), np.int64)


def check_threshold(threshold: float) -> None:
  """Raises ValueError unless a threshold is finite."""
  if not math.isfinite(threshold):
    raise ValueError(f"the threshold is {threshold}: pass a finite number")
