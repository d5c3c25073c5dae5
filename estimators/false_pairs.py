"""How many pairs a threshold would select if no training example influenced any test example."""

import math

import numba
import numpy as np


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
  whose score, correct_in / runs_in - correct_out / runs_out in float64, is at least the threshold.
  It is exact, also far out in the tail, where a normal approximation is off by a factor.

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
  if (train_labels is None) != (test_labels is None):
    raise ValueError("only one of train_labels and test_labels is given: pass both or neither")
  if train_labels is None or test_labels is None:
    train_labels, test_labels = np.zeros(len(runs_in), int), np.zeros(len(correct), int)
  # Scores lie within [-1, 1]; nearer thresholds give the same answer without overflow.
  threshold = min(max(float(min_influence), -2.0), 2.0)
  log_factorial = np.array([math.lgamma(n + 1) for n in range(runs + 1)])
  defined = (runs_in > 0) & (runs_in < runs)
  of_train = _tally(train_labels[defined], runs_in[defined])
  of_test = _tally(test_labels, correct)
  return float(
    sum(
      _expected(*of_train[label], *of_test[label], runs, threshold, log_factorial)
      for label in sorted(of_train.keys() & of_test.keys())
    )
  )


def _tally(labels: np.ndarray, values: np.ndarray) -> dict[int, tuple[np.ndarray, np.ndarray]]:
  """Returns, for each label, its distinct values and how often each occurs."""
  order = np.argsort(labels, kind="stable")
  names, starts = np.unique(labels[order], return_index=True)
  return {
    int(name): np.unique(part.astype(np.int64), return_counts=True)
    for name, part in zip(names, np.split(values[order], starts)[1:], strict=True)
  }


@numba.njit(nogil=True, cache=True)
def _expected(
  runs_in: np.ndarray,
  trains: np.ndarray,
  correct: np.ndarray,
  tests: np.ndarray,
  runs: int,
  min_influence: float,
  log_factorial: np.ndarray,
) -> float:
  """Sums tail probabilities over all pairs of distinct values, weighted by their frequencies."""
  total = 0.0
  for seen, train_count in zip(runs_in, trains):  # noqa: B905  # Numba's zip takes no keyword
    for right, test_count in zip(correct, tests):  # noqa: B905
      weight = train_count * test_count
      total += weight * _tail(seen, right, runs, min_influence, log_factorial)
  return total


@numba.njit(nogil=True, cache=True)
def _tail(
  seen: int, right: int, runs: int, min_influence: float, log_factorial: np.ndarray
) -> float:
  """Returns the probability that a pair without influence reaches the threshold."""
  unseen = runs - seen
  lowest, highest = max(0, right - unseen), min(seen, right)
  # The threshold solved for correct_in is off by rounding at most; the score itself decides.
  least = math.ceil(seen * (min_influence * unseen + right) / runs)
  least = min(max(least, lowest), highest + 1)
  while least > lowest and (least - 1) / seen - (right - least + 1) / unseen >= min_influence:
    least -= 1
  while least <= highest and least / seen - (right - least) / unseen < min_influence:
    least += 1
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
