"""What is different about EMNIST: https://www.nist.gov/itl/products-and-services/emnist-dataset.

Its files are MNIST's format, but their images are stored column by column, so that they look
mirrored and turned, and the labels of its letters count from 1. Its readers all undo both.
"""

import string
from collections.abc import Mapping

import numpy as np

from image_datasets.names import Slot

_MERGED = string.digits + string.ascii_uppercase + "abdefghnqrt"
_CLASSES = {
  "balanced": _MERGED,
  "bymerge": _MERGED,
  "byclass": string.digits + string.ascii_uppercase + string.ascii_lowercase,
  "digits": string.digits,
  "letters": string.ascii_lowercase,
  "mnist": string.digits,
}


def class_names(name: str) -> tuple[str, ...] | None:
  """Returns the classes of one of EMNIST's six data sets, such as `emnist-letters`.

  None for what is not EMNIST's, and for one that is none of the six.
  """
  family, _, variant = name.partition("-")
  classes = _CLASSES.get(variant) if family == "emnist" else None
  return tuple(classes) if classes else None


def is_emnist(name: str) -> bool:
  """Whether a data set's name is one of EMNIST's."""
  return name.partition("-")[0] == "emnist"


def as_mnist(name: str, arrays: Mapping[Slot, np.ndarray]) -> dict[Slot, np.ndarray]:
  """Returns EMNIST's arrays as MNIST has them: images upright, labels that count from 0.

  Args:
    name: of the data set.
    arrays: images uint8 [n, height, width] and labels uint8 [n]. Labels of letters that have a 0
      in any split count from it already.
  """
  labels = [array for slot, array in arrays.items() if slot.role == "labels"]
  counts_from_one = name == "emnist-letters" and all(array.all() for array in labels)
  return {
    slot: np.ascontiguousarray(array.swapaxes(1, 2))
    if slot.role == "images"
    else array - np.uint8(counts_from_one)
    for slot, array in arrays.items()
  }
