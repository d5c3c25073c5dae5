"""Where each example of a split lies in its TFRecord files, as a file beside them says."""

import dataclasses
from collections.abc import Sequence

import numpy as np

import files
from files.npz import NUMBERS, STRINGS, NpzError, read_arrays
from image_datasets.errors import DatasetError, explained
from image_datasets.file_index import FileIndex, encode_file_index, prefix_of

MISSING = -1
"""The shard of an example that is in none."""

_PLACES = ("shard", "offset", "length")
_NAMES = ("shard_names", "shard_bytes", "class_names", "features")


@dataclasses.dataclass(eq=False)
class RecordIndex:
  """The examples of a split, by index.

  Attributes:
    file_names: str [n], what each was called.
    labels: int64 [n], from 0.
    shard: int64 [n], the number of its file among `shard_names`; `MISSING` if it is in none.
    offset: int64 [n], of its record's content in the file, in bytes.
    length: int64 [n], of its record's content, in bytes.
    shard_names: str [shards], the files, without their directory.
    shard_bytes: int64 [shards], the size of each.
    class_names: a name per class.
    features: what was read of the records, as `FeatureNames` says it.
  """

  file_names: np.ndarray
  labels: np.ndarray
  shard: np.ndarray
  offset: np.ndarray
  length: np.ndarray
  shard_names: np.ndarray
  shard_bytes: np.ndarray
  class_names: tuple[str, ...]
  features: str

  @classmethod
  def empty(
    cls, size: int, shard_names: Sequence[str], shard_bytes: Sequence[int], features: str
  ) -> "RecordIndex":
    """Returns an index in which all examples are still missing, to be filled in."""
    return cls(
      np.zeros(size, "U1"),
      np.zeros(size, np.int64),
      np.full(size, MISSING),
      np.zeros(size, np.int64),
      np.zeros(size, np.int64),
      np.array(shard_names),
      np.array(shard_bytes),
      (),
      features,
    )

  def __len__(self) -> int:
    return len(self.labels)

  @property
  def missing(self) -> np.ndarray:
    """The examples that are in no file, ascending."""
    return np.flatnonzero(self.shard == MISSING)

  def in_storage_order(self) -> np.ndarray:
    """Returns the examples file by file, as they lie there, int64 [those that are there]."""
    order = np.lexsort((self.offset, self.shard))
    return order[self.shard[order] != MISSING]

  def is_of(self, sizes: dict[str, int], features: str) -> bool:
    """Whether these are its files, sizes by name, read in this way."""
    known = dict(zip(self.shard_names.tolist(), self.shard_bytes.tolist(), strict=True))
    return (sizes, features) == (known, self.features)


def index_path(directory: str, split: str) -> str:
  """Returns where the index of a split lies, beside its files."""
  return files.join(directory, f"{split}-index.npz")


def encode_record_index(split: str, index: RecordIndex) -> bytes:
  """Returns the file of an index: one of file names (see `file_index`), with more arrays."""
  return encode_file_index(
    split,
    FileIndex(index.file_names, index.labels),
    {
      "class_names": np.char.encode(np.array(index.class_names), "utf8"),
      "shard_names": np.char.encode(index.shard_names, "utf8"),
      "shard_bytes": index.shard_bytes,
      "features": np.array(index.features.encode()),
      **{name: getattr(index, name) for name in _PLACES},
    },
  )


def read_record_index(path: str, split: str) -> RecordIndex | None:
  """Returns the index in a file, or None if it is an index of file names and no more.

  Raises:
    DatasetError: it cannot be read, or is no index.
  """
  prefix = prefix_of(split)
  advice = "delete it, and it is made anew"
  with explained(path, advice):
    content = files.read_bytes(path)
  names = (f"{prefix}_filenames", f"{prefix}_labels", *_PLACES, *_NAMES)
  try:
    arrays = read_arrays(content, names, kinds=NUMBERS + STRINGS)
  except NpzError as error:
    raise DatasetError(f"{path}: {error}: {advice}") from error
  if not set(names) <= arrays.keys():
    return None
  with explained(path, advice):
    index = RecordIndex(
      np.char.decode(arrays[names[0]], "utf8"),
      arrays[names[1]].astype(np.int64),
      arrays["shard"].astype(np.int64),
      arrays["offset"].astype(np.int64),
      arrays["length"].astype(np.int64),
      np.char.decode(arrays["shard_names"], "utf8"),
      arrays["shard_bytes"].astype(np.int64),
      tuple(np.char.decode(arrays["class_names"], "utf8").tolist()),
      arrays["features"].item().decode(),
    )
    _check(index)
  return index


def _check(index: RecordIndex) -> None:
  """Raises `ValueError` if its arrays do not go together."""
  lengths = {len(index.file_names), *(len(getattr(index, name)) for name in _PLACES)}
  places: Sequence[bool] = (
    lengths == {len(index)},
    len(index.shard_names) == len(index.shard_bytes),
    not len(index) or MISSING <= index.shard.min() <= index.shard.max() < len(index.shard_names),
    not len(index) or 0 <= index.labels.min() <= index.labels.max() < len(index.class_names),
  )
  if not all(places):
    raise ValueError("its arrays do not go together")
