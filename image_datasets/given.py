"""What is known of the examples of any data set: ours, NumPy's, torchvision's, Hugging Face's."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from image_datasets.errors import DatasetError
from image_datasets.interface import Dataset, Examples
from image_datasets.pixels import HASH_LENGTH, pixel_hash
from image_datasets.registry import load_dataset

_IMAGES = ("image", "img")
_LABELS = ("label", "fine_label", "labels")
_IDS = ("id", "file_name", "filename")
_CHANNELS = (1, 3)


@dataclasses.dataclass(frozen=True, eq=False)
class GivenExamples:
  """Examples in the order of their data set.

  Attributes:
    name: what to call the data set.
    size: how many there are.
    labels: int64 [n], or None.
    ids: ids or file names, str [n], or None.
    pixel_hashes: the `pixel_hash` of each image, `S32` [n], or None.
  """

  name: str
  size: int
  labels: np.ndarray | None = None
  ids: np.ndarray | None = None
  pixel_hashes: np.ndarray | None = None

  def __len__(self) -> int:
    return self.size


def given_examples(
  dataset: Any, split: str, labels: Sequence[int] | np.ndarray | None = None
) -> GivenExamples:
  """Returns what is known of the examples of any data set, in its order.

  Args:
    dataset: one of ours or its spec, of which `split` is taken; a split of one; images, uint8 [n,
      height, width] or [n, height, width, channels]; images and labels [n], as a tuple; a sequence
      of (image, label), as torchvision's data sets are without transforms; or of dicts, as Hugging
      Face's are; or of file names. An image is uint8 [height, width] or [height, width, channels],
      or of PIL.
    split: `train` or `test`.
    labels: integers [n], if the data set has none itself.

  Raises:
    DatasetError: it is nothing of these; the message names the first example that is not.
  """
  if isinstance(dataset, str):
    dataset = load_dataset(dataset)
  if isinstance(dataset, Dataset):
    return _of_ours(dataset.spec, getattr(dataset, split))
  if isinstance(dataset, Examples):
    return _of_ours(f"the split of {len(dataset):,} examples", dataset)
  if isinstance(dataset, tuple) and len(dataset) == 2 and _is_array_of_images(dataset[0]):
    dataset, labels = dataset
  if _is_array_of_images(dataset):
    found = _of_images(np.asarray(dataset))
  else:
    found = _of_examples(_each(dataset))
  if labels is None:
    return found
  given = np.asarray(labels)
  if given.shape != (len(found),) or given.dtype.kind not in "iu":
    raise DatasetError(
      f"labels are {given.dtype} of shape {given.shape}: give {len(found)} integers"
    )
  return dataclasses.replace(found, labels=given.astype(np.int64))


def _of_ours(name: str, split: Examples) -> GivenExamples:
  return GivenExamples(name, len(split), split.labels, split.ids, split.pixel_hashes)


def _is_array_of_images(value: Any) -> bool:
  return not isinstance(value, list | tuple) and len(getattr(value, "shape", ())) in (3, 4)


def _of_images(images: np.ndarray) -> GivenExamples:
  return GivenExamples(
    f"the array of {len(images):,} images", len(images), pixel_hashes=_hash(images)
  )


def _hash(images: Iterable[Any]) -> np.ndarray:
  hashes = [pixel_hash(_pixels(image, number)) for number, image in enumerate(images)]
  return np.array(hashes, dtype=f"S{HASH_LENGTH}")


def _each(dataset: Any) -> Iterator[Any]:
  """Yields the examples of a data set that may not be iterable, as torchvision's are not."""
  if hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):
    return (dataset[number] for number in range(len(dataset)))
  if isinstance(dataset, Iterable):
    return iter(dataset)
  raise DatasetError(
    f"{type(dataset).__name__} is no data set: give a spec, an array of images, or a sequence of "
    "(image, label), dicts or file names"
  )


def _of_examples(examples: Iterator[Any]) -> GivenExamples:
  labels: list[Any] = []
  ids: list[Any] = []
  hashes: list[str] = []
  count = 0
  for number, example in enumerate(examples):
    image, label, name = _parts(example, number)
    count += 1
    if image is not None:
      hashes.append(pixel_hash(_pixels(image, number)))
    if label is not None:
      labels.append(label)
    if name is not None:
      ids.append(name)
  for what, values in (("a label", labels), ("an id", ids), ("an image", hashes)):
    if values and len(values) < count:
      raise DatasetError(f"{len(values):,} of {count:,} examples have {what}: give each one")
  return GivenExamples(
    f"the data set of {count:,} examples",
    count,
    np.array(labels, np.int64) if labels else None,
    np.array(ids, str) if ids else None,
    np.array(hashes, f"S{HASH_LENGTH}") if hashes else None,
  )


def _parts(example: Any, number: int) -> tuple[Any, int | None, str | None]:
  """Returns image, label and name of an example, each if it has one."""
  if isinstance(example, bytes):
    return None, None, example.decode()
  if isinstance(example, str | os.PathLike):
    return None, None, os.fspath(example)
  if isinstance(example, Mapping):
    image, label, name = (
      next((example[key] for key in keys if key in example), None)
      for keys in (_IMAGES, _LABELS, _IDS)
    )
    if image is None and name is None:
      raise DatasetError(
        f"example {number} has the keys {', '.join(map(str, example))}: give an image "
        f"({' or '.join(_IMAGES)}) or an id ({' or '.join(_IDS)})"
      )
    return image, _label(label, number), None if name is None else str(name)
  if isinstance(example, tuple | list) and len(example) == 2:
    return example[0], _label(example[1], number), None
  raise DatasetError(
    f"example {number} is of type {type(example).__name__}: give (image, label), a dict or a file "
    "name"
  )


def _label(value: Any, number: int) -> int | None:
  if value is None:
    return None
  array = np.asarray(value)
  if array.ndim or array.dtype.kind not in "iu":
    raise DatasetError(f"the label of example {number} is {value!r:.80}: give the class's number")
  return int(array)


def _pixels(image: Any, number: int) -> np.ndarray:
  mode = getattr(image, "mode", None)
  if mode not in (None, "L", "RGB"):
    raise DatasetError(f"image {number} is of PIL's mode {mode}: convert it to L or RGB")
  pixels = np.asarray(image)
  if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
    raise DatasetError(
      f"image {number} is {pixels.dtype} of shape {pixels.shape}: give uint8 pixels, as they are "
      "before any transform"
    )
  if pixels.ndim == 3 and pixels.shape[0] in _CHANNELS and pixels.shape[-1] not in _CHANNELS:
    raise DatasetError(
      f"image {number} has shape {pixels.shape}, with its channels first: give "
      "np.moveaxis(image, 0, -1)"
    )
  return pixels
