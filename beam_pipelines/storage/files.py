"""Files on any file system that Beam knows (local, gs://, …): the one place that opens them."""

from __future__ import annotations

import json
import posixpath
import re
import uuid
from collections.abc import Iterable
from typing import Any, NamedTuple

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp$")


class FileInfo(NamedTuple):
  """A file found by `list_files`: its path below the listed directory, and its size in bytes."""

  name: str
  size: int


def join(directory: str, *names: str) -> str:
  """Joins path components; every file system that Beam knows takes `/`."""
  return posixpath.join(directory, *names)


def list_files(directory: str, *, unfinished: bool = False) -> list[FileInfo]:
  """Returns all files below a directory in one flat listing, sorted by name.

  One call whatever the depth: on object stores a listing per directory would cost a request each.
  A directory that does not exist has no files.

  Args:
    directory: where to look.
    unfinished: whether to list temporary files too, which an interrupted write leaves behind.
  """
  root = directory.rstrip("/") + "/"
  (match,) = FileSystems.match([_escape(root) + "**"])
  found = sorted(FileInfo(m.path[len(root) :], m.size_in_bytes) for m in match.metadata_list)
  return [info for info in found if unfinished or not _TEMPORARY.search(info.name)]


def exists(path: str) -> bool:
  """Whether a file (or local directory) exists."""
  return FileSystems.exists(path)


def read_bytes(path: str) -> bytes:
  """Returns the content of a file as it lies there, never decompressed.

  Raises:
    OSError: there is no such file, or it cannot be read.
  """
  with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
    return file.read()


def write_bytes(path: str, content: bytes) -> None:
  """Writes a file under a temporary name, then renames it: no reader sees half of it."""
  temporary = f"{path}.{uuid.uuid4().hex}.tmp"
  with FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as file:
    file.write(content)
  move([(temporary, path)])


def read_json(path: str) -> Any:
  """Returns the value that a JSON file holds.

  Raises:
    OSError: there is no such file, or it cannot be read.
    ValueError: it is not JSON.
  """
  return json.loads(read_bytes(path))


def write_json(path: str, value: Any) -> None:
  """Writes a value as indented JSON, atomically."""
  write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def move(moves: Iterable[tuple[str, str]]) -> None:
  """Renames files, replacing what is there and making directories as needed."""
  moves = list(moves)
  if not moves:
    return
  sources, targets = zip(*moves, strict=True)
  for directory in {posixpath.dirname(target) for target in targets}:
    if directory and not FileSystems.exists(directory):
      _make_directory(directory)
  FileSystems.rename(list(sources), list(targets))


def delete(paths: Iterable[str]) -> None:
  """Deletes files that may or may not be there."""
  existing = [_escape(path) for path in paths if FileSystems.exists(path)]
  if existing:
    FileSystems.delete(existing)


def delete_directory(directory: str) -> None:
  """Deletes a directory and everything in it, unfinished temporary files too."""
  delete(join(directory, info.name) for info in list_files(directory, unfinished=True))
  delete([directory])  # what is left of it on file systems that have directories


def _make_directory(directory: str) -> None:
  try:
    FileSystems.mkdirs(directory)
  except (OSError, BeamIOError):
    if not FileSystems.exists(directory):  # another worker may have made it meanwhile
      raise


def _escape(path: str) -> str:
  """Quotes the characters that Beam's matching takes for wildcards."""
  return re.sub(r"([*?\[])", r"[\1]", path)
