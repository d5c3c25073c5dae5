"""The compiled loop that counts the outcomes on each example in one pass over its bits."""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def count_bits(
  member_bits: np.ndarray,
  correct_bits: np.ndarray,
  mask: np.ndarray,
  runs_in: np.ndarray,
  correct: np.ndarray,
  correct_in: np.ndarray,
) -> None:
  """Counts the runs of a mask that saw each example, are correct on it, and both.

  Args:
    member_bits: uint64 [examples, words].
    correct_bits: uint64 [examples, words].
    mask: uint64 [words].
    runs_in: int32 [examples], written.
    correct: int32 [examples], written.
    correct_in: int32 [examples], written.
  """
  for example in range(len(member_bits)):
    seen, right, both = np.uint64(0), np.uint64(0), np.uint64(0)
    for word in range(len(mask)):
      member = member_bits[example, word] & mask[word]
      outcome = correct_bits[example, word] & mask[word]
      seen += _popcount(member)
      right += _popcount(outcome)
      both += _popcount(member & outcome)
    runs_in[example], correct[example], correct_in[example] = seen, right, both


@numba.njit(nogil=True, cache=True)
def _popcount(word: np.uint64) -> np.uint64:
  """Counts set bits as in Warren, Hacker's Delight, 5-1, which LLVM knows as one instruction."""
  word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
  word = (word & np.uint64(0x3333333333333333)) + (
    (word >> np.uint64(2)) & np.uint64(0x3333333333333333)
  )
  word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
  return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)
