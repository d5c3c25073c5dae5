"""Scores and their standard errors, from in/out counts of bits or in/out means of reals.

Undefined scores are NaN. Every function is vectorised over the shape of the statistics.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from estimators.counts import InOutCounts, accuracy
from estimators.means import InOutMeans

InOutStatistics = InOutCounts | InOutMeans
"""What scores are made of: each side's runs, mean outcome, and squared standard error of it."""


def score(statistics: InOutStatistics) -> np.ndarray:
  """Returns the mean of the runs that saw the example minus the mean of those that did not.

  Memorization when the outcomes are on the example itself, influence when they are on a test
  example (Feldman & Zhang 2020, arXiv 2008.03703, where outcomes are bits and means accuracies).

  Returns:
    float64, of bits within [-1, 1]; NaN where runs_in or runs_out is 0.
  """
  return statistics.mean_in - statistics.mean_out


def standard_error(statistics: InOutStatistics) -> np.ndarray:
  """Returns the standard error of `score`: the root of the sum of both sides' squared errors.

  Of bits it is Agresti & Caffo's, which add one success and one failure to each side: p =
  (x + 1) / (n + 2), and se^2 = sum of p (1 - p) / (n + 2) over the two sides, so it is never 0
  (2000, The American Statistician 54(4)). Of reals it is Welch's, se^2 = sum of sd^2 / n, which
  takes the two sides' variances for different (1947, Biometrika 34(1/2)).

  Returns:
    float64; NaN where the score is undefined, and of reals where a side has only one run.
  """
  variance = statistics.squared_error_in + statistics.squared_error_out
  defined = (statistics.runs_in > 0) & (statistics.runs_out > 0)
  return np.where(defined, np.sqrt(variance), np.nan)


def consistency(statistics: InOutStatistics) -> np.ndarray:
  """Returns the held-out mean: that of the runs which did not see the example.

  Of bits it is the held-out accuracy, one point of the consistency profile (Jiang et al. 2021,
  arXiv 2002.03206).

  Returns:
    float64, of bits within [0, 1]; NaN where runs_out is 0.
  """
  return statistics.mean_out


@dataclasses.dataclass(frozen=True, eq=False)
class CScores:
  """C-scores of examples.

  Attributes:
    score: float64 [...]; NaN where no subset ratio has a held-out run.
    standard_error: float64 [...]; NaN where the score is, and of reals where a ratio has only one
      held-out run.
    ratios: int32 [...], number of subset ratios that the score averages.
  """

  score: np.ndarray
  standard_error: np.ndarray
  ratios: np.ndarray


def c_scores(statistics: Sequence[InOutStatistics]) -> CScores:
  """Averages consistency over subset ratios, each weighing the same.

  The C-score of Jiang et al. 2021 (arXiv 2002.03206), over the R ratios at which the example was
  held out of some run. Its standard error is the root of the sum of the squared errors of the
  held-out means, as in `standard_error`, divided by R.

  Args:
    statistics: those of the same examples at each subset ratio.

  Raises:
    ValueError: there is no ratio.
  """
  if not statistics:
    raise ValueError("no subset ratio to average: pass the statistics of at least one")
  shape = statistics[0].runs_out.shape
  total, variance, ratios = np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int32)
  for at_ratio in statistics:
    defined = at_ratio.runs_out > 0
    total += np.where(defined, consistency(at_ratio), 0)
    variance += np.where(defined, at_ratio.squared_error_out, 0)
    ratios += defined
  return CScores(accuracy(total, ratios), accuracy(np.sqrt(variance), ratios), ratios)
