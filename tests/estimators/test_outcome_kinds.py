import pickle
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from estimators.bits import pack_runs
from estimators.false_pairs import expected_soft_false_pairs
from estimators.means import measure_outcomes
from estimators.outcome_kinds import MARGIN, OUTCOME_KINDS, PROBABILITY, probabilities
from estimators.reliability import Moments, reliability_curve, split_halves
from estimators.scores import score


@given(arrays(np.float32, st.integers(0, 20), elements=st.floats(-1e4, 1e4, width=32)))
def test_a_probability_is_the_logistic_function_of_the_margin(margins):
  found = probabilities(margins)
  assert found.dtype == np.float32
  assert ((found >= 0) & (found <= 1)).all()
  with np.errstate(over="ignore"):
    expected = 1 / (1 + np.exp(-margins.astype(np.longdouble)))
  np.testing.assert_allclose(found, expected.astype(np.float64), rtol=1e-7, atol=1e-45)


def test_small_probabilities_keep_their_digits():
  assert probabilities(np.float32([-80])) == pytest.approx(np.exp(-80), rel=1e-6)
  assert probabilities(np.float32([0, 200, -200])).tolist() == [0.5, 1, 0]


@pytest.mark.parametrize("kind", OUTCOME_KINDS.values(), ids=OUTCOME_KINDS)
def test_kinds_travel_to_workers(kind):
  assert pickle.loads(pickle.dumps(kind)) == kind
  assert OUTCOME_KINDS[kind.name] is kind
  assert kind.is_soft == (kind.name != "correct")


def test_margins_are_outcomes_as_they_are():
  margins = np.float32([-3, 0, 2])
  assert MARGIN.of_margins(margins).tolist() == [-3, 0, 2]
  assert PROBABILITY.of_margins(margins)[1] == 0.5


def _draw(train=30, test=9, runs=60):
  random = np.random.default_rng(0)
  member = random.random((train, runs)) < 0.7
  values = random.standard_normal((test, runs)) * random.choice([0.5, 2], (test, 1))
  return member, values.astype(np.float32)


@pytest.mark.parametrize("threshold", [-0.5, 0, 0.2, 1.3])
@pytest.mark.parametrize("labelled", [False, True])
def test_false_pairs_are_normal_tails(threshold, labelled):
  member, values = _draw()
  member[3], member[4] = True, False  # neither forms a pair
  train_labels, test_labels = np.arange(30) % 4, np.arange(9) % 4
  labels = {"train_labels": train_labels, "test_labels": test_labels} if labelled else {}
  seen = member.sum(axis=1)
  expected = sum(
    1 - NormalDist(0, np.std(outcomes, ddof=1) * np.sqrt(1 / n + 1 / (60 - n))).cdf(threshold)
    for i, n in enumerate(seen)
    for j, outcomes in enumerate(values.astype(np.float64))
    if 0 < n < 60 and (not labelled or train_labels[i] == test_labels[j])
  )
  found = expected_soft_false_pairs(seen, values, 60, threshold, **labels)
  assert found == pytest.approx(expected, rel=1e-6)


def test_false_pairs_are_about_those_of_shuffled_runs():
  member, values = _draw(train=200, test=50, runs=200)
  means = [
    measure_outcomes(pack_runs(member), np.tile(outcomes, (200, 1)), 200) for outcomes in values
  ]
  selected = sum(int((score(each) >= 0.3).sum()) for each in means)
  expected = expected_soft_false_pairs(member.sum(axis=1), values, 200, 0.3)
  assert selected == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(("threshold", "pairs"), [(0.0, 30 * 9), (1e-6, 0)])
def test_outcomes_that_do_not_vary_have_no_influence(threshold, pairs):
  seen, values = np.full(30, 7), np.full((9, 20), 0.3, np.float32)
  assert expected_soft_false_pairs(seen, values, 20, threshold) == pairs


def test_one_run_makes_no_pairs():
  assert expected_soft_false_pairs(np.array([0, 1]), np.ones((3, 1), np.float32), 1, 0.1) == 0


def test_the_reliability_curve_correlates_halves():
  member, _ = _draw()
  values = np.random.default_rng(1).standard_normal((30, 60)).astype(np.float32)
  bits = pack_runs(member)
  curve = reliability_curve(bits, values, 60, seed=3, measure=measure_outcomes)
  halves = split_halves(60, 3)
  halves_scores = [
    [values[i][member[i] & half].mean() - values[i][~member[i] & half].mean() for i in range(30)]
    for half in halves
  ]
  expected = np.corrcoef(*halves_scores)[0, 1]
  assert curve[-1].correlation == pytest.approx(expected, rel=1e-4)
  assert all(isinstance(point, Moments) for point in curve)
