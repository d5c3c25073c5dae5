"""What a data set in memory is."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np

from image_datasets.interface import Batch
from image_datasets.pixels import pixel_hashes


# Compared by identity: `==` on arrays has no single truth value.
@dataclasses.dataclass(frozen=True, eq=False)
class LabeledImages:
  """Images and their labels; an example is known by its index here.

  The arrays are read-only, because threads share them.

  Attributes:
    images: uint8 [n, height, width, channels].
    labels: int64 [n].
    pixel_max: the pixel value that normalises to 1.0.
    ids: what the data set itself calls each example, str [n]; None if it has no names for them.
  """

  images: np.ndarray
  labels: np.ndarray
  pixel_max: float = 255.0
  ids: np.ndarray | None = None

  def __len__(self) -> int:
    return len(self.labels)

  @functools.cached_property
  def pixel_hashes(self) -> np.ndarray:
    """The hash of each image, `S32` [n]; see `pixel_hash`. Computed at the first call for it."""
    return pixel_hashes(self.images)

  def batches(self, batch_size: int) -> Iterator[Batch]:
    """Yields pixels divided by `pixel_max`, in the order of the examples."""
    for start in range(0, len(self), batch_size):
      images = self.images[start : start + batch_size].astype(np.float32)
      yield Batch(np.arange(start, start + len(images)), images / np.float32(self.pixel_max))

  def pictures(self, examples: Sequence[int]) -> list[np.ndarray]:
    """Returns the pixels of a few examples."""
    return [self.images[example] for example in examples]


@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
  """A training set and a test set of images of one shape, held in memory.

  Attributes:
    spec: the spec that loads this data set again.
    train: the training examples.
    test: the test examples.
    num_classes: labels are 0 … num_classes - 1.
    pixel_max: the pixel value that normalises to 1.0.
    class_names: one name per class.
    warnings: what is likely not as it was meant, one sentence each, to be shown to the user.
  """

  spec: str
  train: LabeledImages
  test: LabeledImages
  num_classes: int
  pixel_max: float
  class_names: tuple[str, ...]
  warnings: tuple[str, ...] = ()

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of every image."""
    _, height, width, channels = self.train.images.shape
    return height, width, channels

  @property
  def all_examples(self) -> LabeledImages:
    """A copy of the training examples and, from position `len(train)` on, the test examples."""
    images = np.concatenate([self.train.images, self.test.images])
    labels = np.concatenate([self.train.labels, self.test.labels])
    images.setflags(write=False)
    labels.setflags(write=False)
    return LabeledImages(images, labels, self.pixel_max)
