import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.bits import pack_runs
from estimators.means import InOutMeans, measure_outcomes, measure_pairs
from estimators.reliability import split_halves
from estimators.scores import c_scores, consistency, score, standard_error
from estimators.thresholds import reaches
from tests.helpers.means import side_means, welch


def draw(seed: int, examples: int, runs: int) -> tuple[np.ndarray, np.ndarray]:
  """Draws membership, with rows that all or none saw among it, and outcomes far from 0."""
  random = np.random.default_rng(seed)
  member = random.random((examples, runs)) < random.choice([0.0, 0.3, 0.7, 1.0], (examples, 1))
  values = random.standard_normal((examples, runs)) * random.choice([0, 1, 100], (examples, 1)) + 50
  return member, values.astype(np.float32)


def as_rows(means: InOutMeans) -> np.ndarray:
  return np.stack([np.asarray(column, np.float64) for column in vars(means).values()], axis=1)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 9), st.sampled_from([1, 2, 3, 8, 63, 64, 65, 200]))
def test_means_are_those_of_boolean_masks(seed: int, examples: int, runs: int) -> None:
  member, values = draw(seed, examples, runs)
  means = measure_outcomes(pack_runs(member), values, runs)
  assert means.runs_in.dtype == np.int32
  assert means.mean_in.dtype == means.sd_out.dtype == np.float64
  expected = [side_means(*pair) for pair in zip(member, values, strict=True)]
  np.testing.assert_allclose(as_rows(means), np.reshape(expected, (-1, 6)), rtol=1e-13, atol=1e-12)
  scores = [welch(*pair) for pair in zip(member, values, strict=True)]
  found = np.stack([score(means), standard_error(means)], axis=1)
  np.testing.assert_allclose(found, np.reshape(scores, (-1, 2)), rtol=1e-12, atol=1e-12)


def test_only_runs_of_the_mask_count() -> None:
  member, values = draw(0, 9, 100)
  for half in split_halves(100, seed=0):
    masked = measure_outcomes(pack_runs(member), values, 100, half)
    alone = measure_outcomes(pack_runs(member[:, half]), values[:, half], int(half.sum()))
    np.testing.assert_allclose(as_rows(masked), as_rows(alone), rtol=1e-13)


def test_a_pair_takes_the_outcomes_of_its_test_example() -> None:
  member, _ = draw(1, 5, 70)
  _, values = draw(2, 7, 70)
  trains, tests = np.array([4, 0, 4]), np.array([6, 1, 0])
  means = measure_pairs(pack_runs(member), values, 70, trains, tests)
  expected = [side_means(member[i], values[j]) for i, j in zip(trains, tests, strict=True)]
  np.testing.assert_allclose(as_rows(means), expected, rtol=1e-13)
  np.testing.assert_array_equal(as_rows(means[1:]), as_rows(means)[1:])


def test_one_run_has_a_mean_and_no_deviation() -> None:
  member = np.array([[1, 0, 0], [1, 1, 1], [0, 0, 0]], bool)
  values = np.array([[1, 2, 4]] * 3, np.float32)
  means = measure_outcomes(pack_runs(member), values, 3)
  assert means.runs_in.tolist() == [1, 3, 0]
  assert score(means).tolist()[0] == -2
  assert np.isnan(score(means)[1:]).all()
  assert np.isnan(standard_error(means)).all()
  assert means.sd_in[1] == pytest.approx(np.std([1, 2, 4], ddof=1))
  assert consistency(means).tolist()[::2] == [3, pytest.approx(7 / 3)]
  assert reaches(means, -2).tolist() == [True, False, False]
  assert reaches(means, -1.99).tolist() == [False, False, False]
  with pytest.raises(ValueError, match="the threshold is nan: pass a finite number"):
    reaches(means, np.nan)


def test_c_scores_average_held_out_means() -> None:
  blocks = [draw(seed, 6, runs) for seed, runs in ((0, 40), (1, 30), (2, 2))]
  means = [measure_outcomes(pack_runs(m), v, m.shape[1]) for m, v in blocks]
  scores = c_scores(means)
  for example in range(6):
    held_out = [
      np.asarray(v[example], np.float64)[~m[example]] for m, v in blocks if not m[example].all()
    ]
    assert scores.ratios[example] == len(held_out)
    if not held_out:
      assert np.isnan(scores.score[example])
      continue
    assert scores.score[example] == pytest.approx(np.mean([side.mean() for side in held_out]))
    if min(map(len, held_out)) < 2:
      assert np.isnan(scores.standard_error[example])
    else:
      squared = sum(side.var(ddof=1) / len(side) for side in held_out)
      expected = np.sqrt(squared) / len(held_out)
      assert scores.standard_error[example] == pytest.approx(expected)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"values": np.zeros((3, 5))}, r"values is float64 \[3, 5\]: pass the outcomes of 5 runs"),
    (
      {"values": np.zeros((3, 4), "f4")},
      r"values is float32 \[3, 4\]: pass .* float32 \[examples,",
    ),
    ({"values": np.zeros((2, 5), "f4")}, "member_bits hold 3 examples and values 2"),
    ({"member_bits": np.zeros((3, 2), np.uint64)}, "member_bits is uint64"),
    ({"run_mask": np.ones(4, bool)}, r"run_mask has shape \[4\]: pass one bool for each of the 5"),
  ],
)
def test_what_does_not_fit_is_refused(change: dict[str, np.ndarray], message: str) -> None:
  arguments = {"member_bits": np.zeros((3, 1), np.uint64), "values": np.zeros((3, 5), np.float32)}
  with pytest.raises(ValueError, match=message):
    measure_outcomes(**(arguments | change), runs=5)
