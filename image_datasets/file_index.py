"""`imagenet_index.npz` and its kin: which file is which example of a campaign."""

import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

import files
from files.npz import NUMBERS, STRINGS, NpzError, read_arrays
from image_datasets.errors import DatasetError, explained

_PREFIXES = {"train": "tr", "validation": "tt"}
_OF_TEST = _PREFIXES["validation"]  # whatever the split is called
SPLITS = tuple(_PREFIXES)


class FileIndex(NamedTuple):
  """The files of a split in the order of its examples.

  Attributes:
    names: str [n], file names, with folders or without.
    labels: int64 [n], from 0.
  """

  names: np.ndarray
  labels: np.ndarray


def read_file_index(path: str) -> dict[str, FileIndex]:
  """Returns the splits of an index file: arrays `tr_filenames, tr_labels, tt_filenames, tt_labels`.

  Either pair may be missing; other arrays, such as `tr_mem`, are passed over. Names may be texts or
  bytes.

  Raises:
    DatasetError: it cannot be read, or is no such file.
  """
  with explained(path, "check the path and your access to it"):
    content = files.read_bytes(path)
  names = [f"{prefix}_{what}" for prefix in _PREFIXES.values() for what in ("filenames", "labels")]
  try:
    arrays = read_arrays(content, names, kinds=NUMBERS + STRINGS)
  except NpzError as error:
    raise DatasetError(f"{path}: {error}: write it with numpy.savez, names as texts") from error
  return {
    split: _file_index(path, prefix, arrays)
    for split, prefix in _PREFIXES.items()
    if f"{prefix}_filenames" in arrays
  }


def encode_file_index(split: str, index: FileIndex, more: Mapping[str, np.ndarray]) -> bytes:
  """Returns an index file of one split, and whatever other arrays go into it."""
  prefix = prefix_of(split)
  arrays: dict[str, Any] = {
    f"{prefix}_filenames": np.char.encode(index.names, "utf8"),
    f"{prefix}_labels": index.labels,
    **more,
  }
  buffer = io.BytesIO()
  np.savez_compressed(buffer, **arrays)
  return buffer.getvalue()


def prefix_of(split: str) -> str:
  """Returns what the arrays of a split begin with."""
  return _PREFIXES.get(split, _OF_TEST)


def _file_index(path: str, prefix: str, arrays: dict[str, np.ndarray]) -> FileIndex:
  names, labels = arrays[f"{prefix}_filenames"], arrays.get(f"{prefix}_labels")
  if labels is None or labels.shape != names.shape or names.ndim != 1 or not len(names):
    raise DatasetError(
      f"{path}: {prefix}_filenames and {prefix}_labels must be one name and one label for each "
      "example"
    )
  if labels.dtype.kind not in "iu" or names.dtype.kind not in STRINGS or labels.min() < 0:
    raise DatasetError(
      f"{path}: {prefix}_filenames are {names.dtype} and {prefix}_labels {labels.dtype}: "
      "give texts and integers from 0"
    )
  if names.dtype.kind == "S":
    with explained(f"{path}: {prefix}_filenames", "write them as texts, or in UTF-8"):
      names = np.char.decode(names, "utf8")
  return FileIndex(names, labels.astype(np.int64))
