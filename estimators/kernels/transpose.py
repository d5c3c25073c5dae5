"""The compiled transposition of bits, from rows of runs to rows of examples."""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def transpose(rows: np.ndarray, bits: np.ndarray, first_word: int) -> None:
  """Writes uint64 rows [512, columns] of runs to bits [examples, first_word : first_word + 8].

  A 64 x 64 bit matrix is transposed by swapping its off-diagonal quarters, then theirs, six times
  (Warren, Hacker's Delight, 7-3). Eight of them, for eight words of runs, go side by side, so that
  each step is one vector operation.
  """
  examples, words = bits.shape
  lanes = min(8, words - first_word)
  square = np.empty((64, 8), np.uint64)
  for column in range(rows.shape[1]):
    for k in range(64):
      for lane in range(8):
        square[k, lane] = rows[64 * lane + k, column]
    mask = np.uint64(0x00000000FFFFFFFF)
    width = np.uint64(32)
    while width:
      step = np.int64(width)
      for base in range(0, 64, 2 * step):
        for k in range(base, base + step):
          for lane in range(8):
            swap = ((square[k, lane] >> width) ^ square[k + step, lane]) & mask
            square[k + step, lane] ^= swap
            square[k, lane] ^= swap << width
      width >>= np.uint64(1)
      mask ^= mask << width
    for k in range(min(64, examples - 64 * column)):
      for lane in range(lanes):
        bits[64 * column + k, first_word + lane] = square[k, lane]
