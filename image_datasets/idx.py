"""`idx:DIR`: the file format of MNIST, Fashion-MNIST, KMNIST, EMNIST and their kin."""

import itertools
import math
import re
import struct
from collections.abc import Collection, Iterator, Sequence

import numpy as np

import files
from files import inflate
from image_datasets import emnist
from image_datasets.checks import checked_dataset
from image_datasets.dataset import ImageDataset
from image_datasets.doubts import left_out
from image_datasets.errors import DatasetError, explained
from image_datasets.members import ADVICE, Naming, find_members
from image_datasets.names import NEEDED, VALIDATION, Slot, recognize

_DIMENSIONS = {"images": (3, 4), "labels": (1,)}
_UNSIGNED_BYTE = 0x08
_GZIP = b"\x1f\x8b"
_DAMAGED = "the file is damaged, fetch it again"
_FILE = re.compile(r"(?P<stem>.+)[-.]idx\d-ubyte(\.gz)?")


def load(path: str) -> ImageDataset:
  """Loads the four files of an MNIST-like data set.

  They are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
  `t10k-labels-idx1-ubyte`, or the same with `.idx3-ubyte` for `-idx3-ubyte`, each with or
  without `.gz`, or in a directory of that name. Images of more than one channel are `idx4`:
  [n, height, width, channels]. All may begin with the name of the data set, as
  `emnist-letters-test-images-idx3-ubyte.gz` does. Examples keep the files' order.

  Args:
    path: the directory, or it and the name that the files begin with: `DIR/emnist-letters`.

  Raises:
    DatasetError: if a file is missing, damaged or cut short, or if they do not go together.
  """
  members = find_members(path, _NAMING)
  arrays = {slot: _load_array(members.paths[slot], slot.role) for slot in NEEDED}
  if emnist.is_emnist(members.name):
    arrays = emnist.as_mnist(members.name, arrays)
  names = emnist.class_names(members.name)
  return checked_dataset(
    f"idx:{path}",
    train=(arrays[Slot("train", "images")], arrays[Slot("train", "labels")]),
    test=(arrays[Slot("test", "images")], arrays[Slot("test", "labels")]),
    num_classes=len(names) if names else None,
    class_names=names,
    warnings=left_out(f"idx:{path}", members.paths.get(VALIDATION)),
  )


def parse_idx(content: bytes, path: str, dimensions: Collection[int]) -> np.ndarray:
  """Returns the array in an IDX file of unsigned bytes, read-only.

  The format is from http://yann.lecun.com/exdb/mnist/: two zero bytes, the element type, the
  number of dimensions, the size of each as a big-endian uint32, then the elements.

  Args:
    content: the whole file, gzipped or not; what it unpacks to takes no more memory than its header
      promises, and that no more than images may.
    path: named in errors.
    dimensions: the numbers of dimensions that are welcome.

  Raises:
    DatasetError: if the magic number or the length is wrong, or the header promises too much.
  """
  if content[:2] == _GZIP:
    with explained(path, _DAMAGED):
      return _parse_packed(content, path, dimensions)
  shape = _parse_header(content, path, dimensions)
  return _as_array(content, path, shape)


def _parse_packed(content: bytes, path: str, dimensions: Collection[int]) -> np.ndarray:
  """Unpacks a file as far as its header promises, and a little more if there is more."""
  blocks = inflate.gunzip_blocks([content])
  unpacked = bytearray()
  damage: inflate.InflateError | None = None
  try:
    while len(unpacked) < _header_bytes(max(dimensions)):
      unpacked += next(blocks)
    shape = _parse_header(unpacked, path, dimensions)
    expected = _header_bytes(len(shape)) + math.prod(shape)
    if expected > inflate.ordinary_limit(len(content)):
      raise DatasetError(
        f"{path}: its {len(content):,} bytes promise {expected:,} for shape {shape}, more than "
        "images unpack to: unpack it with gunzip if you trust it"
      )
    while len(unpacked) <= expected:
      unpacked += next(blocks)
  except StopIteration:
    pass  # whether that was too early, the length tells
  except inflate.InflateError as error:
    if len(unpacked) < _header_bytes(max(dimensions)):
      raise
    damage = error  # the lengths say more, if they differ
  shape = _parse_header(unpacked, path, dimensions)
  array = _as_array(memoryview(unpacked).toreadonly(), path, shape)
  if damage:
    raise damage
  return array


def _as_array(content: bytes | memoryview, path: str, shape: tuple[int, ...]) -> np.ndarray:
  start = _header_bytes(len(shape))
  expected = start + math.prod(shape)
  if len(content) != expected:
    raise DatasetError(
      f"{path}: expected {expected} bytes for shape {shape}, found {len(content)}: {_DAMAGED}"
    )
  return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _header_bytes(dimensions: int) -> int:
  return 4 + 4 * dimensions


def _parse_header(
  start: bytes | bytearray, path: str, dimensions: Collection[int]
) -> tuple[int, ...]:
  """Returns the shape that a file's first bytes promise."""
  magics = [struct.pack(">HBB", 0, _UNSIGNED_BYTE, n) for n in dimensions]
  if start[:4] not in magics:
    expected = " or ".join(f"0x{magic.hex()}" for magic in magics)
    raise DatasetError(
      f"{path}: starts with 0x{start[:4].hex()}, expected the magic number {expected}: "
      "give an IDX file of unsigned bytes, gzipped or not"
    )
  if len(start) < _header_bytes(start[3]):
    raise DatasetError(
      f"{path}: expected a header of {_header_bytes(start[3])} bytes, "
      f"found {len(start)}: {_DAMAGED}"
    )
  return struct.unpack_from(f">{start[3]}I", start, offset=4)


def _load_array(path: str, role: str) -> np.ndarray:
  with explained(path, ADVICE):
    content = files.read_bytes(path)
  return parse_idx(content, path, _DIMENSIONS[role])


def _stem(name: str) -> str | None:
  """Returns `train-images` for its file, and for one in a directory that bears the same name."""
  *directories, file = name.split("/")
  stems = [match["stem"] for part in (*directories, file) if (match := _FILE.fullmatch(part))]
  if len(stems) <= len(directories) or len(stems) > 2 or len({*map(recognize, stems)}) > 1:
    return None
  return stems[-1]


def _candidates(name: str, slot: Slot) -> Iterator[str]:
  begin = f"{name}-" if name else ""
  splits = ("train",) if slot.split == "train" else ("test", "t10k") if name else ("t10k", "test")
  for dimensions, split, separator, suffix in itertools.product(
    _DIMENSIONS[slot.role], splits, "-.", ("", ".gz")
  ):
    yield f"{begin}{split}-{slot.role}{separator}idx{dimensions}-ubyte{suffix}"


def _pick(directory: str, slot: Slot, names: Sequence[str]) -> str:
  """Returns a file itself before one in a directory of its name, and a plain one before its .gz."""
  return min(names, key=lambda name: (name.count("/"), name.endswith(".gz"), name))


_NAMING = Naming("idx", _stem, _candidates, _pick)
