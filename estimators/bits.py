"""Outcomes as bits: one row per run as it is recorded, one row per example as it is counted.

A run's row is `uint8 [ceil(examples / 8)]`, bit e % 8 of byte e // 8 for example e.
Run-packed bits are `uint64 [examples, words]` with words = ceil(runs / 64): bit r % 64 of word
r // 64 is run r, and the padding bits are 0. In the second form a count over runs is a popcount.
"""

from collections.abc import Sequence

import numpy as np

from estimators.kernels.compress import compress, compression_moves
from estimators.kernels.transpose import transpose

WORD_BITS = 64

# Runs that are gathered before they are transposed: eight words of every example, one cache line.
_RUNS_AT_ONCE = 8 * WORD_BITS


def words_for(runs: int) -> int:
  """Returns the number of 64-bit words that hold one bit per run."""
  return -(-runs // WORD_BITS)


def pack_examples(values: np.ndarray) -> np.ndarray:
  """Packs one run's outcomes, bool [examples], into its row, uint8 [ceil(examples / 8)]."""
  return np.packbits(values, bitorder="little")


def pack_runs(values: np.ndarray) -> np.ndarray:
  """Packs bool [..., runs] into run-packed bits, uint64 [..., words].

  A mask over runs is one such row: `bits & pack_runs(mask)` leaves the runs that the mask selects.
  """
  packed = np.packbits(values, axis=-1, bitorder="little")
  words = words_for(values.shape[-1])
  padded = np.zeros((*packed.shape[:-1], 8 * words), np.uint8)
  padded[..., : packed.shape[-1]] = packed
  return padded.view("<u8").astype(np.uint64, copy=False)


def keep_runs(bits: np.ndarray, kept: np.ndarray) -> np.ndarray:
  """Returns run-packed bits of some of the runs, renumbered in their order.

  Unlike a mask, which leaves the number of runs as it is, this leaves no trace of the others.

  Args:
    bits: uint64 [examples, words], run-packed bits of len(kept) runs.
    kept: bool [runs], the runs to keep.
  """
  mask = pack_runs(kept)
  fewer = np.zeros((len(bits), words_for(int(np.count_nonzero(kept)))), np.uint64)
  compress(bits, mask, compression_moves(mask), np.bitwise_count(mask), fewer)
  return fewer


def transpose_runs(rows: Sequence[np.ndarray] | np.ndarray, examples: int) -> np.ndarray:
  """Turns rows of runs into run-packed bits of examples.

  Beside the result it needs 512 rows' worth of memory. To transpose a block of examples, slice
  the rows first: a block that starts at example 8k starts at byte k.

  Args:
    rows: one `pack_examples` row per run, in the order in which the runs are to be numbered.
    examples: number of examples that each row holds.

  Returns:
    uint64 [examples, words].

  Raises:
    ValueError: a row is not uint8 [ceil(examples / 8)].
  """
  row_bytes = -(-examples // 8)
  for run, row in enumerate(rows):
    if row.dtype != np.uint8 or row.shape != (row_bytes,):
      raise ValueError(
        f"row of run {run} is {row.dtype} {list(row.shape)}, but {examples} examples pack into "
        f"uint8 [{row_bytes}]: pack it with pack_examples"
      )
  bits = np.zeros((examples, words_for(len(rows))), np.uint64)
  columns = words_for(examples)
  for first in range(0, len(rows), _RUNS_AT_ONCE):
    some = rows[first : first + _RUNS_AT_ONCE]
    padded = np.zeros((_RUNS_AT_ONCE, 8 * columns), np.uint8)
    for run, row in enumerate(some):
      padded[run, :row_bytes] = row
    transpose(padded.view("<u8").astype(np.uint64, copy=False), bits, first // WORD_BITS)
  return bits


def popcount(bits: np.ndarray) -> np.ndarray:
  """Counts the set bits of uint64 [..., words] along its last axis: int64 [...]."""
  return np.bitwise_count(bits).sum(axis=-1, dtype=np.int64)


def check_bits(name: str, bits: np.ndarray, runs: int) -> None:
  """Raises ValueError, naming the argument, unless these are run-packed bits of `runs` runs."""
  words = words_for(runs)
  if bits.dtype != np.uint64 or bits.ndim != 2 or bits.shape[1] != words:
    raise ValueError(
      f"{name} is {bits.dtype} {list(bits.shape)}: pass run-packed bits of {runs} runs, "
      f"uint64 [examples, {words}]"
    )
  if runs % WORD_BITS and (bits[:, -1] >> np.uint64(runs % WORD_BITS)).any():
    raise ValueError(f"{name} has bits set beyond run {runs - 1}: padding bits must be 0")
