"""Test examples laid out for the kernels, and training examples shared out among threads."""

import concurrent.futures
from collections.abc import Callable, Iterator
from typing import TypeVar

import numba
import numpy as np

from estimators.kernels.vectors import GROUP, LANES, VALUE_LANES

T = TypeVar("T")

# Enough for a panel of tiles to be fetched from memory once and used many times.
_ROWS_PER_CALL = 64 * GROUP


def tile_bits(bits: np.ndarray, lanes: np.ndarray, tiles: int) -> np.ndarray:
  """Lays run-packed bits out side by side, LANES examples to a tile.

  Args:
    bits: uint64 [examples, words].
    lanes: int64 [examples], the lane of each example, less than tiles * LANES.
    tiles: number of tiles; lanes that no example takes are 0.

  Returns:
    uint64 [tiles, words, LANES], contiguous.
  """
  words = bits.shape[1]
  spread = np.zeros((tiles * LANES, words), np.uint64)
  spread[lanes] = bits
  return np.ascontiguousarray(spread.reshape(tiles, LANES, words).transpose(0, 2, 1))


def tile_values(values: np.ndarray) -> np.ndarray:
  """Lays values of runs out side by side, VALUE_LANES examples to a tile, run after run.

  Args:
    values: float32 [examples, runs].

  Returns:
    float32 [tiles, 64 * words, VALUE_LANES], contiguous; lanes and runs that are none are 0.
  """
  examples, runs = values.shape
  tiles, places = -(-examples // VALUE_LANES), 64 * -(-runs // 64)
  laid_out = np.zeros((tiles, places, VALUE_LANES), np.float32)
  for tile in range(tiles):
    some = values[tile * VALUE_LANES : (tile + 1) * VALUE_LANES]
    laid_out[tile, :runs, : len(some)] = some.T
  return laid_out


def tiles_for(examples: int) -> int:
  """Returns the number of tiles that hold so many examples."""
  return -(-examples // LANES)


def map_rows(
  task: Callable[[slice], T], rows: int, threads: int | None, rows_per_call: int = _ROWS_PER_CALL
) -> Iterator[T]:
  """Yields task(slice) for consecutive slices of so many rows, in order, on several threads.

  Threads are started for one call and end with it: callers may be threads themselves, or forked.

  Args:
    task: called on a worker thread; to gain from it, it must release the interpreter's lock.
    rows: number of rows.
    threads: number of threads. None: NUMBA_NUM_THREADS, by default all cores of the process.
    rows_per_call: how many rows a slice has.
  """
  slices = [slice(first, first + rows_per_call) for first in range(0, rows, rows_per_call)]
  with concurrent.futures.ThreadPoolExecutor(threads or numba.config.NUMBA_NUM_THREADS) as pool:
    yield from pool.map(task, slices)
