import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimators import InOutCounts, count_outcomes, pack_runs

FIELDS = ("runs_in", "runs_out", "correct_in", "correct_out")


def outcomes(runs: int, examples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Draws membership and correctness, with columns that are all 0 or all 1 among them."""
  random = np.random.default_rng(seed)
  shares = random.choice([0.0, 0.3, 0.7, 1.0], (2, examples, 1))
  member, correct = random.random((2, examples, runs)) < shares
  return member, correct


@given(
  runs=st.integers(1, 5) | st.sampled_from([63, 64, 65, 128, 130]),
  examples=st.integers(0, 12),
  seed=st.integers(0, 2**32 - 1),
  masked=st.booleans(),
)
def test_counts_are_those_of_a_loop_over_runs(
  runs: int, examples: int, seed: int, masked: bool
) -> None:
  member, correct = outcomes(runs, examples, seed)
  mask = np.random.default_rng(seed + 1).random(runs) < 0.5 if masked else None
  counts = count_outcomes(pack_runs(member), pack_runs(correct), runs, mask)
  for e in range(examples):
    used = [r for r in range(runs) if mask is None or mask[r]]
    inside = [bool(correct[e, r]) for r in used if member[e, r]]
    outside = [bool(correct[e, r]) for r in used if not member[e, r]]
    assert [getattr(counts, field)[e] for field in FIELDS] == [
      len(inside),
      len(outside),
      sum(inside),
      sum(outside),
    ]
  assert all(getattr(counts, field).dtype == np.int32 for field in FIELDS)


def no_runs(examples: int) -> InOutCounts:
  return InOutCounts(*np.zeros((4, examples), np.int32))


def test_counts_of_two_halves_add_up_to_those_of_all_runs() -> None:
  member, correct = (pack_runs(values) for values in outcomes(131, 40, 0))
  half = np.random.default_rng(1).random(131) < 0.5
  total = count_outcomes(member, correct, 131, half) + count_outcomes(member, correct, 131, ~half)
  whole = count_outcomes(member, correct, 131)
  for field in FIELDS:
    assert np.array_equal(getattr(total, field), getattr(whole, field))


def test_counts_can_be_indexed() -> None:
  member, correct = (pack_runs(values) for values in outcomes(10, 6, 0))
  counts = count_outcomes(member, correct, 10)
  assert np.array_equal(counts[2:4].correct_out, counts.correct_out[2:4])


def test_counts_of_different_examples_do_not_add() -> None:
  with pytest.raises(ValueError, match=r"cannot add counts of shapes \[3\] and \[4\]"):
    no_runs(3) + no_runs(4)


def test_bits_of_another_number_of_runs_are_refused() -> None:
  with pytest.raises(ValueError, match=r"member_bits is uint64 \[2, 1\].*uint64 \[examples, 2\]"):
    count_outcomes(np.zeros((2, 1), np.uint64), np.zeros((2, 2), np.uint64), 65)


def test_bits_of_another_type_are_refused() -> None:
  with pytest.raises(ValueError, match="correct_bits is bool"):
    count_outcomes(np.zeros((2, 1), np.uint64), np.zeros((2, 1), bool), 8)


def test_set_padding_bits_are_refused() -> None:
  padded = np.array([[0], [1 << 63]], np.uint64)
  with pytest.raises(ValueError, match="member_bits has bits set beyond run 62"):
    count_outcomes(padded, np.zeros((2, 1), np.uint64), 63)


def test_bits_of_different_examples_are_refused() -> None:
  with pytest.raises(ValueError, match="member_bits hold 2 examples and correct_bits 3"):
    count_outcomes(np.zeros((2, 1), np.uint64), np.zeros((3, 1), np.uint64), 8)


def test_a_mask_of_another_length_is_refused() -> None:
  bits = np.zeros((2, 1), np.uint64)
  with pytest.raises(ValueError, match=r"run_mask has shape \[7\].*each of the 8 runs"):
    count_outcomes(bits, bits, 8, np.ones(7, bool))
