"""`idx:DIR`: the file format of MNIST, Fashion-MNIST and their kin."""

import itertools
import math
import struct
from collections.abc import Collection

import numpy as np

from image_datasets import files
from image_datasets.dataset import ImageDataset, checked_dataset
from image_datasets.errors import DatasetError

_IMAGE_DIMENSIONS = (3, 4)
_LABEL_DIMENSIONS = (1,)
_UNSIGNED_BYTE = 0x08


def load(directory: str) -> ImageDataset:
  """Loads the four files of an MNIST-like data set.

  They are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
  `t10k-labels-idx1-ubyte`, or the same with `.idx3-ubyte` for `-idx3-ubyte`, each with or
  without `.gz`. Images of more than one channel are `idx4`: [n, height, width, channels].
  Examples keep the files' order.

  Args:
    directory: where they are, on any file system that Beam knows.

  Raises:
    DatasetError: if a file is missing, damaged or cut short, or if they do not go together.
  """
  return checked_dataset(
    f"idx:{directory}",
    train=_load_split(directory, "train"),
    test=_load_split(directory, "t10k"),
  )


def parse_idx(content: bytes, path: str, dimensions: Collection[int]) -> np.ndarray:
  """Returns the array in an IDX file of unsigned bytes, read-only and without a copy.

  The format is from http://yann.lecun.com/exdb/mnist/: two zero bytes, the element type, the
  number of dimensions, the size of each as a big-endian uint32, then the elements.

  Args:
    content: the whole file.
    path: named in errors.
    dimensions: the numbers of dimensions that are welcome.

  Raises:
    DatasetError: if the magic number or the length is wrong.
  """
  magics = [struct.pack(">HBB", 0, _UNSIGNED_BYTE, n) for n in dimensions]
  if content[:4] not in magics:
    expected = " or ".join(f"0x{magic.hex()}" for magic in magics)
    raise DatasetError(
      f"{path}: starts with 0x{content[:4].hex()}, expected the magic number {expected}: "
      "give an unpacked IDX file of unsigned bytes, or a gzipped one named .gz"
    )
  header_bytes = 4 + 4 * content[3]
  if len(content) < header_bytes:
    raise DatasetError(
      f"{path}: expected a header of {header_bytes} bytes, found {len(content)}: "
      "the file was cut short, fetch it again"
    )
  shape = struct.unpack_from(f">{content[3]}I", content, offset=4)
  expected_bytes = header_bytes + math.prod(shape)
  if len(content) != expected_bytes:
    raise DatasetError(
      f"{path}: expected {expected_bytes} bytes for shape {shape}, found {len(content)}: "
      "the file is damaged, fetch it again"
    )
  return np.frombuffer(content, dtype=np.uint8, offset=header_bytes).reshape(shape)


def _load_split(directory: str, split: str) -> tuple[np.ndarray, np.ndarray]:
  images = _load_array(directory, f"{split}-images", _IMAGE_DIMENSIONS)
  labels = _load_array(directory, f"{split}-labels", _LABEL_DIMENSIONS)
  return images, labels


def _load_array(directory: str, stem: str, dimensions: Collection[int]) -> np.ndarray:
  names = (
    f"{stem}{separator}idx{n}-ubyte{suffix}"
    for n, separator, suffix in itertools.product(dimensions, "-.", ("", ".gz"))
  )
  path = files.find_file(directory, names)
  return parse_idx(files.read_bytes(path), path, dimensions)
