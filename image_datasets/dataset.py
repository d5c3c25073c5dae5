"""What a data set is."""

import dataclasses

import numpy as np


# Compared by identity: `==` on arrays has no single truth value.
@dataclasses.dataclass(frozen=True, eq=False)
class LabeledImages:
  """Images and their labels; an example is known by its index here.

  The arrays are read-only, because threads share them.

  Attributes:
    images: uint8 [n, height, width, channels].
    labels: int64 [n].
  """

  images: np.ndarray
  labels: np.ndarray

  def __len__(self) -> int:
    return len(self.labels)


@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
  """A training set and a test set of images of one shape.

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
    return LabeledImages(images, labels)
