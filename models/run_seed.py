"""Everything random about a run, drawn from its seed, subset ratio and id alone.

Each purpose has a stream of its own, so that none depends on how much another has drawn, nor on
which runs are trained beside it, in which order, or how often.
"""

import enum
from collections.abc import Iterator

import numpy as np

from models.registry import ModelError

_WORD = 2**32


class Stream(enum.IntEnum):
  """What a run draws random numbers for."""

  SUBSET = 0
  WEIGHTS = 1
  ORDER = 2
  AUGMENTATION = 3


def random_stream(seed: int, subset_ratio: float, run: int, stream: Stream) -> np.random.Generator:
  """Returns the generator of one purpose of one run.

  Args:
    seed: of the experiment, 0 … 2³² − 1.
    subset_ratio: in (0, 1]; its float64 bits count, so 0.7 and 0.70000001 differ.
    run: id of the run, 0 … 2³² − 1.
    stream: what the numbers are for.

  Raises:
    ModelError: if a number is out of range.
  """
  for name, value in (("seed", seed), ("run", run)):
    if not 0 <= value < _WORD:
      raise ModelError(f"{name} {value} is out of range: choose one from 0 to {_WORD - 1}")
  if not 0 < subset_ratio <= 1:
    raise ModelError(f"subset ratio {subset_ratio} is out of range: choose one above 0, up to 1")
  ratio_bits = int(np.float64(subset_ratio).view(np.uint64))
  sequence = np.random.SeedSequence((seed, ratio_bits, run), spawn_key=(stream,))
  return np.random.Generator(np.random.PCG64(sequence))


def draw_subset(seed: int, subset_ratio: float, run: int, num_train: int) -> np.ndarray:
  """Draws the training examples of a run without replacement.

  Returns:
    Sorted example indices, int64 [round(subset_ratio · num_train)].

  Raises:
    ModelError: if `seed`, `subset_ratio` or `run` is out of range, or the subset would be empty.
  """
  generator = random_stream(seed, subset_ratio, run, Stream.SUBSET)
  size = round(subset_ratio * num_train)
  if size < 1:
    raise ModelError(f"subset ratio {subset_ratio} of {num_train} training examples leaves none")
  return np.sort(generator.choice(num_train, size, replace=False, shuffle=False))


def epoch_orders(
  seed: int, subset_ratio: float, run: int, subset: np.ndarray
) -> Iterator[np.ndarray]:
  """Yields the order in which each successive epoch goes through `subset`, without end."""
  generator = random_stream(seed, subset_ratio, run, Stream.ORDER)
  while True:
    yield generator.permutation(subset)
