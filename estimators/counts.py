"""In/out counts: how many runs saw an example, how many did not, and how many were correct."""

import dataclasses
from typing import Self

import numpy as np

from estimators.bits import check_bits, pack_runs
from estimators.kernels.count_bits import count_bits


@dataclasses.dataclass(frozen=True, eq=False)
class InOutCounts:
  """Counts over runs, per example or per pair: all a score is made of.

  Counts of disjoint sets of runs add up.

  Attributes:
    runs_in: int32 [...], runs that were trained on the example.
    runs_out: int32 [...], runs that were not.
    correct_in: int32 [...], correct ones among `runs_in`.
    correct_out: int32 [...], correct ones among `runs_out`.
  """

  runs_in: np.ndarray
  runs_out: np.ndarray
  correct_in: np.ndarray
  correct_out: np.ndarray

  def __add__(self, other: Self) -> Self:
    if self.runs_in.shape != other.runs_in.shape:
      raise ValueError(
        f"cannot add counts of shapes {list(self.runs_in.shape)} and "
        f"{list(other.runs_in.shape)}: add counts of the same examples"
      )
    return type(self)(
      self.runs_in + other.runs_in,
      self.runs_out + other.runs_out,
      self.correct_in + other.correct_in,
      self.correct_out + other.correct_out,
    )

  def __getitem__(self, index: np.ndarray | slice) -> Self:
    return type(self)(*(column[index] for column in vars(self).values()))

  @property
  def mean_in(self) -> np.ndarray:
    """Accuracy of `runs_in`, float64 [...]; NaN where there is no run."""
    return accuracy(self.correct_in, self.runs_in)

  @property
  def mean_out(self) -> np.ndarray:
    """Accuracy of `runs_out`, likewise."""
    return accuracy(self.correct_out, self.runs_out)

  @property
  def squared_error_in(self) -> np.ndarray:
    """Squared standard error of `mean_in`, float64 [...], never 0.

    After one success and one failure are added, p = (x + 1) / (n + 2), it is p (1 - p) / (n + 2)
    (Agresti & Caffo 2000, The American Statistician 54(4)).
    """
    return _adjusted_variance(self.correct_in, self.runs_in)

  @property
  def squared_error_out(self) -> np.ndarray:
    """That of `mean_out`."""
    return _adjusted_variance(self.correct_out, self.runs_out)


def accuracy(correct: np.ndarray, runs: np.ndarray) -> np.ndarray:
  """Returns correct / runs in float64, NaN where there is no run."""
  undefined = np.full(np.broadcast_shapes(np.shape(correct), np.shape(runs)), np.nan)
  return np.divide(correct, runs, out=undefined, where=np.asarray(runs) > 0)


def _adjusted_variance(correct: np.ndarray, runs: np.ndarray) -> np.ndarray:
  """Returns the variance of a proportion after one success and one failure are added."""
  adjusted_runs = runs + 2.0
  proportion = (correct + 1.0) / adjusted_runs
  return proportion * (1 - proportion) / adjusted_runs


def count_outcomes(
  member_bits: np.ndarray,
  correct_bits: np.ndarray,
  runs: int,
  run_mask: np.ndarray | None = None,
) -> InOutCounts:
  """Counts the outcomes on each example among the runs that saw it and those that did not.

  Args:
    member_bits: uint64 [examples, words], run-packed: the run was trained on the example.
    correct_bits: uint64 [examples, words], run-packed: the run classifies it correctly.
    runs: number of runs in the bits.
    run_mask: bool [runs]; only these runs count. None: all of them.

  Returns:
    Counts of shape [examples].

  Raises:
    ValueError: bits or mask do not fit each other or the number of runs.
  """
  check_bits("member_bits", member_bits, runs)
  check_bits("correct_bits", correct_bits, runs)
  if member_bits.shape != correct_bits.shape:
    raise ValueError(
      f"member_bits hold {len(member_bits)} examples and correct_bits {len(correct_bits)}: "
      "pass the same examples"
    )
  if run_mask is None:
    run_mask = np.ones(runs, bool)
  if run_mask.shape != (runs,):
    raise ValueError(
      f"run_mask has shape {list(run_mask.shape)}: pass one bool for each of the {runs} runs"
    )
  runs_in, correct, correct_in = np.empty((3, len(member_bits)), np.int32)
  count_bits(member_bits, correct_bits, pack_runs(run_mask), runs_in, correct, correct_in)
  runs_out = np.int32(np.count_nonzero(run_mask)) - runs_in
  return InOutCounts(runs_in, runs_out, correct_in, correct - correct_in)
