"""Everything random about a run, drawn from its seed, subset ratio and id alone."""

import dataclasses
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
  RESIZED_CROP = 4


@dataclasses.dataclass(frozen=True)
class RunSeed:
  """What the random numbers of a run follow from.

  Each purpose has a stream of its own, so that none depends on how much another has drawn, nor on
  which runs are trained beside it, in which order, or how often.

  Example:
    >>> RunSeed(seed=0, subset_ratio=0.5, run=3).subset(8)
    array([2, 3, 6, 7])

  Attributes:
    seed: of the experiment, 0 … 2³² − 1.
    subset_ratio: in (0, 1]; its float64 bits count, so 0.7 and 0.70000001 differ.
    run: id of the run, 0 … 2³² − 1.

  Raises:
    ModelError: if a number is out of range.
  """

  seed: int
  subset_ratio: float
  run: int

  def __post_init__(self) -> None:
    for name, value in (("seed", self.seed), ("run", self.run)):
      if not 0 <= value < _WORD:
        raise ModelError(f"{name} {value} is out of range: choose one from 0 to {_WORD - 1}")
    if not 0 < self.subset_ratio <= 1:
      raise ModelError(
        f"subset ratio {self.subset_ratio} is out of range: choose one above 0, up to 1"
      )

  def stream(self, purpose: Stream) -> np.random.Generator:
    """Returns a generator of one purpose's numbers, from the first on."""
    ratio_bits = int(np.float64(self.subset_ratio).view(np.uint64))
    sequence = np.random.SeedSequence((self.seed, ratio_bits, self.run), spawn_key=(purpose,))
    return np.random.Generator(np.random.PCG64(sequence))

  def subset(self, num_train: int) -> np.ndarray:
    """Draws the run's training examples without replacement.

    Returns:
      Sorted example indices, int64 [round(subset_ratio · num_train)].

    Raises:
      ModelError: if the subset would be empty.
    """
    size = round(self.subset_ratio * num_train)
    if size < 1:
      raise ModelError(
        f"subset ratio {self.subset_ratio} of {num_train} training examples leaves none"
      )
    drawn = self.stream(Stream.SUBSET).choice(num_train, size, replace=False, shuffle=False)
    return np.sort(drawn)

  def epoch_orders(self, subset: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the order in which each successive epoch goes through `subset`, without end."""
    generator = self.stream(Stream.ORDER)
    while True:
      yield generator.permutation(subset)
