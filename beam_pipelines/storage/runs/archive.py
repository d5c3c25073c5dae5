"""Archives of runs as streams: each run file of a `.tar.gz`, in the order in which it comes."""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import IO, NamedTuple

from beam_pipelines.storage.runs.experiment import RunKey
from files.read_ahead import read_ahead

_BLOCK_BYTES = 1 << 19
_BLOCKS_AHEAD = 16
_GZIP = 16 + zlib.MAX_WBITS
_UNPACKED_BYTES = 1 << 21

# <ratio>/<run id>/<file>, below any number of directories; the ratio is in (0, 1).
_RUN_FILE = re.compile(
  r"(?:(?P<top>.+?)/)??(?P<ratio>0?\.\d*[1-9]\d*)/(?P<run>\d+)/(?P<name>.+)", re.ASCII
)
_KINDS = {
  tarfile.SYMTYPE: "symbolic link",
  tarfile.LNKTYPE: "hard link",
  tarfile.CHRTYPE: "character device",
  tarfile.BLKTYPE: "block device",
  tarfile.FIFOTYPE: "fifo",
}


class ArchiveError(ValueError):
  """The archive is damaged or not to be trusted; the message says where and why."""


class RunFile(NamedTuple):
  """A file of a run, as it comes out of an archive.

  Attributes:
    key: the run that it belongs to.
    name: its path below the run's directory.
    size: in bytes.
    content: its bytes; gone when the next file is drawn.
  """

  key: RunKey
  name: str
  size: int
  content: IO[bytes]


class RunArchive:
  """Iterates once over the run files of a gzipped tar archive, in memory that does not grow.

  A run's directory is known by its `<ratio>/<run id>/`, whatever lies above it. Files elsewhere are
  left out. Unpacking runs in a thread of its own.

  Args:
    compressed: the archive's bytes, in pieces of any size.

  Attributes:
    left_out: how many files belong to no run.
    first_left_out: the name of the first of them.
  """

  def __init__(self, compressed: Iterable[bytes]):
    self.left_out = 0
    self.first_left_out: str | None = None
    self._compressed = compressed
    self._seen: set[tuple[RunKey, str]] = set()
    self._top: str | None = None

  def __iter__(self) -> Iterator[RunFile]:
    """Yields run files.

    Raises:
      ArchiveError: a member could write outside of the experiment, is neither file nor directory,
        is there twice, or belongs to a second experiment; what comes after the last member is no
        padding. Damage shows in other errors, here or in `RunFile.content`: see `explained_damage`.
    """
    with (
      closing(read_ahead(_unpack(self._compressed), _BLOCKS_AHEAD)) as blocks,
      tarfile.open(fileobj=_Blocks(blocks), mode="r|", bufsize=_BLOCK_BYTES) as tar,
    ):
      while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined] # else it keeps them all
        _check_name(member.name)
        if member.isdir():
          continue
        if not member.isreg():
          kind = _KINDS.get(member.type, f"member of type {member.type!r}")
          raise ArchiveError(f"{member.name!r} is a {kind}: only files and directories are taken")
        content = tar.extractfile(member)
        if content is not None and (found := self._locate(member.name)) is not None:
          yield RunFile(*found, member.size, content)
      # tarfile takes a damaged header for the end.
      while rest := tar.fileobj.read(_BLOCK_BYTES):
        if rest.strip(b"\0"):
          raise ArchiveError("is damaged: there is more after what looks like its end")

  def _locate(self, name: str) -> tuple[RunKey, str] | None:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    match = _RUN_FILE.fullmatch("/".join(parts))
    if match is None:
      self.left_out += 1
      self.first_left_out = self.first_left_out or name
      return None
    top = match["top"] or ""
    if self._top not in (None, top):
      raise ArchiveError(
        f"{name!r} is of a run below {top!r}, and others are below {self._top!r}: "
        "an archive holds one experiment"
      )
    self._top = top
    found = RunKey(float(match["ratio"]), int(match["run"])), match["name"]
    if found in self._seen:
      raise ArchiveError(f"{name!r} is there twice: the archive is not to be trusted")
    self._seen.add(found)
    return found


@contextmanager
def explained_damage() -> Iterator[None]:
  """Turns what drawing from a damaged archive raises into an `ArchiveError`."""
  try:
    yield
  except EOFError as error:
    raise ArchiveError("ends in the middle: it was cut short") from error
  except (tarfile.TarError, zlib.error) as error:
    raise ArchiveError(f"is damaged, or no .tar.gz: {error}") from error


class _Blocks(io.RawIOBase):
  """What an iterator yields, as the file that tarfile reads; it takes blocks of any size."""

  def __init__(self, blocks: Iterator[bytes]):
    self._blocks = blocks

  def read(self, size: int = -1) -> bytes:
    return next(self._blocks, b"")


def _unpack(compressed: Iterable[bytes]) -> Iterator[bytes]:
  """Inflates gzip members in large blocks: `gzip.GzipFile` takes 8 KB at a time.

  Raises:
    EOFError: it ends within a member.
    zlib.error: it is damaged, or no gzip.
  """
  inflate = zlib.decompressobj(_GZIP)
  for piece in compressed:
    for start in range(0, len(piece), _BLOCK_BYTES):
      block = piece[start : start + _BLOCK_BYTES]
      if inflate.eof:
        block = block.lstrip(b"\0")  # padding
      while block:
        if inflate.eof:
          inflate = zlib.decompressobj(_GZIP)
        if unpacked := inflate.decompress(block, _UNPACKED_BYTES):
          yield unpacked
        block = inflate.unconsumed_tail or inflate.unused_data.lstrip(b"\0")
  if not inflate.eof:
    raise EOFError


def _check_name(name: str) -> None:
  if name.startswith("/") or ".." in name.split("/"):
    raise ArchiveError(f"{name!r} leads out of the experiment: the archive is not to be trusted")
  if "\\" in name or not name.isprintable():
    raise ArchiveError(f"{name!r} has characters that no run file's name has")
