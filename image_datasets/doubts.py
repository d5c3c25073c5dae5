"""What can be read, but was likely not meant: a sentence for each, which the user gets to see."""

from collections.abc import Iterator

import numpy as np

from image_datasets.dataset import ImageDataset, LabeledImages
from image_datasets.interface import Dataset

_SHOWN = 5
_CHUNK = 4096


def find_doubts(dataset: ImageDataset) -> Iterator[str]:
  """Yields a sentence for each thing that is likely a mistake: what, where, what to do.

  Each looks at all images or labels; 60,000 images of 28×28 take a tenth of a second.
  """
  for find in (_of_channels, _of_classes, _of_brightness, _of_copies):
    for doubt in find(dataset):
      yield f"{dataset.spec}: {doubt}"


def find_label_doubts(dataset: Dataset) -> Iterator[str]:
  """Yields a sentence for each thing that labels alone show to be likely a mistake."""
  for doubt in _of_classes(dataset):
    yield f"{dataset.spec}: {doubt}"


def left_out(spec: str, validation: str | None) -> tuple[str, ...]:
  """Returns the sentence about a validation split that is there but not read; None: there is none.

  Args:
    spec: of the data set.
    validation: what the split is called.
  """
  if validation is None:
    return ()
  return (
    f"{spec}: the validation split {validation} is left out: examples are counted in the training "
    "split alone; concatenate both and write them again if models are to train on both",
  )


def _splits(dataset: ImageDataset) -> dict[str, LabeledImages]:
  return {"training": dataset.train, "test": dataset.test}


def _of_channels(dataset: ImageDataset) -> Iterator[str]:
  channels = dataset.image_shape[-1]
  if channels not in (1, 3):
    shown = "first alone, in grey" if channels == 2 else "first three alone, as RGB"
    yield (
      f"images of shape {dataset.image_shape} have {channels} channels: models see all, pictures "
      f"show the {shown}; if the last axis is not that of the channels, move it there"
    )


def _of_classes(dataset: Dataset) -> Iterator[str]:
  in_train, in_test = (
    np.bincount(split.labels, minlength=dataset.num_classes)
    for split in (dataset.train, dataset.test)
  )
  if dataset.num_classes == 1:
    yield "all labels are 0: there is one class only, so nothing can be learned or memorized"
  elif dataset.num_classes > 1 and not in_train[0] + in_test[0] and in_train[1:].all():
    yield "no label is 0: if they count from 1, subtract 1, or models get a class without examples"
  elif missing := _some(np.flatnonzero(in_train == 0)):
    yield (
      f"of {dataset.num_classes} classes, these have no training example: {missing}; "
      "no model can learn them: check the labels and the number of classes"
    )
  if missing := _some(np.flatnonzero((in_test == 0) & (in_train > 0))):
    yield (
      f"of {dataset.num_classes} classes, these have no test example: {missing}; "
      "nothing in them can be influenced: check the split"
    )
  if in_train.max() == 1 and len(dataset.train) > 1:
    yield "no two training examples share a class: are the labels numbers of examples?"


def _of_brightness(dataset: ImageDataset) -> Iterator[str]:
  pixel_max = dataset.pixel_max
  brightest = {name: int(split.images.max()) for name, split in _splits(dataset).items()}
  if (reached := max(brightest.values())) > pixel_max:
    yield (
      f"pixels reach {reached} where {pixel_max:g} normalises to 1: check the pixel value that "
      "means 1"
    )
  if dark := [name for name, value in brightest.items() if 4 * value < pixel_max]:
    which = f"{dark[0]} " if len(dark) == 1 else ""
    yield (
      f"no {which}pixel exceeds {max(brightest[name] for name in dark)} where {pixel_max:g} "
      "normalises to 1, so models see almost black: give the pixel value that means 1, or scale up "
      "before rounding to uint8"
    )


def _of_copies(dataset: ImageDataset) -> Iterator[str]:
  hashes: dict[str, list[int]] = {}
  for name, split in _splits(dataset).items():
    is_constant, hashes[name] = _examine(split)
    if constant := _some(np.flatnonzero(is_constant)):
      yield (
        f"{name} images of one value throughout, at {constant}: are they missing, or cut off while "
        "they were converted?"
      )
  known, total = set(hashes["training"]), len(hashes["test"])
  if 2 * len(known) <= len(dataset.train):
    yield (
      f"{len(dataset.train)} training images are only {len(known)} different ones: what has a copy "
      "is not held out, and looks as if it were never memorized"
    )
  seen = sum(pixels in known for pixels in hashes["test"])
  if 2 * seen >= total:
    yield (
      f"{seen} of {total} test images are training images too: test accuracy and influence then "
      "measure what was memorized; give images that are in no training set"
    )


def _examine(split: LabeledImages) -> tuple[np.ndarray, list[int]]:
  """Returns whether each image is of one value (bool [n]), and a hash of each one's pixels."""
  constant: list[np.ndarray] = []
  hashes: list[int] = []
  for start in range(0, len(split), _CHUNK):
    images = split.images[start : start + _CHUNK]
    pixels = np.ascontiguousarray(images).reshape(len(images), -1)
    constant.append(pixels.min(axis=1) == pixels.max(axis=1))
    hashes.extend(hash(image.tobytes()) for image in pixels)
  return np.concatenate(constant), hashes


def _some(indices: np.ndarray) -> str:
  """Returns the first few indices as text; nothing for none."""
  shown = ", ".join(map(str, indices[:_SHOWN]))
  return f"{shown}, … ({len(indices)} in all)" if len(indices) > _SHOWN else shown
