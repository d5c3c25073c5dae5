"""Names of examples: file names, which are written in several ways, and numbered ids."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

_IMAGE_SUFFIX = re.compile(r"\.(jpe?g|png|bmp|gif|tiff?|webp)$", re.IGNORECASE)
_NUMBERED = re.compile(r"(train|test)_(\d{1,15})", re.ASCII)


def plain_names(names: Sequence[str]) -> np.ndarray:
  """Returns file names as they can be compared, str [n].

  They are without the suffix of an image, and without directories where they differ without:
  published ones come with and without either.
  """
  paths = [_IMAGE_SUFFIX.sub("", name) for name in names]
  stems = [path.rpartition("/")[2] for path in paths]
  return np.array(stems if len(set(stems)) == len(stems) else paths, dtype=str)


def original_numbers(ids: np.ndarray, split: str) -> np.ndarray | None:
  """Returns the places in the original files that ids such as TFDS's `train_16399` give.

  Args:
    ids: str [n], of one split.
    split: `train` or `test`.

  Returns:
    int64 [n]; None if the ids are of another kind.
  """
  matches = [_NUMBERED.fullmatch(name) for name in ids.tolist()]
  if not all(match and match[1] == split for match in matches):
    return None
  return np.array([int(match[2]) for match in matches if match], dtype=np.int64)
