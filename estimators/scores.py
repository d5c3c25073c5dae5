"""Scores and their standard errors from in/out counts.

Undefined scores are NaN. Every function is vectorised over the shape of the counts.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from estimators.counts import InOutCounts


def accuracy(correct: np.ndarray, runs: np.ndarray) -> np.ndarray:
  """Returns correct / runs in float64, NaN where there is no run."""
  undefined = np.full(np.broadcast_shapes(np.shape(correct), np.shape(runs)), np.nan)
  return np.divide(correct, runs, out=undefined, where=np.asarray(runs) > 0)


def score(counts: InOutCounts) -> np.ndarray:
  """Returns accuracy of the runs that saw the example minus accuracy of those that did not.

  Memorization when the outcomes are on the example itself, influence when they are on a test
  example (Feldman & Zhang 2020, arXiv 2008.03703).

  Returns:
    float64, within [-1, 1]; NaN where runs_in or runs_out is 0.
  """
  return accuracy(counts.correct_in, counts.runs_in) - accuracy(counts.correct_out, counts.runs_out)


def standard_error(counts: InOutCounts) -> np.ndarray:
  """Returns the Agresti-Caffo standard error of `score`.

  One success and one failure are added to each side, p = (x + 1) / (n + 2), and
  se^2 = sum of p (1 - p) / (n + 2) over the two sides, so it is never 0 (Agresti & Caffo 2000,
  The American Statistician 54(4)).

  Returns:
    float64; NaN where the score is undefined.
  """
  variance = _adjusted_variance(counts.correct_in, counts.runs_in) + _adjusted_variance(
    counts.correct_out, counts.runs_out
  )
  defined = (counts.runs_in > 0) & (counts.runs_out > 0)
  return np.where(defined, np.sqrt(variance), np.nan)


def consistency(counts: InOutCounts) -> np.ndarray:
  """Returns held-out accuracy: that of the runs which did not see the example.

  One point of the consistency profile (Jiang et al. 2021, arXiv 2002.03206).

  Returns:
    float64, within [0, 1]; NaN where runs_out is 0.
  """
  return accuracy(counts.correct_out, counts.runs_out)


@dataclasses.dataclass(frozen=True, eq=False)
class CScores:
  """C-scores of examples.

  Attributes:
    score: float64 [...]; NaN where no subset ratio has a held-out run.
    standard_error: float64 [...]; NaN where the score is.
    ratios: int32 [...], number of subset ratios that the score averages.
  """

  score: np.ndarray
  standard_error: np.ndarray
  ratios: np.ndarray


def c_scores(counts: Sequence[InOutCounts]) -> CScores:
  """Averages consistency over subset ratios, each weighing the same.

  The C-score of Jiang et al. 2021 (arXiv 2002.03206), over the R ratios at which the
  example was held out of some run. Its standard error is sqrt(sum of p (1 - p) / (n + 2)) / R over
  those ratios, with p = (correct_out + 1) / (runs_out + 2) and n = runs_out.

  Args:
    counts: the counts of the same examples at each subset ratio.

  Raises:
    ValueError: there is no ratio.
  """
  if not counts:
    raise ValueError("no subset ratio to average: pass the counts of at least one")
  shape = counts[0].runs_out.shape
  total, variance, ratios = np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int32)
  for at_ratio in counts:
    defined = at_ratio.runs_out > 0
    total += np.where(defined, consistency(at_ratio), 0)
    variance += np.where(defined, _adjusted_variance(at_ratio.correct_out, at_ratio.runs_out), 0)
    ratios += defined
  return CScores(accuracy(total, ratios), accuracy(np.sqrt(variance), ratios), ratios)


def _adjusted_variance(correct: np.ndarray, runs: np.ndarray) -> np.ndarray:
  """Returns the variance of a proportion after one success and one failure are added."""
  adjusted_runs = runs + 2.0
  proportion = (correct + 1.0) / adjusted_runs
  return proportion * (1 - proportion) / adjusted_runs
