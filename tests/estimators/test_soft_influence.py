import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.bits import pack_runs
from estimators.soft_influence import RELATIVE_ERROR, soft_influence_block
from tests.helpers.means import dense_influence


def draw(seed: int, train: int, test: int, runs: int) -> tuple[np.ndarray, np.ndarray]:
  """Draws membership, with rows that all or none saw among it, and outcomes of all sizes."""
  random = np.random.default_rng(seed)
  member = random.random((train, runs)) < random.choice([0.0, 0.3, 0.7, 1.0], (train, 1))
  values = random.standard_normal((test, runs)) * random.choice([0, 1e-3, 1, 1e6], (test, 1))
  return member, (values + random.choice([0, 1, 1e4], (test, 1))).astype(np.float32)


def stated_error(member: np.ndarray, values: np.ndarray) -> np.ndarray:
  """Returns by how much the docstring lets each value be off."""
  values = values.astype(np.float64)
  spread = np.abs(values - values.mean(axis=1, keepdims=True)).sum(axis=1)
  seen = member.sum(axis=1)[:, None]
  with np.errstate(divide="ignore", invalid="ignore"):
    return 68 * 2.0**-24 * spread * (1 / seen + 1 / (values.shape[1] - seen))


@settings(deadline=None)
@given(
  seed=st.integers(0, 2**32 - 1),
  train=st.integers(0, 9),
  test=st.integers(0, 70),
  runs=st.sampled_from([1, 2, 5, 63, 64, 65, 256, 257, 700]),
)
def test_is_that_of_float64_products_within_the_stated_error(
  seed: int, train: int, test: int, runs: int
) -> None:
  member, values = draw(seed, train, test, runs)
  influence = soft_influence_block(pack_runs(member), values, runs)
  assert influence.dtype == np.float32
  expected = dense_influence(member, values)
  undefined = np.isnan(expected)
  np.testing.assert_array_equal(np.isnan(influence), undefined)
  allowed = (
    stated_error(member, values)
    + np.abs(expected) * 2.0**-24
    + 1e-12 * np.abs(values).max(initial=0)
  )
  assert (np.abs(influence - expected)[~undefined] <= allowed[~undefined]).all()


def test_in_practice_errors_are_far_smaller() -> None:
  random = np.random.default_rng(0)
  member = random.random((500, 2000)) < 0.7
  values = random.standard_normal((300, 2000)).astype(np.float32) + 7
  off = soft_influence_block(pack_runs(member), values, 2000) - dense_influence(member, values)
  assert np.sqrt(np.square(off).mean()) < 3e-8
  assert np.abs(off).max() < 2e-7
  assert RELATIVE_ERROR == 68 * 2.0**-24


def test_any_number_of_threads_and_rows_gives_the_same_bits() -> None:
  random = np.random.default_rng(1)
  member_bits = pack_runs(random.random((2500, 300)) < 0.5)
  values = random.standard_normal((70, 300)).astype(np.float32)
  one = soft_influence_block(member_bits, values, 300, threads=1)
  assert np.array_equal(one, soft_influence_block(member_bits, values, 300, threads=4))
  part = soft_influence_block(member_bits[1000:1100], values, 300)
  assert np.array_equal(one[1000:1100], part)
  out = np.full((2500, 70), 9, np.float32)
  assert soft_influence_block(member_bits, values, 300, out=out) is out
  assert np.array_equal(one, out)


def test_outcomes_that_do_not_vary_have_no_influence() -> None:
  member_bits = pack_runs(np.random.default_rng(2).random((20, 90)) < 0.5)
  influence = soft_influence_block(member_bits, np.full((3, 90), 123.456, np.float32), 90)
  assert np.abs(influence).max() <= 1e-12


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"test_values": np.zeros((4, 5))}, r"test_values is float64 \[4, 5\]"),
    ({"member_bits": np.zeros((3, 2), np.uint64)}, "member_bits is uint64"),
    ({"out": np.zeros((3, 3), np.float32)}, r"out is float32 \[3, 3\]: pass float32 \[3, 4\]"),
  ],
)
def test_what_does_not_fit_is_refused(change: dict[str, np.ndarray], message: str) -> None:
  arguments = {"member_bits": np.zeros((3, 1), "u8"), "test_values": np.zeros((4, 5), "f4")}
  with pytest.raises(ValueError, match=message):
    soft_influence_block(**(arguments | change), runs=5)
