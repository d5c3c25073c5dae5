"""Bytes unpacked within bounds: a small file may announce, or hold, more than any memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

_GZIP = 16 + zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS
_PACKED_BYTES = 1 << 19
# What follows a member's end is copied: thousands of empty members would take forever otherwise.
_FIRST_PACKED_BYTES = 1 << 12
_UNPACKED_BYTES = 1 << 21
_RAW_PACKED_BYTES = 1 << 14  # unpacks to 16 MB at most

# Images of a few shapes and colours on black have been published at 115 times their packed size;
# what deflate makes of nothing but zeros unpacks to 1,032 times.
_ORDINARY_FACTOR = 128
_ALWAYS_BYTES = 1 << 28


class InflateError(ValueError):
  """What is packed is damaged, or unpacks to more than it may; the message says which."""


def ordinary_limit(packed_bytes: int) -> int:
  """Returns how many bytes real data of a packed size unpack to at most, with a wide margin."""
  return _ALWAYS_BYTES + _ORDINARY_FACTOR * packed_bytes


def gunzip(content: bytes, limit: int | None = None) -> bytes:
  """Returns what a gzip file in memory holds, in little more memory than that.

  Args:
    content: the file: gzip members, and zeros as padding between and after them.
    limit: the most bytes that it may unpack to. None: `ordinary_limit` of its size.

  Raises:
    InflateError: it unpacks to more, is cut short, damaged, or no gzip.
  """
  limit = ordinary_limit(len(content)) if limit is None else limit
  too_much = InflateError(f"unpacks to more than {limit:,} bytes")
  # A member ends with its size, modulo 2^32: an honest one is refused before it is unpacked.
  if int.from_bytes(content[-4:], "little") > limit:
    raise too_much
  unpacked = bytearray()
  try:
    for block in gunzip_blocks([content]):
      if len(unpacked) + len(block) > limit:
        raise too_much
      unpacked += block
  except EOFError as error:
    raise InflateError("ends in the middle: it was cut short") from error
  except zlib.error as error:
    raise InflateError(f"is damaged, or no gzip file: {error}") from error
  return bytes(unpacked)


def gunzip_blocks(compressed: Iterable[bytes]) -> Iterator[bytes]:
  """Inflates gzip members in large blocks: `gzip.GzipFile` takes 8 KB at a time.

  Args:
    compressed: the file, in pieces of any size.

  Raises:
    EOFError: it ends within a member.
    zlib.error: it is damaged, or no gzip.
  """
  inflate, bite = zlib.decompressobj(_GZIP), _FIRST_PACKED_BYTES
  for piece in compressed:
    start = 0
    while start < len(piece):
      block = piece[start : start + bite]
      start, bite = start + len(block), _PACKED_BYTES
      if inflate.eof:
        block = block.lstrip(b"\0")  # padding
      while block:
        if inflate.eof:
          inflate, bite = zlib.decompressobj(_GZIP), _FIRST_PACKED_BYTES
        if unpacked := inflate.decompress(block, _UNPACKED_BYTES):
          yield unpacked
        block = inflate.unconsumed_tail or inflate.unused_data.lstrip(b"\0")
  if not inflate.eof:
    raise EOFError


def inflate_start(packed: memoryview, size: int) -> bytes:
  """Returns the first bytes, at most `size`, of a raw deflate stream.

  Raises:
    InflateError: it is damaged.
  """
  try:
    return zlib.decompressobj(_RAW).decompress(packed[: size + _RAW_PACKED_BYTES], size)
  except zlib.error as error:
    raise InflateError(f"is damaged: {error}") from error


def inflate_exactly(packed: memoryview, size: int) -> memoryview:
  """Returns what a raw deflate stream holds, which must be `size` bytes; they are read-only.

  Raises:
    InflateError: it holds more or less, or is damaged.
  """
  unpacked, position, left = bytearray(size), 0, len(packed)
  inflate = zlib.decompressobj(_RAW)
  try:
    while left and not inflate.eof and position <= size:
      # With room for one byte too many, a piece is consumed whole.
      piece = packed[-left:][:_RAW_PACKED_BYTES]
      block = inflate.decompress(piece, size - position + 1)
      left -= len(piece) - len(inflate.unused_data)
      unpacked[position : position + len(block)] = block
      position += len(block)
  except zlib.error as error:
    raise InflateError(f"is damaged: {error}") from error
  if left or not inflate.eof or position != size:
    raise InflateError(f"does not unpack to the {size:,} bytes that it should")
  return memoryview(unpacked).toreadonly()
