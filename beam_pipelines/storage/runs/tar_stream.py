"""Tar archives as streams: member after member, in memory and time that no archive can raise.

`tarfile` holds whatever an extension header announces, follows endless chains of them, and takes
time quadratic in the length of their numbers. It parses the single headers here; what extensions
say (a long name, the size of a large file) is read within bounds.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import NamedTuple, Protocol

_BLOCK_BYTES = tarfile.BLOCKSIZE
_MOST_EXTENSION_BYTES = 1 << 20
_MOST_EXTENSIONS = 8  # before one member; a long name with all attributes takes 3
_PAX = {tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE}
_LONG = {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
_FILES = {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE}
_MOST_DIGITS = 20


class ArchiveError(ValueError):
  """The archive is damaged or not to be trusted; the message says where and why."""


class Content(Protocol):
  """What a file holds, as a stream."""

  def read(self, size: int = -1, /) -> bytes:
    """Returns the next bytes, as many as there are by default."""
    ...


class Member(NamedTuple):
  """A member of an archive.

  Attributes:
    name: as the archive has it.
    kind: its type, a constant of `tarfile`; `tarfile.REGTYPE` for every plain file.
    size: of its content, in bytes; 0 if it is no plain file.
    content: as a stream; gone when the next member is drawn.
  """

  name: str
  kind: bytes
  size: int
  content: Content


def read_members(blocks: Iterator[bytes]) -> Iterator[Member]:
  """Yields the members of a tar archive.

  Args:
    blocks: the archive, unpacked, in pieces of any size.

  Raises:
    ArchiveError: it is cut short, damaged, or no tar archive; has a sparse file, or extension
      headers of absurd size or number; holds more after its end than padding. Reading a member's
      content raises it too.
  """
  stream = _Stream(blocks)
  while (header := _read_header(stream)) is not None:
    plain = header.type in _FILES
    size = header.size if plain else 0
    content = _MemberContent(stream, size)
    yield Member(header.name, tarfile.REGTYPE if plain else header.type, size, content)
    stream.skip(content.give_up() + -size % _BLOCK_BYTES)
  stream.finish()


class _Stream:
  """Bytes that come in blocks, read in order and at need."""

  def __init__(self, blocks: Iterator[bytes]):
    self._blocks = blocks
    self._held = memoryview(b"")

  def read(self, size: int) -> bytes:
    """Returns the next bytes.

    Raises:
      ArchiveError: there are fewer.
    """
    return b"".join(self._take(size))

  def skip(self, size: int) -> None:
    """Drops the next bytes.

    Raises:
      ArchiveError: there are fewer.
    """
    for _ in self._take(size):
      pass

  def at_end(self) -> bool:
    """Whether nothing is left."""
    while not self._held and (block := next(self._blocks, None)) is not None:
      self._held = memoryview(block)
    return not self._held

  def finish(self) -> None:
    """Drops all that is left.

    Raises:
      ArchiveError: it is no padding.
    """
    while not self.at_end():
      if bytes(self._held).strip(b"\0"):
        raise ArchiveError("is damaged: there is more after what looks like its end")
      self._held = memoryview(b"")

  def _take(self, size: int) -> Iterator[memoryview]:
    while size:
      if self.at_end():
        raise ArchiveError("is damaged, or no .tar.gz: it ends in the middle of a member")
      piece, self._held = self._held[:size], self._held[size:]
      size -= len(piece)
      yield piece


class _MemberContent:
  """What is left of a member's content."""

  def __init__(self, stream: _Stream, size: int):
    self._stream = stream
    self._left = size

  def read(self, size: int = -1, /) -> bytes:
    """Returns the next bytes, all that are left by default."""
    wanted = self._left if size < 0 else min(size, self._left)
    self._left -= wanted
    return self._stream.read(wanted)

  def give_up(self) -> int:
    """Returns how many bytes were not read, and never will be."""
    left, self._left = self._left, 0
    return left


def _read_header(stream: _Stream) -> tarfile.TarInfo | None:
  """Returns the next member's header, in which name and size are as extensions say; None: the end.

  What comes first counts.
  """
  name, size = None, None
  for extensions in range(_MOST_EXTENSIONS + 1):
    if stream.at_end() or not (block := stream.read(_BLOCK_BYTES)).strip(b"\0"):
      if extensions:
        raise ArchiveError("is damaged: it ends after an extension header")
      return None
    header = _parse_header(block)
    if header.type in _LONG:
      text = _read_extension(stream, header).partition(b"\0")[0]
      if header.type == tarfile.GNUTYPE_LONGNAME:
        name = name or text
    elif header.type in _PAX:
      records = dict(_pax_records(_read_extension(stream, header)))
      if any(key.startswith(b"GNU.sparse.") for key in records):
        raise ArchiveError("has a sparse file: pack it anew without --sparse")
      if header.type == tarfile.XGLTYPE and records.keys() & {b"path", b"size"}:
        raise ArchiveError("gives all of its members one name or size: it is not to be trusted")
      name = name or records.get(b"path")
      size = _parse_size(records.get(b"size")) if size is None else size
    else:
      if name:
        header.name = name.decode(errors="surrogateescape")
      if size is not None:
        header.size = size
      return header
  raise ArchiveError(f"has more than {_MOST_EXTENSIONS} extension headers in a row")


def _parse_header(block: bytes) -> tarfile.TarInfo:
  try:
    header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
  except tarfile.HeaderError as error:
    raise ArchiveError(f"is damaged, or no .tar.gz: {error}") from error
  if header.type == tarfile.GNUTYPE_SPARSE:
    raise ArchiveError(f"{header.name!r} is a sparse file: pack it anew without --sparse")
  if header.size < 0:
    raise ArchiveError(f"{header.name!r} has {header.size} bytes: the archive is damaged")
  return header


def _read_extension(stream: _Stream, header: tarfile.TarInfo) -> bytes:
  if header.size > _MOST_EXTENSION_BYTES:
    raise ArchiveError(
      f"has an extension header of {header.size:,} bytes: the archive is not to be trusted"
    )
  content = stream.read(header.size)
  stream.skip(-header.size % _BLOCK_BYTES)
  return content


def _pax_records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
  r"""Yields keys and values of `<length> <key>=<value>\n`; the length is that of all of it."""
  start = 0
  while content[start : start + 1].strip(b"\0"):  # some pad with zeros
    length = content[start : start + _MOST_DIGITS].partition(b" ")[0]
    end = start + (int(length) if length.isdigit() else 0)
    key, equals, value = content[start + len(length) + 1 : end].partition(b"=")
    if not (equals and value.endswith(b"\n") and end <= len(content)):
      raise ArchiveError("is damaged: a pax header does not hold what it says")
    yield key, value[:-1]
    start = end


def _parse_size(number: bytes | None) -> int | None:
  if number is None:
    return None
  if not (number.isdigit() and len(number) <= _MOST_DIGITS):
    raise ArchiveError("is damaged: a pax header gives a size that is no number")
  return int(number)
