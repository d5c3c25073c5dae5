import concurrent.futures

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators import influence_block, pack_runs


def draw_runs(
  train: int, test: int, runs: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Draws outcomes, with all-equal rows among them, and packs them."""
  random = np.random.default_rng(seed)
  member = random.random((train, runs)) < random.choice([0.0, 0.1, 0.7, 1.0], (train, 1))
  correct = random.random((test, runs)) < random.choice([0.0, 0.5, 0.9, 1.0], (test, 1))
  return member, correct, pack_runs(member), pack_runs(correct)


def influence_by_masks(member: np.ndarray, correct: np.ndarray) -> np.ndarray:
  """Returns float32 influence from a boolean mask over the runs for every pair."""
  influence = np.full((len(member), len(correct)), np.nan, np.float32)
  for i, inside in enumerate(member):
    for j, right in enumerate(correct):
      if inside.any() and not inside.all():
        a, b = int(right[inside].sum()), int(right[~inside].sum())
        influence[i, j] = np.float32(a / int(inside.sum()) - b / int((~inside).sum()))
  return influence


@settings(deadline=None)
@given(
  train=st.integers(0, 10),
  test=st.integers(0, 35),
  runs=st.integers(1, 5) | st.sampled_from([63, 64, 65, 128, 200]),
  seed=st.integers(0, 2**32 - 1),
)
def test_block_is_that_of_boolean_masks(train: int, test: int, runs: int, seed: int) -> None:
  member, correct, member_bits, test_bits = draw_runs(train, test, runs, seed)
  influence = influence_block(member_bits, test_bits, runs)
  assert influence.dtype == np.float32
  np.testing.assert_array_equal(influence, influence_by_masks(member, correct))


@pytest.mark.parametrize(
  ("train", "test", "runs"),
  [(513, 9, 70), (5, 300, 20_011)],
  ids=["rows for several calls", "tiles for several panels"],
)
def test_block_larger_than_one_call_or_panel(train: int, test: int, runs: int) -> None:
  member, correct, member_bits, test_bits = draw_runs(train, test, runs, 0)
  expected = member.astype(np.float64) @ correct.T.astype(np.float64)
  seen, right = member.sum(1, keepdims=True), correct.sum(1)
  with np.errstate(invalid="ignore"):
    influence = expected / seen - (right - expected) / (runs - seen)
  np.testing.assert_array_equal(
    influence_block(member_bits, test_bits, runs, threads=3), influence.astype(np.float32)
  )


def test_every_possible_score_is_rounded_once() -> None:
  """All divisions x / n of up to 700 runs, on both sides, against NumPy's."""
  for runs in (7, 64, 333, 700):
    seen = np.arange(1, runs)
    member = np.arange(runs) < seen[:, None]
    correct = np.arange(runs) < np.arange(runs + 1)[:, None]
    right = np.arange(runs + 1)
    inside = np.minimum(right, seen[:, None])
    expected = inside / seen[:, None] - (right - inside) / (runs - seen[:, None])
    block = influence_block(pack_runs(member), pack_runs(correct), runs)
    assert np.array_equal(block, expected.astype(np.float32))


def test_result_goes_to_out() -> None:
  _, _, member_bits, test_bits = draw_runs(9, 17, 100, 0)
  out = np.zeros((9, 17), np.float32)
  assert influence_block(member_bits, test_bits, 100, out=out) is out
  np.testing.assert_array_equal(out, influence_block(member_bits, test_bits, 100))


def test_threads_may_call_at_once() -> None:
  """Beam workers are threads; Numba's own parallel loops would abort the process here."""
  drawn = [draw_runs(700, 90, 300, seed)[2:] for seed in range(4)]
  alone = [influence_block(*bits, 300, threads=1) for bits in drawn]
  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    for _ in range(5):
      together = pool.map(lambda bits: influence_block(*bits, 300, threads=2), drawn)
      for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_out_of_another_shape_or_type_is_refused() -> None:
  _, _, member_bits, test_bits = draw_runs(3, 4, 10, 0)
  for out in (np.zeros((3, 5), np.float32), np.zeros((3, 4), np.float64)):
    with pytest.raises(ValueError, match=r"out is float.*pass float32 \[3, 4\]"):
      influence_block(member_bits, test_bits, 10, out=out)


def test_bits_of_another_number_of_runs_are_refused() -> None:
  _, _, member_bits, test_bits = draw_runs(3, 4, 10, 0)
  with pytest.raises(ValueError, match="member_bits has bits set beyond run 8"):
    influence_block(np.full((3, 1), 1 << 9, np.uint64), test_bits, 9)
  with pytest.raises(ValueError, match="test_bits is uint64"):
    influence_block(member_bits, np.zeros((4, 2), np.uint64), 10)
