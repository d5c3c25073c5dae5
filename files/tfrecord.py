"""TFRecord files: records of bytes, one behind the other, each with its length and checksums.

The format, from TensorFlow's documentation of `tf.data.TFRecordDataset`, little-endian:

```
uint64 length; uint32 masked CRC-32C of the length; bytes [length]; uint32 masked CRC-32C of these
```

The masked CRC is `((crc >> 15) | (crc << 17)) + 0xa282ead8`, modulo 2³².
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import google_crc32c

import files

HEADER_BYTES = 12
FOOTER_BYTES = 4

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8
_CHUNK_BYTES = 1 << 23
_LARGEST_RECORD = 1 << 30  # what a protocol buffer may have is twice that


class TFRecordError(ValueError):
  """The bytes are no sound TFRecord file; the message begins with its path."""


class Record(NamedTuple):
  """One record of a file.

  Attributes:
    offset: of its content from the beginning of the file, in bytes.
    content: what it holds.
  """

  offset: int
  content: bytes


def frame(content: bytes) -> bytes:
  """Returns a record as it lies in a file."""
  length = _LENGTH.pack(len(content))
  return b"".join((length, _masked_crc(length), content, _masked_crc(content)))


def read_records(path: str) -> Iterator[Record]:
  """Yields the records of a file in order, reading some megabytes ahead.

  Raises:
    TFRecordError: the file is damaged, cut short or something else.
    OSError: it cannot be read.
  """
  held, start = b"", 0  # bytes of the file from `start` on
  for chunk in files.read_chunks(path, _CHUNK_BYTES):
    held += chunk
    position = 0
    while (stop := _end_of_record(path, held, position, start)) is not None:
      yield Record(start + position + HEADER_BYTES, _content(path, held, position, stop, start))
      position = stop
    held, start = held[position:], start + position
  if held:
    raise TFRecordError(f"{path}: is cut short within the record at byte {start:,}")


def read_record(path: str, offset: int, length: int) -> bytes:
  """Returns the content of one record.

  Args:
    path: the file.
    offset: of the content, as in `Record`.
    length: of the content, in bytes.

  Raises:
    TFRecordError: there is no such record there, or it is damaged.
    OSError: the file cannot be read.
  """
  start = offset - HEADER_BYTES
  framed = files.read_range(path, start, offset + length + FOOTER_BYTES)
  stop = _end_of_record(path, framed, 0, start)
  if stop is None or stop != len(framed) or stop != length + HEADER_BYTES + FOOTER_BYTES:
    raise TFRecordError(f"{path}: has no record of {length:,} bytes at byte {start:,}")
  return _content(path, framed, 0, stop, start)


def _end_of_record(path: str, held: bytes, position: int, start: int) -> int | None:
  """Returns where the record at a position ends; None if that is beyond what is held."""
  if len(held) < position + HEADER_BYTES:
    return None
  packed = held[position : position + _LENGTH.size]
  if held[position + _LENGTH.size : position + HEADER_BYTES] != _masked_crc(packed):
    raise TFRecordError(
      f"{path}: is no TFRecord file, is compressed, or is damaged at byte {start + position:,}"
    )
  (length,) = _LENGTH.unpack(packed)
  if length > _LARGEST_RECORD:
    raise TFRecordError(f"{path}: the record at byte {start + position:,} has {length:,} bytes")
  stop = position + HEADER_BYTES + length + FOOTER_BYTES
  return stop if stop <= len(held) else None


def _content(path: str, held: bytes, position: int, stop: int, start: int) -> bytes:
  content = held[position + HEADER_BYTES : stop - FOOTER_BYTES]
  if held[stop - FOOTER_BYTES : stop] != _masked_crc(content):
    raise TFRecordError(f"{path}: the record at byte {start + position:,} is damaged")
  return content


def _masked_crc(content: bytes) -> bytes:
  crc = google_crc32c.value(content)
  return _CRC.pack((((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF)
