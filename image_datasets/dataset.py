"""What a data set is, and the checks that every one passes before anybody sees it."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from image_datasets.errors import DatasetError


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
  """

  spec: str
  train: LabeledImages
  test: LabeledImages
  num_classes: int
  pixel_max: float
  class_names: tuple[str, ...]

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


def checked_dataset(
  spec: str,
  *,
  train: tuple[np.ndarray, np.ndarray],
  test: tuple[np.ndarray, np.ndarray],
  num_classes: int | None = None,
  pixel_max: float = 255.0,
  class_names: Sequence[str] | None = None,
) -> ImageDataset:
  """Makes a data set of raw arrays, or says what is wrong with them.

  Args:
    spec: the data set's spec; error messages start with it.
    train: images uint8 [n, height, width] or [n, height, width, channels], and labels of any
      integer dtype [n]. Without a channel axis the images get one of length 1.
    test: the same for the test set; images of the same shape.
    num_classes: by default one more than the largest label.
    pixel_max: the pixel value that normalises to 1.0.
    class_names: by default "0", "1", ….

  Returns:
    The data set. Images are not copied.

  Raises:
    DatasetError: on a wrong shape or dtype, an empty split, counts or shapes that disagree,
      labels outside 0 … num_classes - 1, or a pixel_max that is not positive.
  """
  splits = {
    "train": _labeled_images(f"{spec}: train", *train),
    "test": _labeled_images(f"{spec}: test", *test),
  }
  train_shape, test_shape = (split.images.shape[1:] for split in splits.values())
  if train_shape != test_shape:
    raise DatasetError(
      f"{spec}: train images are {train_shape}, test images {test_shape}: make them one shape"
    )
  if num_classes is None:
    num_classes = 1 + max(int(split.labels.max()) for split in splits.values())
  for name, split in splits.items():
    _check_labels(f"{spec}: {name}", split.labels, num_classes)
  if not (math.isfinite(pixel_max) and pixel_max > 0):
    raise DatasetError(f"{spec}: the pixel value that means 1 is {pixel_max}: give a positive one")
  names = tuple(class_names) if class_names is not None else tuple(map(str, range(num_classes)))
  if len(names) != num_classes:
    raise DatasetError(f"{spec}: {len(names)} class names for {num_classes} classes: name each one")
  return ImageDataset(
    spec=spec,
    **splits,
    num_classes=num_classes,
    pixel_max=float(pixel_max),
    class_names=names,
  )


def _labeled_images(where: str, images: np.ndarray, labels: np.ndarray) -> LabeledImages:
  """Returns one split with its channel axis, read-only."""
  if images.dtype != np.uint8:
    raise DatasetError(
      f"{where} images are {images.dtype}, not uint8: store whole pixel values as uint8 "
      "(an .npz gives the one that means 1 as __data_scale)"
    )
  if images.ndim not in (3, 4) or 0 in images.shape[1:]:
    raise DatasetError(
      f"{where} images have shape {images.shape}: "
      "give [n, height, width] or [n, height, width, channels]"
    )
  if labels.ndim != 1 or labels.dtype.kind not in "iu":
    raise DatasetError(
      f"{where} labels are {labels.dtype} of shape {labels.shape}: give integers of shape [n]"
    )
  if len(images) != len(labels):
    raise DatasetError(f"{where} has {len(images)} images but {len(labels)} labels: give one each")
  if not len(images):
    raise DatasetError(f"{where} has no examples: give at least one")
  images = images.view() if images.ndim == 4 else images[..., np.newaxis]
  labels = labels.astype(np.int64)
  images.setflags(write=False)
  labels.setflags(write=False)
  return LabeledImages(images, labels)


def _check_labels(where: str, labels: np.ndarray, num_classes: int) -> None:
  """Raises `DatasetError` naming the first label outside 0 … num_classes - 1."""
  outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
  if len(outside):
    raise DatasetError(
      f"{where} label {labels[outside[0]]} of example {outside[0]} is outside "
      f"0..{num_classes - 1}: correct the labels or the number of classes"
    )
