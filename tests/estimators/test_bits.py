import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators import keep_runs, pack_examples, pack_runs, popcount, transpose_runs, words_for


@settings(deadline=None)
@given(
  runs=st.integers(1, 8) | st.sampled_from([63, 64, 65, 511, 512, 513, 577]),
  examples=st.integers(0, 20) | st.sampled_from([63, 64, 65, 129]),
  share=st.sampled_from([0.0, 0.3, 1.0]),
  seed=st.integers(0, 2**32 - 1),
)
def test_transposed_rows_hold_each_run_at_its_bit(
  runs: int, examples: int, share: float, seed: int
) -> None:
  outcomes = np.random.default_rng(seed).random((runs, examples)) < share
  bits = transpose_runs([pack_examples(run) for run in outcomes], examples)
  assert bits.dtype == np.uint64
  assert bits.shape == (examples, words_for(runs))
  expected = [
    [
      sum(int(outcomes[r, e]) << r % 64 for r in range(64 * w, min(64 * w + 64, runs)))
      for w in range(words_for(runs))
    ]
    for e in range(examples)
  ]
  assert bits.tolist() == expected
  assert popcount(bits).tolist() == outcomes.sum(axis=0).tolist()


@settings(deadline=None)
@given(
  runs=st.integers(1, 8) | st.sampled_from([63, 64, 65, 130, 200]),
  share=st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]),
  seed=st.integers(0, 2**32 - 1),
)
def test_kept_runs_are_as_if_the_others_had_never_been(runs: int, share: float, seed: int) -> None:
  generator = np.random.default_rng(seed)
  outcomes, kept = generator.random((5, runs)) < 0.5, generator.random(runs) < share
  assert np.array_equal(keep_runs(pack_runs(outcomes), kept), pack_runs(outcomes[:, kept]))


@given(st.lists(st.booleans(), max_size=200))
def test_run_mask_and_run_packed_bits_agree(mask: list[bool]) -> None:
  words = pack_runs(np.array(mask, bool))
  assert [bool(int(words[r // 64]) >> r % 64 & 1) for r in range(len(mask))] == mask
  assert popcount(words) == sum(mask)


def test_a_slice_of_row_bytes_is_a_block_of_examples() -> None:
  outcomes = np.random.default_rng(0).random((70, 50)) < 0.5
  rows = np.stack([pack_examples(run) for run in outcomes])
  block = transpose_runs(rows[:, 2:5], 24)
  assert np.array_equal(block, transpose_runs(rows, 50)[16:40])


@pytest.mark.parametrize(
  "row", [np.zeros(2, np.uint8), np.zeros(3, np.int8), np.zeros((3, 1), np.uint8)]
)
def test_a_row_of_another_size_or_type_is_named(row: np.ndarray) -> None:
  with pytest.raises(ValueError, match=r"row of run 1 is .* 20 examples pack into uint8 \[3\]"):
    transpose_runs([np.zeros(3, np.uint8), row], 20)
