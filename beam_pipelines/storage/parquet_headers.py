"""What a Parquet file says before anything of it is unpacked: the headers of its pages.

PyArrow shows footers, not pages, and unpacks whatever size a page claims: a few kilobytes become
gigabytes. Headers are structures of Thrift's compact protocol, read here without their texts.
https://github.com/apache/parquet-format, parquet.thrift; Thrift's thrift-compact-protocol.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

# Thrift's types, as the compact protocol numbers them.
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(
  13
)
_INTEGERS = (_I16, _I32, _I64)
_DEEPEST = 16
_LONGEST_VARINT = 10  # bytes, of 64 bits

_FOOTER_SCHEMA = 2
_UNPACKED_BYTES, _PACKED_BYTES = 2, 3
_VALUE_ENCODINGS = {5: 2, 7: 2, 8: 4}  # the field of each kind of page's own header

Structure: TypeAlias = "dict[tuple[int, int], int | Structure]"
"""Integers and structures by field and type; of lists and sets the length."""


class HeaderError(ValueError):
  """The bytes are no header."""


class Page(NamedTuple):
  """A page of a column.

  Attributes:
    unpacked_bytes: how many bytes it is unpacked to.
    encodings: how its values are encoded, by the numbers of parquet.thrift.
  """

  unpacked_bytes: int
  encodings: tuple[int, ...]


def count_columns(footer: bytes) -> int:
  """Returns how many columns and groups of columns a footer describes.

  Raises:
    HeaderError: it is no footer.
  """
  described = _Reader(footer, 0).structure().get((_FOOTER_SCHEMA, _LIST))
  if not isinstance(described, int):
    raise HeaderError("its footer names no columns")
  return described


def read_pages(content: bytes, start: int, stop: int) -> Iterator[Page]:
  """Yields the pages of a chunk of a column.

  Args:
    content: the file.
    start: where in it the chunk begins.
    stop: where it ends.

  Raises:
    HeaderError: there is something else, or the last page goes on after the end.
  """
  if not 0 < start <= stop <= len(content):
    raise HeaderError("a column lies outside of it")
  while start < stop:
    reader = _Reader(content, start)
    header = reader.structure()
    unpacked, packed = (header.get((name, _I32)) for name in (_UNPACKED_BYTES, _PACKED_BYTES))
    if not isinstance(unpacked, int) or not isinstance(packed, int) or min(unpacked, packed) < 0:
      raise HeaderError(f"the page at byte {start:,} has no size")
    start = reader.position + packed
    if start > stop:
      raise HeaderError("a page is larger than its column")
    yield Page(unpacked, tuple(_encodings(header)))


def _encodings(header: Structure) -> Iterator[int]:
  for name, encoding in _VALUE_ENCODINGS.items():
    own = header.get((name, _STRUCT))
    if isinstance(own, dict) and isinstance(number := own.get((encoding, _I32)), int):
      yield number


class _Reader:
  """Reads one structure; what it needs of memory is less than what it reads.

  Args:
    content: where the structure is.
    position: where in it it begins; after `structure`, where it ends.
  """

  def __init__(self, content: bytes, position: int):
    self._content = content
    self.position = position

  def structure(self, depth: int = 0) -> Structure:
    """Reads a structure.

    Raises:
      HeaderError: it is none, or ends beyond the content.
    """
    if depth > _DEEPEST:
      raise HeaderError("a header is nested too deeply")
    found: Structure = {}
    name = 0
    while (head := self._byte()) != _STOP:
      kind = head & 15
      name = name + (head >> 4) if head >> 4 else self._integer()
      value = self._value(kind, depth)
      if value is not None:
        found[name, kind] = value
    return found

  def _value(self, kind: int, depth: int) -> int | Structure | None:
    if kind in _INTEGERS:
      return self._integer()
    if kind == _BINARY:
      self._skip(self._varint())
    elif kind == _STRUCT:
      return self.structure(depth + 1)
    elif kind in (_LIST, _SET):
      return self._list(depth)
    elif kind in (_BYTE, _DOUBLE):
      self._skip(1 if kind == _BYTE else 8)
    elif kind not in (_TRUE, _FALSE):
      raise HeaderError(f"a header has a field of kind {kind}")
    return None

  def _list(self, depth: int) -> int:
    head = self._byte()
    length = head >> 4 if head >> 4 < 15 else self._varint()
    kind = head & 15
    for _ in range(length):
      if kind in (_TRUE, _FALSE):
        self._skip(1)
      else:
        self._value(kind, depth)
    return length

  def _integer(self) -> int:
    """Reads a number in zigzag, of which Parquet's are of 32 bits."""
    number = self._varint()
    return number >> 1 ^ -(number & 1)

  def _varint(self) -> int:
    number = 0
    for place in range(_LONGEST_VARINT):
      byte = self._byte()
      number |= (byte & 127) << 7 * place
      if byte < 128:
        return number
    raise HeaderError("a header has a number of more than 64 bits")

  def _byte(self) -> int:
    self._skip(1)
    return self._content[self.position - 1]

  def _skip(self, length: int) -> None:
    self.position += length
    if self.position > len(self._content):
      raise HeaderError("a header ends beyond its end")
