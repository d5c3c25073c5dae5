"""NumPy archives held in memory: their arrays as views of bytes that were read and checked once.

`np.load` reads an array in pieces, copies them, and parses every header anew: for thousands of
archives of one layout that takes twice as long.
"""

from __future__ import annotations

import functools
import io
import math
import zipfile
import zlib
from collections.abc import Collection

import numpy as np

_READ_HEADER = {
  (1, 0): np.lib.format.read_array_header_1_0,
  (2, 0): np.lib.format.read_array_header_2_0,
}
# Where the length of the header stands, and the header begins.
_LENGTH = {(1, 0): slice(8, 10), (2, 0): slice(8, 12)}


class NpzError(ValueError):
  """The bytes are no archive of plain arrays, or a damaged one."""


def read_arrays(content: bytes, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
  """Returns the arrays of an `.npz` file by name; they cannot be written to.

  Args:
    content: the file.
    names: the arrays to return if they are there. None: all.

  Raises:
    NpzError: the file is truncated, damaged or no archive, or an array is of objects.
  """
  try:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
      members = {member.removesuffix(".npy"): member for member in archive.namelist()}
      return {
        name: _view(archive.read(member))
        for name, member in members.items()
        if names is None or name in names
      }
  except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, TypeError) as error:
    raise NpzError(str(error).partition("\n")[0] or type(error).__name__) from error


def _view(content: bytes) -> np.ndarray:
  version = np.lib.format.read_magic(io.BytesIO(content))
  if version not in _READ_HEADER:
    raise ValueError(f"an array is in version {version[0]}.{version[1]} of NumPy's format")
  length = _LENGTH[version]
  start = length.stop + int.from_bytes(content[length], "little")
  shape, fortran, dtype = _parse_header(version, content[:start])
  if dtype.hasobject:
    raise ValueError("an array is of Python objects")
  values = np.frombuffer(content, dtype, count=math.prod(shape), offset=start)
  return values.reshape(shape, order="F" if fortran else "C")


@functools.lru_cache(maxsize=1024)
def _parse_header(
  version: tuple[int, int], header: bytes
) -> tuple[tuple[int, ...], bool, np.dtype]:
  stream = io.BytesIO(header)
  np.lib.format.read_magic(stream)
  return _READ_HEADER[version](stream)
