"""How many pairs a threshold would select if no training example influenced any test example."""

import math

import numpy as np

from estimators.kernels.tails import sum_normal_tails, sum_tails
from estimators.selection import check_selection_labels
from estimators.thresholds import check_threshold, least_lead


def expected_false_pairs(
  runs_in: np.ndarray,
  correct: np.ndarray,
  runs: int,
  min_influence: float,
  *,
  train_labels: np.ndarray | None = None,
  test_labels: np.ndarray | None = None,
) -> float:
  """Returns the expected number of selected pairs under no influence.

  Without influence, the runs that saw training example i are any runs_in[i] of the runs: among
  them, the number that are correct on test example j is hypergeometric, with correct[j] successes
  in `runs`. The result is the sum over pairs of its probability of reaching the least correct_in
  whose score reaches the threshold, as `reaches` decides. It is exact, also far out in the tail,
  where a normal approximation is off by a factor.

  The cost depends on the number of distinct values of `runs_in` and `correct`, not of pairs.
  Blocks of training examples add up.

  Args:
    runs_in: int [train], runs that saw each training example. Pass only the eligible ones;
      those that every run saw, or none, form no pair.
    correct: int [test], runs that are correct on each test example.
    runs: number of runs.
    min_influence: least influence of a selected pair.
    train_labels: int [train]; with `test_labels`, only pairs of the same label are selected.
    test_labels: int [test].

  Raises:
    ValueError: only one of the labels is given, or `min_influence` is not finite.
  """
  if not math.isfinite(min_influence):
    raise ValueError(f"min_influence is {min_influence}: pass a finite number")
  train_labels, test_labels = check_selection_labels(
    train_labels, test_labels, len(runs_in), len(correct)
  )
  log_factorial = np.array([math.lgamma(n + 1) for n in range(runs + 1)])
  defined = (runs_in > 0) & (runs_in < runs)
  of_train = _tally(train_labels[defined], runs_in[defined])
  of_test = _tally(test_labels, correct)
  expected = 0.0
  for label in sorted(of_train.keys() & of_test.keys()):
    seen, trains = of_train[label]
    least = least_lead(seen, runs - seen, min_influence)
    expected += sum_tails(seen, trains, least, *of_test[label], runs, log_factorial)
  return expected


def expected_soft_false_pairs(
  runs_in: np.ndarray,
  test_values: np.ndarray,
  runs: int,
  min_influence: float,
  *,
  train_labels: np.ndarray | None = None,
  test_labels: np.ndarray | None = None,
) -> float:
  """Returns the expected number of selected pairs under no influence, of outcomes that are reals.

  Without influence, the runs that saw training example i are any runs_in[i] of the runs. The
  difference in means then has mean 0 and variance S² (1 / runs_in + 1 / runs_out), S² being the
  variance of the outcomes over all runs with n - 1 in the denominator (Neyman 1923, in translation
  Statistical Science 5(4), 1990). The result is the sum over pairs of the probability that a normal
  variable of that variance reaches the threshold. Far out in the tail, of few runs or of outcomes
  with heavy tails, it is no more than an estimate.

  Args:
    runs_in: as for `expected_false_pairs`.
    test_values: float32 [test, runs], the outcome of each run.
    runs: number of runs.
    min_influence: least influence of a selected pair, in the unit of the outcomes.
    train_labels: as for `expected_false_pairs`.
    test_labels: likewise.

  Raises:
    ValueError: as for `expected_false_pairs`.
  """
  check_threshold(min_influence)
  train_labels, test_labels = check_selection_labels(
    train_labels, test_labels, len(runs_in), len(test_values)
  )
  defined = (runs_in > 0) & (runs_in < runs)
  of_train = _tally(train_labels[defined], runs_in[defined])
  if not of_train:
    return 0.0
  deviations = test_values.std(axis=1, ddof=1, dtype=np.float64)
  expected = 0.0
  for label, (seen, trains) in of_train.items():
    spread = deviations[test_labels == label]
    expected += sum_normal_tails(seen, trains, spread, runs, min_influence)
  return expected


def _tally(labels: np.ndarray, values: np.ndarray) -> dict[int, tuple[np.ndarray, np.ndarray]]:
  """Returns, for each label, its distinct values and how often each occurs."""
  order = np.argsort(labels, kind="stable")
  names, starts = np.unique(labels[order], return_index=True)
  return {
    int(name): np.unique(part.astype(np.int64), return_counts=True)
    for name, part in zip(names, np.split(values[order], starts)[1:], strict=True)
  }
