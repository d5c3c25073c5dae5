"""Headers of `.npy` files: what an array is, checked before a byte of it is touched.

`numpy.lib.format` evaluates whatever stands in a header, up to 10,000 characters of nested
expressions. Here a header of anything but one array of numbers, booleans or strings is an error.
"""

from __future__ import annotations

import ast
import functools
import math
import re
from typing import NamedTuple

import numpy as np

# The most bytes from the start of a file that `parse_header` looks at.
MOST_BYTES = 12 + 10_000  # as many characters as NumPy accepts

_MAGIC = b"\x93NUMPY"
# Where the length of the header stands, and what its text is encoded in.
_VERSIONS = {
  (1, 0): (slice(8, 10), "latin1"),
  (2, 0): (slice(8, 12), "latin1"),
  (3, 0): (slice(8, 12), "utf8"),
}
# Tokens of literals, no operators: with few brackets, what is made of them is evaluated safely.
_LITERALS = re.compile(
  r"""(?:'[^'\\\n]*'|"[^"\\\n]*"|True|False|[0-9]{1,40}(?![0-9])|[()\[\]{},:\s])*+"""
)
_MOST_BRACKETS = 64
_LONG = re.compile(r"\b([0-9]+)L\b")  # how Python 2 wrote sizes
_PLAIN = re.compile(r"[<>=|]?(?:\?|[a-zA-Z][a-zA-Z]{0,10}[0-9]{0,10}(?:\[[0-9a-zA-Z]{1,10}\])?)")
_KINDS = {
  "O": "of Python objects",
  "V": "of raw or structured records",
  "c": "of complex numbers",
  "m": "of time spans",
  "M": "of dates",
  "S": "of strings",
  "U": "of strings",
}


class HeaderError(ValueError):
  """A header is damaged, or describes no array of the kinds asked for; the message says which."""


class Header(NamedTuple):
  """What an array is.

  Attributes:
    dtype: as stored; its byte order may be foreign.
    shape: sizes that are not negative and fit the machine's integers.
    fortran_order: whether the first axis varies fastest.
    start: where in the file the values begin.
  """

  dtype: np.dtype
  shape: tuple[int, ...]
  fortran_order: bool
  start: int

  @property
  def file_bytes(self) -> int:
    """How long the whole file is if it is sound."""
    return self.start + math.prod(self.shape) * self.dtype.itemsize


def parse_header(content: bytes, kinds: str) -> Header:
  """Returns the header of an `.npy` file.

  Args:
    content: the file, or at least its first `MOST_BYTES`.
    kinds: the `numpy.dtype.kind`s that are welcome, of `biufSU`.

  Raises:
    HeaderError: it is damaged, or the array's dtype is of another kind.
  """
  if not content.startswith(_MAGIC):
    raise HeaderError("is no array in NumPy's format")
  version = (*content[6:8],)
  if len(version) < 2 or version not in _VERSIONS:
    raise HeaderError(f"is in version {'.'.join(map(str, version))} of NumPy's format")
  where, encoding = _VERSIONS[version]
  start = where.stop + int.from_bytes(content[where], "little")
  if start > MOST_BYTES:
    raise HeaderError(f"has a header of {start:,} bytes: NumPy accepts {MOST_BYTES:,}")
  if start > len(content):
    raise HeaderError("ends within its header: it was cut short")
  dtype, shape, fortran_order = _parse(content[where.stop : start], encoding)
  if dtype.kind not in kinds:
    raise HeaderError(f"is {_KINDS.get(dtype.kind, f'of {dtype}')}")
  return Header(dtype, shape, fortran_order, start)


@functools.lru_cache(maxsize=1024)
def _parse(content: bytes, encoding: str) -> tuple[np.dtype, tuple[int, ...], bool]:
  try:
    text = _LONG.sub(r"\1", content.decode(encoding))
    if not _LITERALS.fullmatch(text) or sum(map(text.count, "([{")) > _MOST_BRACKETS:
      raise ValueError
    fields = ast.literal_eval(text.strip())
    descr, shape, fortran_order = (fields.pop(key) for key in ("descr", "shape", "fortran_order"))
    if fields or not isinstance(fortran_order, bool):
      raise ValueError
    if not isinstance(shape, tuple) or not all(type(size) is int for size in shape):
      raise ValueError
  except (ValueError, SyntaxError, TypeError, KeyError, AttributeError) as error:
    excerpt = content[:100].decode("latin1").strip()
    raise HeaderError(f"has a damaged header: {excerpt!r}") from error
  return _parse_dtype(descr), _checked_shape(shape), fortran_order


def _parse_dtype(descr: object) -> np.dtype:
  if not isinstance(descr, str):
    return np.dtype("V1")  # a structure, or an array within each element
  try:
    if not _PLAIN.fullmatch(descr):
      raise TypeError
    dtype = np.dtype(descr)
  except (TypeError, ValueError) as error:
    raise HeaderError(f"is of the unknown dtype {descr[:40]!r}") from error
  if not dtype.itemsize:
    raise HeaderError(f"is of dtype {descr!r}, which takes no bytes")
  return dtype


def _checked_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
  # The empty sides count as well: NumPy multiplies the others.
  sizes = math.prod(size for size in shape if size)
  if len(shape) > 32 or sizes > np.iinfo(np.int64).max // 1024:
    excerpt = str(shape)
    excerpt = excerpt if len(excerpt) <= 60 else f"{excerpt[:60]}…"
    raise HeaderError(f"has the shape {excerpt}, which no memory holds")
  return shape
