"""The checks that every data set passes before anybody sees it: what is refused, and how."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from image_datasets.dataset import ImageDataset, LabeledImages
from image_datasets.doubts import find_doubts
from image_datasets.errors import DatasetError

# Labels above it are not numbers of classes, and every class costs a name.
_MOST_CLASSES = 1_000_000
_PICTURE_CHANNELS = (1, 3)


def checked_dataset(
  spec: str,
  *,
  train: tuple[np.ndarray, np.ndarray],
  test: tuple[np.ndarray, np.ndarray],
  num_classes: int | None = None,
  pixel_max: float = 255.0,
  class_names: Sequence[str] | None = None,
  train_ids: Sequence[str] | None = None,
  test_ids: Sequence[str] | None = None,
  warnings: Sequence[str] = (),
) -> ImageDataset:
  """Makes a data set of raw arrays, or says what is wrong with them.

  Args:
    spec: the data set's spec; error messages start with it.
    train: images uint8 [n, height, width] or [n, height, width, channels], and labels of any
      integer dtype [n] or [n, 1]. Without a channel axis the images get one of length 1.
    test: the same for the test set; images of the same shape.
    num_classes: by default one more than the largest label.
    pixel_max: the pixel value that normalises to 1.0.
    class_names: by default "0", "1", ….
    train_ids: what the data set calls each training example, if it has names for them.
    test_ids: the same for the test set.
    warnings: what reading it has shown already; those of `find_doubts` are added.

  Returns:
    The data set. Images are not copied.

  Raises:
    DatasetError: on a wrong shape or dtype, channels before the pixels, an empty split, counts or
      shapes that disagree, labels outside 0 … num_classes - 1, a pixel_max that is not positive, or
      ids that repeat.
  """
  train_split = _labeled_images(f"{spec}: train", *train, pixel_max, train_ids)
  test_split = _labeled_images(f"{spec}: test", *test, pixel_max, test_ids)
  train_shape, test_shape = (split.images.shape[1:] for split in (train_split, test_split))
  if train_shape != test_shape:
    raise DatasetError(
      f"{spec}: train images are {train_shape}, test images {test_shape}: make them one shape"
    )
  if num_classes is None:
    num_classes = 1 + max(int(split.labels.max()) for split in (train_split, test_split))
  if not 1 <= num_classes <= _MOST_CLASSES:
    raise DatasetError(f"{spec}: {num_classes} classes: give 1 to {_MOST_CLASSES:,}")
  check_labels(f"{spec}: train", train_split.labels, num_classes)
  check_labels(f"{spec}: test", test_split.labels, num_classes)
  if not (math.isfinite(pixel_max) and pixel_max > 0):
    raise DatasetError(f"{spec}: the pixel value that means 1 is {pixel_max}: give a positive one")
  names = tuple(class_names) if class_names is not None else tuple(map(str, range(num_classes)))
  if len(names) != num_classes:
    raise DatasetError(f"{spec}: {len(names)} class names for {num_classes} classes: name each one")
  dataset = ImageDataset(
    spec=spec,
    train=train_split,
    test=test_split,
    num_classes=num_classes,
    pixel_max=float(pixel_max),
    class_names=names,
  )
  return dataclasses.replace(dataset, warnings=(*warnings, *find_doubts(dataset)))


def _labeled_images(
  where: str,
  images: np.ndarray,
  labels: np.ndarray,
  pixel_max: float,
  ids: Sequence[str] | None,
) -> LabeledImages:
  """Returns one split with its channel axis, read-only."""
  _check_images(where, images)
  labels = _one_label_each(where, labels)
  if len(images) != len(labels) == images.shape[-1]:
    raise DatasetError(
      f"{where} images have shape {images.shape} with the {len(labels)} examples on the last axis: "
      "store np.moveaxis(images, -1, 0)"
    )
  if len(images) != len(labels):
    raise DatasetError(f"{where} has {len(images)} images but {len(labels)} labels: give one each")
  if not len(images):
    raise DatasetError(f"{where} has no examples: give at least one")
  if (largest := labels.max()) >= _MOST_CLASSES:  # also what int64 could not hold
    raise DatasetError(
      f"{where} label {largest} of example {labels.argmax()} is no number of a class: count the "
      "classes from 0, as np.unique(labels, return_inverse=True)[1] does"
    )
  images = images.view() if images.ndim == 4 else images[..., np.newaxis]
  labels = labels.astype(np.int64)
  images.setflags(write=False)
  labels.setflags(write=False)
  names = _distinct_ids(where, ids, len(labels))
  return LabeledImages(images, labels, float(pixel_max), names)


def _distinct_ids(where: str, ids: Sequence[str] | None, size: int) -> np.ndarray | None:
  """Returns the names of examples, one each and all different, read-only."""
  if ids is None:
    return None
  names = np.array(ids, dtype=str)
  if names.shape != (size,):
    raise DatasetError(f"{where} has {len(names)} ids for {size} examples: give one each")
  different, counts = np.unique(names, return_counts=True)
  if len(different) < size:
    raise DatasetError(f"{where} has the id {different[counts > 1][0]} more than once: name each")
  names.setflags(write=False)
  return names


def _check_images(where: str, images: np.ndarray) -> None:
  if images.dtype != np.uint8:
    raise DatasetError(
      f"{where} images are {images.dtype}, not uint8: {_recipe_for_uint8(images)} "
      "(an .npz gives the pixel value that means 1 as __data_scale)"
    )
  if images.ndim not in (3, 4) or 0 in images.shape[1:]:
    raise DatasetError(
      f"{where} images have shape {images.shape}: "
      f"give [n, height, width] or [n, height, width, channels]{_recipe_for_shape(images.shape)}"
    )
  if images.ndim == 4 and _has_channels_first(images.shape):
    raise DatasetError(
      f"{where} images have shape {images.shape} with the {images.shape[1]} channels on axis 1: "
      "channels come last, store np.moveaxis(images, 1, -1)"
    )


def _recipe_for_uint8(images: np.ndarray) -> str:
  """Says how images of another dtype become uint8, by the range of their values."""
  if images.dtype.kind in "biuf" and images.size:
    low, high = images.min(), images.max()
    if images.dtype.kind == "f" and low >= 0 and high <= 1:
      return "store np.rint(images * 255).astype(np.uint8)"
    if low >= 0 and high <= 255 and (images.dtype.kind != "f" or not np.any(images % 1)):
      return "store images.astype(np.uint8)"
  return "store whole pixel values from 0 to 255 as uint8"


def _recipe_for_shape(shape: tuple[int, ...]) -> str:
  """Says how images that lie in rows become squares, if they can."""
  side = math.isqrt(shape[1]) if len(shape) == 2 else 0
  if not side or side**2 != shape[1]:
    return ""
  return f", as images.reshape(-1, {side}, {side}) is if they are grey"


def _has_channels_first(shape: tuple[int, ...]) -> bool:
  """Whether [n, a, b, c] can only be [n, channels, height, width].

  A last axis of 1 or 3 is that of channels, of 2 or 4 it may be; beside it, a square of pixels
  decides.
  """
  _, first, second, last = shape
  if first not in _PICTURE_CHANNELS or last in _PICTURE_CHANNELS:
    return False
  return last > 4 or second == last


def _one_label_each(where: str, labels: np.ndarray) -> np.ndarray:
  """Returns integer labels [n], of which [n, 1] is another way to write them."""
  if labels.ndim == 2 and labels.shape[1] == 1:
    labels = labels[:, 0]
  found = f"{where} labels are {labels.dtype} of shape {labels.shape}"
  if labels.ndim == 2 and _is_one_hot(labels):
    raise DatasetError(f"{found}, one column for each class: store labels.argmax(axis=1)")
  if labels.ndim == 2 and len(labels) == 1:
    raise DatasetError(f"{found}, all in one row: store labels[0]")
  if labels.ndim == 2 and labels.dtype.kind in "biuf":
    raise DatasetError(
      f"{found}, several for each example: scores need one class each, so store one column, "
      "or number the combinations that occur"
    )
  if labels.ndim != 1 or labels.dtype.kind not in "iu":
    recipe = "np.unique(labels, return_inverse=True)[1] numbers any kind of label"
    raise DatasetError(f"{found}: give integers of shape [n]; {recipe}")
  return labels


def _is_one_hot(labels: np.ndarray) -> bool:
  if labels.dtype.kind not in "biuf":
    return False
  return bool(np.all((labels == 0) | (labels == 1)) and np.all(labels.sum(axis=1) == 1))


def check_labels(where: str, labels: np.ndarray, num_classes: int) -> None:
  """Raises `DatasetError` naming the first label outside 0 … num_classes - 1."""
  outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
  if len(outside):
    raise DatasetError(
      f"{where} label {labels[outside[0]]} of example {outside[0]} is outside "
      f"0..{num_classes - 1}: correct the labels or the number of classes"
    )
