import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipelines.storage.runs.misreadings import RunTrace, find_misreadings
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.runs.run_place import RunKey
from tests.helpers.outcomes import make_outcomes


def _warn(outcomes):
  return find_misreadings(map(RunTrace.of, outcomes))


def _copy(outcome, ratio, run):
  return dataclasses.replace(outcome, key=RunKey(ratio, run))


def _draw(share, runs, ratio=0.7, num_train=40):
  """Runs with subsets of a fixed size."""
  outcomes = []
  for run in runs:
    rng = np.random.default_rng(run)
    in_subset = np.zeros(num_train, bool)
    in_subset[rng.permutation(num_train)[: int(share * num_train)]] = True
    correct = rng.random(num_train) < 0.8
    outcomes.append(RunOutcome.pack(RunKey(ratio, run), in_subset, correct, rng.random(10) < 0.6))
  return outcomes


def test_an_experiment_in_order_has_no_warnings():
  assert _warn(make_outcomes(0.3, range(50)) + make_outcomes(0.7, range(200))) == []
  assert _warn([]) == []


def test_copied_runs_are_counted_and_named_at_whatever_ratio():
  outcomes = make_outcomes(0.5, range(4))
  copied = [_copy(outcome, 0.5, 10 + outcome.key.run) for outcome in outcomes]
  (warning,) = _warn([*copied, *outcomes])
  assert warning.startswith(
    "4 of 8 runs have the very subset and outcomes of another, 0.5/10 those of 0.5/0, "
    "0.5/11 those of 0.5/1, 0.5/12 those of 0.5/2, …: copies count twice"
  )
  (warning,) = _warn([*outcomes, _copy(outcomes[2], 0.501, 2)])
  assert warning.startswith("1 of 5 runs have the very subset and outcomes of another, 0.501/2 th")


@pytest.mark.parametrize("field", ["in_subset", "train_correct", "test_correct"])
def test_one_bit_makes_another_run(field):
  (outcome,) = make_outcomes(0.5, [0])
  bits = bytearray(getattr(outcome, field))
  bits[0] ^= 1
  other = dataclasses.replace(_copy(outcome, 0.5, 1), **{field: bytes(bits)})
  assert _warn([outcome, other]) == []


def test_a_ratio_that_is_not_that_of_its_subsets_is_named_with_their_share():
  (warning,) = _warn(_draw(0.3, range(8)) + _draw(0.5, range(8), ratio=0.5))
  assert warning.startswith(
    "the 8 runs at subset ratio 0.7 saw 30.0% of the training set on average, such as 0.7/0 30.0%, "
    "0.7/1 30.0%, 0.7/2 30.0%, …: "
  )


def test_a_few_runs_of_another_ratio_are_named():
  (warning,) = _warn(_draw(0.7, range(100), num_train=1000) + _draw(0.3, [100], num_train=1000))
  assert warning.startswith(
    "1 of 101 runs at subset ratio 0.7 saw another share of the training set, such as 0.7/100 "
    "30.0%: "
  )


@pytest.mark.parametrize("share", [0.7, 0.676])  # 0.676 · 40 is 27.04: rounded down
def test_subsets_of_a_size_next_to_the_ratio_are_those_of_the_ratio(share):
  assert _warn(_draw(share, range(2000))) == []


@given(ratio=st.floats(0.1, 0.9), num_train=st.integers(40, 3000), runs=st.integers(1, 60))
def test_coins_are_believed(ratio, num_train, runs):
  rng = np.random.default_rng([num_train, runs])
  traces = [
    RunTrace(RunKey(ratio, run), num_train, int(rng.binomial(num_train, ratio)), bytes([run]))
    for run in range(runs)
  ]
  assert find_misreadings(traces) == []


def test_the_order_of_the_runs_means_nothing():
  outcomes = _draw(0.3, range(8)) + _draw(0.3, range(20, 28), ratio=0.9)
  outcomes += [_copy(outcome, 0.9, 30 + outcome.key.run) for outcome in outcomes]
  warnings = _warn(outcomes)
  assert len(warnings) == 3
  assert _warn(outcomes[::-1]) == warnings
