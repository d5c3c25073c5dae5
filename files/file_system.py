"""Files on any file system that Beam knows (local, gs://, …): the one place that opens them.

On gs://, what fails for a passing reason is tried again; see `gcs`.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import posixpath
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileSystem
from apache_beam.io.gcp.gcsfilesystem import GCSFileSystem

from files import gcs
from files.read_ahead import map_ahead

_UNCOMPRESSED = CompressionTypes.UNCOMPRESSED
_CONCURRENT_READS = 4
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

  Raises:
    OSError: there is no such bucket, or it may not be listed.
  """
  root = directory.rstrip("/") + "/"
  with gcs.explained_errors(root):
    (match,) = gcs.patient_file_system(root).match([_escape(root) + "**"])
  found = sorted(FileInfo(m.path[len(root) :], m.size_in_bytes) for m in match.metadata_list)
  return [info for info in found if unfinished or not _TEMPORARY.search(info.name)]


def exists(path: str) -> bool:
  """Whether a file (or local directory) exists."""
  with gcs.explained_errors(path):
    return gcs.patient_file_system(path).exists(path)


def size(path: str) -> int:
  """Returns how many bytes a file has.

  Raises:
    OSError: there is no such file.
  """
  with gcs.explained_errors(path):
    (match,) = gcs.patient_file_system(path).match([_escape(path)])
  if not match.metadata_list:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
  return match.metadata_list[0].size_in_bytes


def read_bytes(path: str) -> bytes:
  """Returns the content of a file as it lies there, never decompressed.

  Raises:
    OSError: there is no such file, or it cannot be read.
  """
  with gcs.explained_errors(path), _open(path) as file:
    return file.read()


def read_chunks(path: str, chunk_bytes: int) -> Iterator[bytes]:
  """Yields a file's content in order, `chunk_bytes` at a time, reading several chunks at once.

  Raises:
    OSError: there is no such file, or it cannot be read.
  """
  read = functools.partial(_read_chunk, path, chunk_bytes)
  for _, reading in map_ahead(read, range(0, size(path), chunk_bytes), _CONCURRENT_READS):
    yield reading.result()


def write_bytes(path: str, content: bytes) -> None:
  """Writes a file in such a way that no reader ever sees half of it.

  Object stores show an object once it is whole; elsewhere it is written under a temporary name and
  renamed.

  Raises:
    OSError: it cannot be written.
  """
  atomic = not gcs.patient_file_system(path).has_dirs()
  written = path if atomic else f"{path}.{uuid.uuid4().hex}.tmp"

  def write() -> None:
    with _create(written) as file:
      file.write(content)

  with gcs.explained_errors(path):
    gcs.restarting_lost_uploads(write)()
  if written != path:
    move([(written, path)])


@contextmanager
def create(path: str) -> Iterator[BinaryIO]:
  """Opens a file for writing piece by piece: for what is too large for `write_bytes`.

  Where there are directories, readers see the file while it grows.
  """
  with gcs.explained_errors(path), _create(path) as file:
    yield file


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
  system = gcs.patient_file_system(targets[0])
  with gcs.explained_errors(targets[0]):
    if system.has_dirs():
      for directory in {posixpath.dirname(target) for target in targets}:
        if directory and not system.exists(directory):
          _make_directory(system, directory)
    system.rename(list(sources), list(targets))


def delete(paths: Iterable[str]) -> None:
  """Deletes files that may or may not be there."""
  paths = list(paths)
  if not paths:
    return
  system = gcs.patient_file_system(paths[0])
  with gcs.explained_errors(paths[0]):
    if isinstance(system, GCSFileSystem):
      gcs.delete_objects(system, paths)
    elif existing := [_escape(path) for path in paths if system.exists(path)]:
      system.delete(existing)


def delete_directory(directory: str) -> None:
  """Deletes a directory and everything in it, unfinished temporary files too."""
  delete(join(directory, info.name) for info in list_files(directory, unfinished=True))
  delete([directory])  # what is left of it on file systems that have directories


def delete_unfinished(directory: str) -> None:
  """Deletes the temporary files that interrupted writes have left anywhere in a directory."""
  found = list_files(directory, unfinished=True)
  delete(join(directory, info.name) for info in found if _TEMPORARY.search(info.name))


def retry_count() -> int:
  """Returns how many requests this process has had to repeat."""
  return gcs.retries.total


def _open(path: str) -> BinaryIO:
  return gcs.patient_file_system(path).open(path, compression_type=_UNCOMPRESSED)


def _create(path: str) -> BinaryIO:
  return gcs.patient_file_system(path).create(path, compression_type=_UNCOMPRESSED)


def _read_chunk(path: str, length: int, start: int) -> bytes:
  with gcs.explained_errors(path), _open(path) as file:
    file.seek(start)
    return file.read(length)


def _make_directory(system: FileSystem, directory: str) -> None:
  try:
    system.mkdirs(directory)
  except (OSError, BeamIOError):
    if not system.exists(directory):  # another worker may have made it meanwhile
      raise


def _escape(path: str) -> str:
  """Quotes the characters that Beam's matching takes for wildcards."""
  return re.sub(r"([*?\[])", r"[\1]", path)
