"""NumPy's `.npz` and `.npy` files held in memory: plain arrays, read fast and with suspicion.

`np.load` reads an array in pieces, copies them, and parses every header anew: for thousands of
archives of one layout that takes twice as long. It also takes whatever memory a file asks for.

Here only the arrays that are asked for are looked at, whatever else is in the archive. An array is
unpacked once its header, the archive's directory and the caller's limit agree on its size. Nothing
is ever unpickled or evaluated. Whatever the bytes are, the outcome is arrays or an `NpzError`.
"""

from __future__ import annotations

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
from files.zip_directory import Entry, ZipError, list_entries

NUMBERS = "biuf"
STRINGS = "SU"

_SUFFIX = ".npy"
_LOCAL_HEADER = struct.Struct("<4s2xH18xHH")  # signature, flags, lengths of the name and extras
_LOCAL_SIGNATURE = b"PK\3\4"
_ENCRYPTED = 0x1
_NEWEST_VERSION = 63  # of the zip format, times ten


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
  total = sum(member.bytes for member in members)
  if total > limit:
    largest = max(members, key=lambda member: member.bytes)
    raise NpzError(
      f"{_label(_array_name(largest))} has {largest.bytes:,} bytes, where all arrays together "
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


def _list_members(content: bytes) -> list[Entry]:
  try:
    return list_entries(content)
  except ZipError as error:
    raise NpzError(str(error)) from error


def _array_name(member: Entry) -> str:
  return member.name.removesuffix(_SUFFIX)


def _check_apart(members: list[Entry]) -> None:
  """Makes sure that each name is one member, and that no two share bytes."""
  for name, count in Counter(map(_array_name, members)).items():
    if count > 1:
      raise NpzError(f"{_label(name)} is there {count} times")
  ordered = sorted(members, key=lambda member: member.start)
  for member, following in itertools.pairwise(ordered):
    if member.start + _LOCAL_HEADER.size + member.packed_bytes > following.start:
      raise NpzError(f"{_label(_array_name(following))} begins within another")


def _read_member(content: bytes, member: Entry, kinds: str) -> np.ndarray:
  try:
    if member.version > _NEWEST_VERSION:
      raise NpzError(f"needs version {member.version / 10} of the zip format, which nobody knows")
    packed = _packed(content, member)
    if member.method == zipfile.ZIP_STORED:
      if len(packed) != member.bytes:
        raise NpzError(f"has {len(packed):,} bytes stored for {member.bytes:,}")
      header = _checked_header(packed, member.bytes, kinds)
      unpacked: bytes | memoryview = bytes(packed)
    elif member.method == zipfile.ZIP_DEFLATED:
      header = _checked_header(inflate_start(packed, MOST_BYTES), member.bytes, kinds)
      unpacked = inflate_exactly(packed, member.bytes)
    else:
      raise NpzError(f"is packed by method {member.method}, which NumPy never uses")
    if zlib.crc32(unpacked) != member.checksum:
      raise NpzError("is damaged: its checksum is wrong")
    return _view(unpacked, header)
  except (HeaderError, InflateError, NpzError) as error:
    raise NpzError(f"{_label(_array_name(member))} {error}") from error


def _packed(content: bytes, member: Entry) -> memoryview:
  """Returns a member's bytes as they lie in the archive."""
  start = member.start
  if not 0 <= start <= len(content) - _LOCAL_HEADER.size:
    raise NpzError("is not where the archive's directory says")
  signature, flags, *lengths = _LOCAL_HEADER.unpack_from(content, start)
  start += _LOCAL_HEADER.size
  if signature != _LOCAL_SIGNATURE or content[start : start + lengths[0]] != member.raw_name:
    raise NpzError("is not where the archive's directory says")
  if (member.flags | flags) & _ENCRYPTED:
    raise NpzError("is encrypted")
  start += sum(lengths)
  if start + member.packed_bytes > len(content):
    raise NpzError("ends beyond the archive's end")
  return memoryview(content)[start : start + member.packed_bytes]


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
