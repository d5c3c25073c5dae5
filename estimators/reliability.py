"""How well scores repeat: the runs are split into halves, and each half scores on its own."""

import dataclasses
import math
from typing import Protocol, Self

import numpy as np

from estimators.counts import count_outcomes
from estimators.pairs import InfluencePairs
from estimators.scores import InOutStatistics, score


class Measure(Protocol):
  """Takes the statistics of outcomes: `count_outcomes` of bits, `measure_outcomes` of reals."""

  def __call__(
    self,
    member_bits: np.ndarray,
    outcomes: np.ndarray,
    runs: int,
    run_mask: np.ndarray | None = None,
    /,
  ) -> InOutStatistics:
    """Returns those of each example."""


@dataclasses.dataclass(frozen=True)
class Moments:
  """Sums that give the correlation of two variables, and that add up over blocks of examples.

  Centred on the means and combined pairwise, so nothing cancels (Chan, Golub & LeVeque 1983, The
  American Statistician 37(3)).

  Attributes:
    size: number of points (x, y).
    mean_x: mean of x, 0 without points.
    mean_y: mean of y, 0 without points.
    xx: sum of squared deviations of x from its mean.
    yy: sum of squared deviations of y from its mean.
    xy: sum of products of both deviations.
  """

  size: int = 0
  mean_x: float = 0.0
  mean_y: float = 0.0
  xx: float = 0.0
  yy: float = 0.0
  xy: float = 0.0

  @classmethod
  def of(cls, x: np.ndarray, y: np.ndarray) -> Self:
    """Returns the moments of the points at which neither x nor y is NaN."""
    defined = ~(np.isnan(x) | np.isnan(y))
    x, y = x[defined], y[defined]
    if not len(x):
      return cls()
    mean_x, mean_y = float(x.mean()), float(y.mean())
    x, y = x - mean_x, y - mean_y
    return cls(
      len(x), mean_x, mean_y, float((x * x).sum()), float((y * y).sum()), float((x * y).sum())
    )

  def __add__(self, other: Self) -> Self:
    size = self.size + other.size
    if not size:
      return self
    apart_x, apart_y = other.mean_x - self.mean_x, other.mean_y - self.mean_y
    share = other.size / size
    weight = self.size * share
    return type(self)(
      size,
      self.mean_x + apart_x * share,
      self.mean_y + apart_y * share,
      self.xx + other.xx + apart_x * apart_x * weight,
      self.yy + other.yy + apart_y * apart_y * weight,
      self.xy + other.xy + apart_x * apart_y * weight,
    )

  @property
  def correlation(self) -> float:
    """Pearson's correlation; NaN if x or y does not vary."""
    if self.xx <= 0 or self.yy <= 0:
      return math.nan
    return self.xy / math.sqrt(self.xx) / math.sqrt(self.yy)


def split_halves(runs: int, seed: int, used: int | None = None) -> tuple[np.ndarray, np.ndarray]:
  """Splits runs into two random halves whose sizes differ by at most one.

  The same seed gives the same order of runs whatever `used` is, and under any version of NumPy.

  Args:
    runs: number of runs.
    seed: seed of the random order.
    used: split only the first so many runs of that order. None: all.

  Returns:
    Two bool [runs], true for the runs of that half.
  """
  order = np.argsort(np.random.PCG64(seed).random_raw(runs), kind="stable")[:used]
  halves = np.zeros((2, runs), bool)
  halves[0, order[0::2]] = True
  halves[1, order[1::2]] = True
  return halves[0], halves[1]


def split_half_moments(
  member_bits: np.ndarray,
  outcomes: np.ndarray,
  runs: int,
  halves: tuple[np.ndarray, np.ndarray],
  measure: Measure = count_outcomes,
) -> Moments:
  """Compares the memorization that each half of the runs gives the same examples.

  Args:
    member_bits: uint64 [examples, words], run-packed: the run was trained on the example.
    outcomes: of each run on each example, as `measure` takes them.
    runs: number of runs in the bits.
    halves: from `split_halves`.
    measure: takes the statistics of the outcomes.

  Returns:
    Moments over the examples at which both are defined; `correlation` is the split-half
    correlation. Moments of disjoint blocks of examples add up.
  """
  first, second = (score(measure(member_bits, outcomes, runs, half)) for half in halves)
  return Moments.of(first, second)


def curve_runs(runs: int, points: int = 8) -> tuple[int, ...]:
  """Returns the numbers of runs on a reliability curve: even steps from 2 or more up to `runs`."""
  steps = (runs * step // points for step in range(1, points + 1))
  return tuple(sorted({step for step in steps if step >= 2}))


def reliability_curve(
  member_bits: np.ndarray,
  outcomes: np.ndarray,
  runs: int,
  seed: int,
  points: int = 8,
  measure: Measure = count_outcomes,
) -> tuple[Moments, ...]:
  """Compares memorization between halves at growing numbers of runs.

  Returns:
    `split_half_moments` at each of `curve_runs(runs, points)`; a larger number of runs contains
    the smaller. Blocks of examples add up, point by point.
  """
  return tuple(
    split_half_moments(member_bits, outcomes, runs, split_halves(runs, seed, used), measure)
    for used in curve_runs(runs, points)
  )


def spearman_brown(correlation: float) -> float:
  """Returns the reliability of all runs, 2 r / (1 + r), from the correlation r of two halves.

  Spearman 1910 and Brown 1910, British Journal of Psychology 3. NaN unless r is positive: a
  reliability is a share of variance, and halves that do not agree have none to extrapolate (the
  formula would give -1.63 for -0.449, and has a pole at -1).
  """
  return 2 * correlation / (1 + correlation) if correlation > 0 else math.nan


@dataclasses.dataclass(frozen=True)
class PairOverlap:
  """How many pairs two selections share; overlaps of disjoint blocks of examples add up.

  Attributes:
    both: pairs that both hold.
    either: pairs that at least one holds.
  """

  both: int = 0
  either: int = 0

  @classmethod
  def of(cls, first: InfluencePairs, second: InfluencePairs) -> Self:
    """Compares two selections."""
    width = 1 + max(int(pairs.test_example.max(initial=0)) for pairs in (first, second))
    ours, theirs = (pairs.train_example * width + pairs.test_example for pairs in (first, second))
    both = len(np.intersect1d(ours, theirs, assume_unique=True))
    return cls(both, len(first) + len(second) - both)

  def __add__(self, other: Self) -> Self:
    return type(self)(self.both + other.both, self.either + other.either)

  @property
  def jaccard(self) -> float:
    """Share of the pairs that both hold among those that either holds; NaN if there are none."""
    return self.both / self.either if self.either else math.nan
