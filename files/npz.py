"""NumPy's `.npz` and `.npy` files held in memory: plain arrays, read fast and with suspicion.

`np.load` reads an array in pieces, copies them, and parses every header anew: for thousands of
archives of one layout that takes twice as long. It also takes whatever memory a file asks for.

Here only the arrays that are asked for are looked at, whatever else is in the archive. An array is
unpacked once its header, the archive's directory and the caller's limit agree on its size. Nothing
is ever unpickled or evaluated. Whatever the bytes are, the outcome is arrays or an `NpzError`.
"""

from __future__ import annotations

import io
import itertools
import struct
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection

import numpy as np

from files.inflate import InflateError, inflate_exactly, inflate_start, ordinary_limit
from files.npy_header import MOST_BYTES, Header, HeaderError, parse_header

NUMBERS = "biuf"
STRINGS = "SU"

_SUFFIX = ".npy"
_MOST_DIRECTORY_BYTES = 1 << 20  # of some ten thousand arrays
_LOCAL_HEADER = struct.Struct("<4s2xH18xHH")  # signature, flags, lengths of the name and extras
_LOCAL_SIGNATURE = b"PK\3\4"
_ENCRYPTED = 0x1
_UTF8 = 0x800


class NpzError(ValueError):
  """The bytes are no sound archive of plain arrays; the message names the array that is wrong."""


def list_arrays(content: bytes) -> list[str]:
  """Returns the names of the arrays in an `.npz` file, whatever they are, in the file's order.

  Raises:
    NpzError: the file is truncated, damaged or no archive.
  """
  return [_array_name(member) for member in _list_members(content)]


def read_arrays(
  content: bytes,
  names: Collection[str] | None = None,
  *,
  kinds: str = NUMBERS,
  limit: int | None = None,
) -> dict[str, np.ndarray]:
  """Returns arrays of an `.npz` file by name; they cannot be written to, and are of native order.

  Args:
    content: the file.
    names: the arrays to return if they are there; others are not even looked at. None: all.
    kinds: the `numpy.dtype.kind`s that are welcome: of booleans and real numbers, unless told
      otherwise. Python objects and structures are always refused.
    limit: the most bytes that the arrays, unpacked, may have together. None:
      `inflate.ordinary_limit` of the file's size, which only a bomb exceeds.

  Raises:
    NpzError: the file is truncated, damaged or no archive; or one of the arrays is encrypted,
      packed in an unusual way, there twice, of another kind, not as large as it says, or too large.
  """
  members = [
    member for member in _list_members(content) if names is None or _array_name(member) in names
  ]
  _check_apart(members)
  limit = ordinary_limit(len(content)) if limit is None else limit
  total = sum(member.file_size for member in members)
  if total > limit:
    largest = max(members, key=lambda member: member.file_size)
    raise NpzError(
      f"{_label(_array_name(largest))} has {largest.file_size:,} bytes, where all arrays together "
      f"may have {limit:,}"
    )
  return {_array_name(member): _read_member(content, member, kinds) for member in members}


def read_array(content: bytes, *, kinds: str = NUMBERS) -> np.ndarray:
  """Returns the array of an `.npy` file; it cannot be written to, and is of native order.

  Args:
    content: the file.
    kinds: as for `read_arrays`.

  Raises:
    NpzError: the file is truncated, damaged or no `.npy` file, or the array is of another kind.
  """
  try:
    return _view(content, _checked_header(content, len(content), kinds))
  except (HeaderError, NpzError) as error:
    raise NpzError(f"the array {error}") from error


class _Directory(io.BytesIO):
  """An archive for `zipfile`, which reads the whole directory at once, as large as it says."""

  def read(self, size: int | None = -1, /) -> bytes:
    if size is not None and size > _MOST_DIRECTORY_BYTES:
      raise zipfile.BadZipFile(f"its directory would have {size:,} bytes")
    return super().read(size)


def _list_members(content: bytes) -> list[zipfile.ZipInfo]:
  try:
    with zipfile.ZipFile(_Directory(content)) as archive:
      return archive.infolist()
  # Of a zip version to come, or: whatever zipfile's parsing stumbles on, which varies by version.
  except Exception as error:
    raise NpzError(_first_line(error)) from error


