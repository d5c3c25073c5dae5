"""Archives of runs as streams: each run file of a `.tar.gz`, in the order in which it comes."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import NamedTuple

from beam_pipelines.storage.runs.run_place import RunKey
from beam_pipelines.storage.runs.tar_stream import ArchiveError, Content, read_members
from files.inflate import InflateError, gunzip_blocks
from files.read_ahead import read_ahead

_BLOCKS_AHEAD = 16

_LONGEST_NAME = 4096
_SHOWN_NAME = 200

# <ratio>/<run id>/<file>, below any number of directories; the ratio is in (0, 1).
_RUN_FILE = re.compile(
  r"(?:(?P<top>.+?)/)??(?P<ratio>0?\.(?=\d*[1-9])\d{1,20})/(?P<run>\d{1,18})/(?P<name>.+)", re.ASCII
)
_KINDS = {
  tarfile.SYMTYPE: "symbolic link",
  tarfile.LNKTYPE: "hard link",
  tarfile.CHRTYPE: "character device",
  tarfile.BLKTYPE: "block device",
  tarfile.FIFOTYPE: "fifo",
}


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
  content: Content


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
        is there twice, or belongs to a second experiment; or the archive is damaged, or unpacks to
        more than it can hold. Reading `RunFile.content` raises it too.
    """
    with closing(read_ahead(_unpack(self._compressed), _BLOCKS_AHEAD)) as blocks:
      for member in read_members(blocks):
        _check_name(member.name)
        if member.kind == tarfile.DIRTYPE:
          continue
        if member.kind != tarfile.REGTYPE:
          kind = _KINDS.get(member.kind, f"member of type {member.kind!r}")
          raise ArchiveError(
            f"{_quoted(member.name)} is a {kind}: only files and directories are taken"
          )
        if (found := self._locate(member.name)) is not None:
          yield RunFile(*found, member.size, member.content)

  def _locate(self, name: str) -> tuple[RunKey, str] | None:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    match = _RUN_FILE.fullmatch("/".join(parts))
    if match is None or not 0 < float(match["ratio"]) < 1:  # as 0.99999999999999999999 is not
      self.left_out += 1
      self.first_left_out = self.first_left_out or name
      return None
    top = match["top"] or ""
    if self._top not in (None, top):
      raise ArchiveError(
        f"{_quoted(name)} is of a run below {top!r}, and others are below {self._top!r}: "
        "an archive holds one experiment"
      )
    self._top = top
    found = RunKey(float(match["ratio"]), int(match["run"])), match["name"]
    if found in self._seen:
      raise ArchiveError(f"{_quoted(name)} is there twice: the archive is not to be trusted")
    self._seen.add(found)
    return found


def _unpack(compressed: Iterable[bytes]) -> Iterator[bytes]:
  try:
    yield from gunzip_blocks(compressed)
  except InflateError as error:
    raise ArchiveError(str(error)) from error


def _check_name(name: str) -> None:
  if len(name) > _LONGEST_NAME:
    raise ArchiveError(f"{_quoted(name)} has {len(name):,} characters: no file's name is as long")
  if name.startswith("/") or ".." in name.split("/"):
    raise ArchiveError(
      f"{_quoted(name)} leads out of the experiment: the archive is not to be trusted"
    )
  if "\\" in name or not name.isprintable():
    raise ArchiveError(f"{_quoted(name)} has characters that no run file's name has")


def _quoted(name: str) -> str:
  return repr(name) if len(name) <= _SHOWN_NAME else f"{name[:_SHOWN_NAME]!r}…"
