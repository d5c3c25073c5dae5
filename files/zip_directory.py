"""Directories of zip archives: what an archive holds and where, entry by entry.

`zipfile` refuses a whole archive for one entry that it does not understand. Here an entry is what
its directory says of it; whether that is right, and of use, is for whoever reads it to find out.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from typing import NamedTuple

# PKWARE's APPNOTE.TXT, 4.3.12, 4.3.14 to 4.3.16 and 4.5.3.
_ENTRY = struct.Struct("<6xB1x2H4x3I3H8xI")
_END = struct.Struct("<12x2I2x")  # size and offset of the directory
_END_64 = struct.Struct("<40x2Q")
_LOCATOR_64_BYTES = 20
_EXTRA = struct.Struct("<2H")  # kind and length of an extra field
_ENTRY_SIGNATURE, _END_SIGNATURE = b"PK\1\2", b"PK\5\6"
_END_64_SIGNATURE, _LOCATOR_64_SIGNATURE = b"PK\6\6", b"PK\6\7"
_LONGEST_COMMENT = (1 << 16) - 1

_SATURATED = (1 << 32) - 1  # in place of a larger number, which stands in an extra field
_SIZES_64 = 1  # the kind of that field
_UTF8 = 0x800

_MOST_BYTES = 1 << 20  # of some ten thousand entries

_DAMAGED = "it is no sound archive: its directory is damaged"


class ZipError(ValueError):
  """The bytes are no archive, or its directory is damaged; the message says how."""


class Entry(NamedTuple):
  """What an archive's directory says of one member.

  Attributes:
    name: decoded; bytes that are no text are replaced.
    raw_name: as it stands in the archive, and again before the member.
    version: ten times the version of the format that it needs.
    flags: bits; 0x1: it is encrypted.
    method: how it is packed, such as `zipfile.ZIP_DEFLATED`.
    checksum: CRC-32 of what is unpacked.
    packed_bytes: its size in the archive.
    bytes: its size when unpacked.
    start: where its own header begins; may lie outside of the archive.
  """

  name: str
  raw_name: bytes
  version: int
  flags: int
  method: int
  checksum: int
  packed_bytes: int
  bytes: int
  start: int


def list_entries(content: bytes) -> list[Entry]:
  """Returns what the directory of an archive lists, in its order.

  Args:
    content: the archive; bytes before it are passed over.

  Raises:
    ZipError: it is no archive, was cut short, or has a damaged or absurdly large directory.
  """
  start, stop, before = _locate(content)
  return list(_read_entries(content, start, stop, before))


def _locate(content: bytes) -> tuple[int, int, int]:
  """Returns where the directory starts and stops, and how many bytes come before the archive."""
  stop = content.rfind(_END_SIGNATURE, max(0, len(content) - _END.size - _LONGEST_COMMENT))
  if stop < 0 or stop + _END.size > len(content):
    raise ZipError("it is no zip archive, or was cut short")
  size, offset = _END.unpack_from(content, stop)
  locator = stop - _LOCATOR_64_BYTES
  end_64 = locator - _END_64.size
  if end_64 >= 0 and content.startswith(_LOCATOR_64_SIGNATURE, locator):
    if not content.startswith(_END_64_SIGNATURE, end_64):
      raise ZipError("it is no sound archive: its end is damaged")
    stop = end_64
    size, offset = _END_64.unpack_from(content, stop)
  if size > _MOST_BYTES:
    raise ZipError(f"it is no sound archive: its directory would have {size:,} bytes")
  if size > stop:
    raise ZipError("it is no sound archive: its directory would begin before it")
  return stop - size, stop, stop - size - offset


def _read_entries(content: bytes, start: int, stop: int, before: int) -> Iterator[Entry]:
  while start < stop:
    if start + _ENTRY.size > stop or not content.startswith(_ENTRY_SIGNATURE, start):
      raise ZipError(_DAMAGED)
    fields = _ENTRY.unpack_from(content, start)
    version, flags, method, checksum, packed_bytes, size, *lengths, offset = fields
    name_start = start + _ENTRY.size
    _, extra_start, comment_start, start = itertools.accumulate(lengths, initial=name_start)
    if start > stop:
      raise ZipError(_DAMAGED)
    raw_name = content[name_start:extra_start]
    size, packed_bytes, offset = _widen(
      [size, packed_bytes, offset], content[extra_start:comment_start]
    )
    yield Entry(
      name=raw_name.decode("utf8" if flags & _UTF8 else "cp437", "replace"),
      raw_name=raw_name,
      version=version,
      flags=flags,
      method=method,
      checksum=checksum,
      packed_bytes=packed_bytes,
      bytes=size,
      start=before + offset,
    )


def _widen(numbers: list[int], extra: bytes) -> list[int]:
  """Replaces numbers that do not fit 32 bits by those of the extra fields, if they are there."""
  if _SATURATED not in numbers:
    return numbers
  wide = _find_extra(extra, _SIZES_64)
  values = iter(struct.unpack_from(f"<{len(wide) // 8}Q", wide))
  return [next(values, number) if number == _SATURATED else number for number in numbers]


def _find_extra(extra: bytes, kind: int) -> bytes:
  """Returns what the first extra field of a kind holds; nothing if there is none."""
  while len(extra) >= _EXTRA.size:
    found, length = _EXTRA.unpack_from(extra)
    if found == kind:
      return extra[_EXTRA.size : _EXTRA.size + length]
    extra = extra[_EXTRA.size + length :]
  return b""
