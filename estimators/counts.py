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
    return type(self)(
      self.runs_in[index], self.runs_out[index], self.correct_in[index], self.correct_out[index]
    )


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
