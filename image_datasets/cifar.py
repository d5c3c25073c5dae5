"""`cifar:DIR`: CIFAR-10 and CIFAR-100 as published, in Python's or in the binary version.

Both are described at https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

import files
from image_datasets.checks import checked_dataset
from image_datasets.dataset import ImageDataset
from image_datasets.errors import DatasetError, explained
from image_datasets.members import ADVICE, list_names
from image_datasets.pickles import as_uint8_array, read_pickle

_SHAPE = (3, 32, 32)  # as stored; the red plane first, each row by row
_PIXELS = 3 * 32 * 32
_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
_DAMAGED = "the file is damaged, fetch it again"

_Split = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Version:
  """One of the four published archives.

  Attributes:
    directory: what it unpacks to.
    train: the files of the training set, in order.
    test: the file of the test set.
    names: the file of the classes' names.
    num_classes: 10 or 100; the fine ones.
    read_batch: from a file's content to stored pixels uint8 [n, 3072] and labels [n].
    read_names: from the content of `names` to them.
  """

  directory: str
  train: tuple[str, ...]
  test: str
  names: str
  num_classes: int
  read_batch: Callable[[bytes], _Split]
  read_names: Callable[[bytes], list[str]]


def load(directory: str) -> ImageDataset:
  """Loads CIFAR-10 or CIFAR-100; the classes of the latter are the 100 fine ones.

  Examples keep the order of the files, which is that of the published C-scores. The pickles of
  Python's version are read without importing or calling what they name.

  Args:
    directory: what one of the published archives unpacks to, such as `cifar-10-batches-py`, or the
      directory that holds it.

  Raises:
    DatasetError: if a file is missing or damaged, or if there are several versions.
  """
  with explained(directory, ADVICE):
    place, version = _find(directory)
  train = [_load_batch(version, files.join(place, name)) for name in version.train]
  return checked_dataset(
    f"cifar:{directory}",
    train=(np.concatenate([x for x, _ in train]), np.concatenate([y for _, y in train])),
    test=_load_batch(version, files.join(place, version.test)),
    num_classes=version.num_classes,
    class_names=_load_names(version, files.join(place, version.names)),
  )


def _find(directory: str) -> tuple[str, _Version]:
  """Returns where the files are, and which version they are."""
  found = [
    (place, version)
    for version in _VERSIONS
    for place in (directory, files.join(directory, version.directory))
    if all(files.exists(files.join(place, name)) for name in (version.train[0], version.test))
  ]
  if len(found) > 1:
    specs = ", ".join(f"cifar:{place}" for place, _ in found)
    raise DatasetError(f"{directory}: holds {len(found)} versions of CIFAR; choose one of {specs}")
  if not found:
    raise DatasetError(f"{directory}: {_what_else(directory)}")
  return found[0]


def _what_else(directory: str) -> str:
  """Says what is there in place of CIFAR."""
  names = list_names(directory)
  for name in (directory, *names):
    if name.endswith((".tar.gz", ".tgz", ".tar")):
      what = "is an archive" if name == directory else f"holds the archive {name}"
      return f"{what}: unpack it with tar -xf and give the directory"
  if files.exists(directory) and not names:
    return "is a file, or empty: give the directory that holds all files"
  known = ", ".join(version.directory for version in _VERSIONS)
  return f"is and holds none of {known}; {ADVICE}"


def _load_batch(version: _Version, path: str) -> _Split:
  """Returns images uint8 [n, 32, 32, 3] and labels int64 [n]."""
  with explained(path, ADVICE):
    content = files.read_bytes(path)
  with explained(path, _DAMAGED):
    pixels, labels = version.read_batch(content)
    if pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
      raise ValueError(f"pixels of shape {pixels.shape}, expected (n, {_PIXELS})")
    images = pixels.reshape(-1, *_SHAPE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels


def _load_names(version: _Version, path: str) -> list[str] | None:
  """Returns the names of the classes; without their file, the classes are numbers."""
  with explained(path, ADVICE):
    if not files.exists(path):
      return None
    content = files.read_bytes(path)
  with explained(path, _DAMAGED):
    return version.read_names(content)


def _read_dictionary(content: bytes) -> dict[str, Any]:
  value = read_pickle(content)
  if not isinstance(value, dict):
    raise ValueError("a pickle without a dictionary")
  return value


def _read_pickled_batch(key: str) -> Callable[[bytes], _Split]:
  def read(content: bytes) -> _Split:
    value = _read_dictionary(content)
    labels = value.get(key)
    if "data" not in value or not isinstance(labels, list):
      raise ValueError(f"a pickle without data and {key}, only {', '.join(value)[:200]}")
    if not all(type(label) is int and 0 <= label < 256 for label in labels):
      raise ValueError("labels that are no numbers of classes")
    return as_uint8_array(value["data"]), np.array(labels, np.int64)

  return read


def _read_pickled_names(key: str) -> Callable[[bytes], list[str]]:
  def read(content: bytes) -> list[str]:
    names = _read_dictionary(content).get(key)
    if not isinstance(names, list) or not all(isinstance(name, str | bytes) for name in names):
      raise ValueError(f"a pickle without {key}")
    return [name.decode() if isinstance(name, bytes) else name for name in names]

  return read


def _read_binary_batch(label_bytes: int) -> Callable[[bytes], _Split]:
  def read(content: bytes) -> _Split:
    record_bytes = label_bytes + _PIXELS
    if len(content) % record_bytes:
      raise ValueError(f"{len(content)} bytes are no multiple of {record_bytes}, those of an image")
    records = np.frombuffer(content, np.uint8).reshape(-1, record_bytes)
    return records[:, label_bytes:], records[:, label_bytes - 1].astype(np.int64)

  return read


def _read_lines(content: bytes) -> list[str]:
  return content.decode().split()


_VERSIONS = (
  _Version(
    "cifar-10-batches-py",
    train=_BATCHES,
    test="test_batch",
    names="batches.meta",
    num_classes=10,
    read_batch=_read_pickled_batch("labels"),
    read_names=_read_pickled_names("label_names"),
  ),
  _Version(
    "cifar-10-batches-bin",
    train=tuple(f"{name}.bin" for name in _BATCHES),
    test="test_batch.bin",
    names="batches.meta.txt",
    num_classes=10,
    read_batch=_read_binary_batch(1),
    read_names=_read_lines,
  ),
  _Version(
    "cifar-100-python",
    train=("train",),
    test="test",
    names="meta",
    num_classes=100,
    read_batch=_read_pickled_batch("fine_labels"),
    read_names=_read_pickled_names("fine_label_names"),
  ),
  _Version(
    "cifar-100-binary",
    train=("train.bin",),
    test="test.bin",
    names="fine_label_names.txt",
    num_classes=100,
    read_batch=_read_binary_batch(2),
    read_names=_read_lines,
  ),
)
