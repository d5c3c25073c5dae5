"""What a run's outcome on an example is taken to be, and the arithmetic that goes with it.

Scores are made of outcomes by the same steps whatever these are: statistics of the runs that saw an
example and of those that did not, their difference, its standard error, pairs of which it is large.
An `OutcomeKind` names the functions that take the steps on outcomes of its kind: on bits, or on
reals. Everything after that goes by the statistics, `InOutCounts` or `InOutMeans`.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from estimators.bits import popcount
from estimators.counts import count_outcomes
from estimators.false_pairs import expected_false_pairs, expected_soft_false_pairs
from estimators.influence import influence_block
from estimators.means import measure_outcomes
from estimators.reliability import Measure
from estimators.selection import HalvesPairs, select_in_halves
from estimators.soft_influence import soft_influence_block
from estimators.soft_selection import select_soft_in_halves


@dataclasses.dataclass(frozen=True)
class OutcomeKind:
  """One kind of outcome.

  Outcomes of all runs are packed as uint64 [examples, words], run-packed, where they are bits, and
  are float32 [examples, runs] where they are reals.

  Attributes:
    name: as users write it.
    min_influence: least influence of a pair that is selected unless another is asked for.
    min_memorization: least memorization of its training example, likewise.
    bounds: lowest and highest score that there can be.
    measure: `count_outcomes` or its like.
    influence_block: `influence_block` or its like.
    select_in_halves: `select_in_halves` or its like.
    expected_false_pairs: takes runs_in, packed test outcomes, runs and a threshold, and labels by
      name; `expected_false_pairs` or its like.
    of_margins: makes outcomes of margins, float32 [...]; None where outcomes are bits.
  """

  name: str
  min_influence: float
  min_memorization: float
  bounds: tuple[float, float]
  measure: Measure
  influence_block: Callable[..., np.ndarray]
  select_in_halves: Callable[..., HalvesPairs]
  expected_false_pairs: Callable[..., float]
  of_margins: Callable[[np.ndarray], np.ndarray] | None = None

  @property
  def is_soft(self) -> bool:
    """Whether outcomes are reals, made of margins."""
    return self.of_margins is not None


def probabilities(margins: np.ndarray) -> np.ndarray:
  """Returns the probability of the label, float32 [...], from its log-odds: 1 / (1 + e^-margin).

  Computed in float64 by the exponential of a number that is not positive, which cannot overflow.
  """
  small = np.exp(-np.abs(margins.astype(np.float64)))
  return (np.where(margins >= 0, 1, small) / (1 + small)).astype(np.float32)


def _margins(margins: np.ndarray) -> np.ndarray:
  return margins


def _expected_false_pairs_of_bits(
  runs_in: np.ndarray,
  test_bits: np.ndarray,
  runs: int,
  min_influence: float,
  **labels: np.ndarray | None,
) -> float:
  return expected_false_pairs(runs_in, popcount(test_bits), runs, min_influence, **labels)


CORRECT = OutcomeKind(
  name="correct",
  min_influence=0.15,
  min_memorization=0.25,
  bounds=(-1, 1),
  measure=count_outcomes,
  influence_block=influence_block,
  select_in_halves=select_in_halves,
  expected_false_pairs=_expected_false_pairs_of_bits,
)
"""Whether the example is classified correctly. Thresholds are those of Feldman & Zhang 2020 (arXiv
2008.03703, section 3.2)."""

PROBABILITY = dataclasses.replace(
  CORRECT,
  name="probability",
  measure=measure_outcomes,
  influence_block=soft_influence_block,
  select_in_halves=select_soft_in_halves,
  expected_false_pairs=expected_soft_false_pairs,
  of_margins=probabilities,
)
"""The probability of the label: a share as accuracy is, so thresholds are the same."""

MARGIN = dataclasses.replace(
  PROBABILITY,
  name="margin",
  min_influence=1.0,
  min_memorization=1.0,
  bounds=(-np.inf, np.inf),
  of_margins=_margins,
)
"""The log-odds of the label, in nats: of thresholds of 1, e times the odds."""

OUTCOME_KINDS = {kind.name: kind for kind in (CORRECT, PROBABILITY, MARGIN)}
