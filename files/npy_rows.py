"""Rows of `.npy` files of any size, on any file system: read by ranges, written one by one.

Unlike `np.memmap` this holds no more than the rows that are asked for, trusts no header, and a file
that is cut short while it is read is an error, not the end of the process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from files import file_system
from files.errors import UsageError
from files.npy_header import MOST_BYTES, Header, HeaderError, parse_header
from files.npz import NUMBERS
from files.systems import file_system as system_of


class NpyRows(NamedTuple):
  """An array in a file, the first axis of which counts rows.

  Attributes:
    path: the file.
    header: what it says, which was held against the file's size.
  """

  path: str
  header: Header

  @classmethod
  def open(cls, path: str, *, kinds: str = NUMBERS) -> NpyRows:
    """Looks at an `.npy` file.

    Args:
      path: the file.
      kinds: the `numpy.dtype.kind`s that are welcome.

    Raises:
      UsageError: it is damaged, of another kind or size, has no rows, or is in Fortran order.
      OSError: it cannot be read, or is no file.
    """
    size = file_system.size(path)
    try:
      header = parse_header(system_of(path).read_range(path, 0, MOST_BYTES), kinds)
    except HeaderError as error:
      raise UsageError(f"{path} {error}") from error
    if header.file_bytes != size:
      raise UsageError(
        f"{path} has {size:,} bytes, and {header.file_bytes:,} according to its header, "
        f"{header.dtype} of shape {header.shape}: it was cut short, or is still being written"
      )
    if not header.shape:
      raise UsageError(f"{path} is a single number: an array has rows")
    if header.fortran_order and sum(length > 1 for length in header.shape) > 1:
      raise UsageError(
        f"{path} is in Fortran order, in which rows lie scattered: "
        "save it again, np.save(path, np.ascontiguousarray(array))"
      )
    return cls(path, header)

  @property
  def shape(self) -> tuple[int, ...]:
    """Of the array."""
    return self.header.shape

  @property
  def dtype(self) -> np.dtype:
    """Of the array, in whatever byte order it is stored."""
    return self.header.dtype

  def read(self, start: int, stop: int) -> np.ndarray:
    """Returns rows, `[stop - start, …]`, of native byte order.

    Raises:
      UsageError: the file is shorter than it was.
      OSError: it cannot be read.
    """
    row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
    first, last = (self.header.start + row * row_bytes for row in (start, stop))
    content = system_of(self.path).read_range(self.path, first, last)
    if len(content) != last - first:
      raise UsageError(f"{self.path} is shorter than it was: it was changed while it was read")
    rows = np.frombuffer(content, self.dtype).reshape(stop - start, *self.shape[1:])
    return rows.astype(self.dtype.newbyteorder("="), copy=False)


@contextmanager
def create_rows(
  path: str, dtype: np.dtype, shape: tuple[int, ...]
) -> Iterator[Callable[[np.ndarray], None]]:
  """Opens an `.npy` file to be written row by row; it appears when all rows are there.

  Yields a function that takes the next row, `[*shape[1:]]`, and casts it to the dtype.

  Args:
    path: the file; what is there is replaced.
    dtype: of the array.
    shape: of the array.

  Raises:
    ValueError: rows are missing or of another shape.
    OSError: it cannot be written.
  """
  written = 0
  with file_system.create(path) as file:
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
    np.lib.format.write_array_header_1_0(file, {**described, "shape": shape})

    def write(row: np.ndarray) -> None:
      nonlocal written
      if row.shape != shape[1:]:
        raise ValueError(f"row {written} of {path} has shape {row.shape}, not {shape[1:]}")
      file.write(np.ascontiguousarray(row, dtype).tobytes())
      written += 1

    yield write
    if written != shape[0]:
      raise ValueError(f"{path} got {written:,} rows, not {shape[0]:,}")
