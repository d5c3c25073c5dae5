"""What every data set offers, whether it is held in memory or streamed from files."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np


class Batch(NamedTuple):
  """Some examples as models see them.

  Attributes:
    examples: int64 [n], their indices in their split.
    images: float32 [n, height, width, channels], all of the data set's image shape.
  """

  examples: np.ndarray
  images: np.ndarray


@runtime_checkable
class Examples(Protocol):
  """One split; an example is known by its index here."""

  @property
  def labels(self) -> np.ndarray:
    """Classes by index, int64 [n], read-only."""

  @property
  def ids(self) -> np.ndarray | None:
    """What the data set itself calls each example, such as a file name or TFDS's `train_16399`.

    Str [n], all different; None if it has no names for them.
    """

  @property
  def pixel_hashes(self) -> np.ndarray | None:
    """The `pixel_hash` of each picture, `S32` [n]; None where all are too many to be read for it.

    Raises:
      DatasetError: an image cannot be read.
    """

  def __len__(self) -> int: ...

  def batches(self, batch_size: int) -> Iterator[Batch]:
    """Yields every example once, as models see it, in an order that is always the same.

    Args:
      batch_size: examples per batch; the last may have fewer.

    Raises:
      DatasetError: an image cannot be read.
    """

  def pictures(self, examples: Sequence[int]) -> list[np.ndarray]:
    """Returns a few images as people see them, and reads no others.

    Args:
      examples: their indices.

    Returns:
      Images in the order of `examples`, uint8 [height, width, channels], each of its own size.

    Raises:
      DatasetError: an image cannot be read.
    """


@runtime_checkable
class Dataset(Protocol):
  """A training set and a test set."""

  @property
  def spec(self) -> str:
    """The spec that loads this data set again."""

  @property
  def train(self) -> Examples:
    """The training examples."""

  @property
  def test(self) -> Examples:
    """The test examples."""

  @property
  def num_classes(self) -> int:
    """Labels are 0 … num_classes - 1."""

  @property
  def class_names(self) -> tuple[str, ...]:
    """One name per class."""

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of every image as models see it."""

  @property
  def pixel_max(self) -> float:
    """The pixel value of pictures that is shown as white."""

  @property
  def warnings(self) -> tuple[str, ...]:
    """What is likely not as it was meant, one sentence each, to be shown to the user."""


def all_batches(dataset: Dataset, batch_size: int) -> Iterator[Batch]:
  """Yields training and test examples once, as models see them; test indices follow on training."""
  yield from dataset.train.batches(batch_size)
  for batch in dataset.test.batches(batch_size):
    yield Batch(batch.examples + len(dataset.train), batch.images)


def all_labels(dataset: Dataset) -> np.ndarray:
  """Returns the labels of training examples and, behind them, of test examples, int64."""
  return np.concatenate([dataset.train.labels, dataset.test.labels])