def _array_name(member: zipfile.ZipInfo) -> str:
  return member.filename.removesuffix(_SUFFIX)


def _check_apart(members: list[zipfile.ZipInfo]) -> None:
  """Makes sure that each name is one member, and that no two share bytes."""
  for name, count in Counter(map(_array_name, members)).items():
    if count > 1:
      raise NpzError(f"{_label(name)} is there {count} times")
  ordered = sorted(members, key=lambda member: member.header_offset)
  for member, following in itertools.pairwise(ordered):
    if member.header_offset + _LOCAL_HEADER.size + member.compress_size > following.header_offset:
      raise NpzError(f"{_label(_array_name(following))} begins within another")


def _read_member(content: bytes, member: zipfile.ZipInfo, kinds: str) -> np.ndarray:
  try:
    packed = _packed(content, member)
    if member.compress_type == zipfile.ZIP_STORED:
      if len(packed) != member.file_size:
        raise NpzError(f"has {len(packed):,} bytes stored for {member.file_size:,}")
      header = _checked_header(packed, member.file_size, kinds)
      unpacked: bytes | memoryview = bytes(packed)
    elif member.compress_type == zipfile.ZIP_DEFLATED:
      header = _checked_header(inflate_start(packed, MOST_BYTES), member.file_size, kinds)
      unpacked = inflate_exactly(packed, member.file_size)
    else:
      raise NpzError(f"is packed by method {member.compress_type}, which NumPy never uses")
    if zlib.crc32(unpacked) != member.CRC:
      raise NpzError("is damaged: its checksum is wrong")
    return _view(unpacked, header)
  except (HeaderError, InflateError, NpzError) as error:
    raise NpzError(f"{_label(_array_name(member))} {error}") from error


def _packed(content: bytes, member: zipfile.ZipInfo) -> memoryview:
  """Returns a member's bytes as they lie in the archive."""
  start = member.header_offset
  if not 0 <= start <= len(content) - _LOCAL_HEADER.size:
    raise NpzError("is not where the archive's directory says")
  signature, flags, *lengths = _LOCAL_HEADER.unpack_from(content, start)
  name = member.filename.encode("utf8" if member.flag_bits & _UTF8 else "cp437", "replace")
  start += _LOCAL_HEADER.size
  if signature != _LOCAL_SIGNATURE or content[start : start + lengths[0]] != name:
    raise NpzError("is not where the archive's directory says")
  if (member.flag_bits | flags) & _ENCRYPTED:
    raise NpzError("is encrypted")
  start += sum(lengths)
  if start + member.compress_size > len(content):
    raise NpzError("ends beyond the archive's end")
  return memoryview(content)[start : start + member.compress_size]


def _checked_header(content: bytes | memoryview, size: int, kinds: str) -> Header:
  """Returns the header of an array whose file has `size` bytes, of which it needs a beginning."""
  header = parse_header(bytes(content[:MOST_BYTES]), kinds)
  if header.file_bytes != size:
    raise NpzError(
      f"has {size:,} bytes, and {header.file_bytes:,} according to its header: {header.dtype} of "
      f"shape {header.shape}"
    )
  return header


def _view(content: bytes | memoryview, header: Header) -> np.ndarray:
  values = np.frombuffer(content, header.dtype, offset=header.start)
  if not values.dtype.isnative:
    values = values.astype(values.dtype.newbyteorder("="))
    values.flags.writeable = False
  if values.dtype.kind == "U" and (values.view(np.uint32) > sys.maxunicode).any():
    raise NpzError("holds characters that do not exist")
  return values.reshape(header.shape, order="F" if header.fortran_order else "C")


def _label(name: str) -> str:
  """Returns how to call an array in a message of one line."""
  shown = name if name.isprintable() else ascii(name)
  return f"array {shown if len(shown) <= 100 else f'{shown[:100]}…'}"


def _first_line(error: Exception) -> str:
  return str(error).partition("\n")[0] or type(error).__name__
