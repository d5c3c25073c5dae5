"""The compiled gathering of the bits that a mask selects, in every row alike."""

import numba
import numpy as np


def compression_moves(mask: np.ndarray) -> np.ndarray:
  """Returns which bits of each word move right by 1, 2, 4, … 32 when those of the mask close up.

  Warren, Hacker's Delight, 7-4.

  Args:
    mask: uint64 [words].

  Returns:
    uint64 [words, 6].
  """
  moves = np.empty((len(mask), 6), np.uint64)
  gaps = ~mask << np.uint64(1)
  for step in range(6):
    odd = gaps.copy()  # below which the number of gaps is odd
    for shift in (1, 2, 4, 8, 16, 32):
      odd ^= odd << np.uint64(shift)
    moves[:, step] = odd & mask
    mask = (mask ^ moves[:, step]) | (moves[:, step] >> np.uint64(1 << step))
    gaps &= ~odd
  return moves


@numba.njit(nogil=True, cache=True)
def compress(
  bits: np.ndarray, mask: np.ndarray, moves: np.ndarray, sizes: np.ndarray, fewer: np.ndarray
) -> None:
  """Writes the bits that the mask selects to `fewer`, whose words are 0, without gaps."""
  for example in range(len(bits)):
    position = 0
    for word in range(len(mask)):
      value = bits[example, word] & mask[word]
      for step in range(6):
        moving = value & moves[word, step]
        value = (value ^ moving) | (moving >> np.uint64(1 << step))
      size = int(sizes[word])
      if size == 0:
        continue
      place, shift = position // 64, position % 64
      fewer[example, place] |= value << np.uint64(shift)
      if shift + size > 64:
        fewer[example, place + 1] |= value >> np.uint64(64 - shift)
      position += size
