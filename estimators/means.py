"""In/out means: real outcomes of the runs that saw an example, and of those that did not."""

import dataclasses
from typing import Self

import numpy as np

from estimators.bits import check_bits, pack_runs
from estimators.kernels.measure_values import measure_values


@dataclasses.dataclass(frozen=True, eq=False)
class InOutMeans:
  """Means and standard deviations over runs, per example or per pair: of outcomes that are reals.

  Attributes:
    runs_in: int32 [...], runs that were trained on the example.
    runs_out: int32 [...], runs that were not.
    mean_in: float64 [...], mean of the outcomes of `runs_in`; NaN where there is no run.
    mean_out: float64 [...], that of `runs_out`.
    sd_in: float64 [...], standard deviation of the outcomes of `runs_in`, with n - 1 in the
      denominator; NaN where there are fewer than two runs.
    sd_out: float64 [...], that of `runs_out`.
  """

  runs_in: np.ndarray
  runs_out: np.ndarray
  mean_in: np.ndarray
  mean_out: np.ndarray
  sd_in: np.ndarray
  sd_out: np.ndarray

  def __getitem__(self, index: np.ndarray | slice) -> Self:
    return type(self)(*(column[index] for column in vars(self).values()))

  @property
  def squared_error_in(self) -> np.ndarray:
    """Squared standard error of `mean_in`, float64 [...]; NaN of fewer than two runs."""
    return np.square(self.sd_in) / self.runs_in

  @property
  def squared_error_out(self) -> np.ndarray:
    """That of `mean_out`."""
    return np.square(self.sd_out) / self.runs_out


def measure_outcomes(
  member_bits: np.ndarray, values: np.ndarray, runs: int, run_mask: np.ndarray | None = None
) -> InOutMeans:
  """Measures the outcomes on each example among the runs that saw it and those that did not.

  Args:
    member_bits: uint64 [examples, words], run-packed: the run was trained on the example.
    values: float32 [examples, runs], the outcome of each run.
    runs: number of runs.
    run_mask: bool [runs]; only these runs count. None: all of them.

  Returns:
    Means of shape [examples], computed in float64.

  Raises:
    ValueError: bits, values or mask do not fit each other or the number of runs.
  """
  examples = np.arange(len(values))
  if len(member_bits) != len(values):
    raise ValueError(
      f"member_bits hold {len(member_bits)} examples and values {len(values)}: "
      "pass the same examples"
    )
  return measure_pairs(member_bits, values, runs, examples, examples, run_mask)


def measure_pairs(
  member_bits: np.ndarray,
  values: np.ndarray,
  runs: int,
  train_example: np.ndarray,
  test_example: np.ndarray,
  run_mask: np.ndarray | None = None,
) -> InOutMeans:
  """Measures outcomes on test examples, by whether the runs saw a training example.

  Args:
    member_bits: uint64 [train, words], run-packed: the run was trained on the example.
    values: float32 [test, runs], the outcome of each run.
    runs: number of runs.
    train_example: int64 [pairs], rows of `member_bits`.
    test_example: int64 [pairs], rows of `values`.
    run_mask: bool [runs]; only these runs count. None: all of them.

  Returns:
    Means of shape [pairs], computed in float64.

  Raises:
    ValueError: bits, values or mask do not fit the number of runs.
  """
  check_bits("member_bits", member_bits, runs)
  check_values("values", values, runs)
  if run_mask is None:
    run_mask = np.ones(runs, bool)
  if run_mask.shape != (runs,):
    raise ValueError(
      f"run_mask has shape {list(run_mask.shape)}: pass one bool for each of the {runs} runs"
    )
  counts = np.empty((len(train_example), 2), np.int32)
  means, deviations = np.empty((2, len(train_example), 2))
  measure_values(
    member_bits,
    values,
    pack_runs(run_mask),
    train_example,
    test_example,
    counts,
    means,
    deviations,
  )
  return InOutMeans(*counts.T, *means.T, *deviations.T)


def check_values(name: str, values: np.ndarray, runs: int) -> None:
  """Raises ValueError, naming the argument, unless these are the outcomes of `runs` runs."""
  if values.dtype != np.float32 or values.ndim != 2 or values.shape[1] != runs:
    raise ValueError(
      f"{name} is {values.dtype} {list(values.shape)}: pass the outcomes of {runs} runs, "
      f"float32 [examples, {runs}]"
    )
