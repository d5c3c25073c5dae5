"""The functions that all else calls to read and write files, whatever file system they lie on."""

from __future__ import annotations

import functools
import json
import posixpath
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from files import retry
from files.base import FileInfo, is_being_written, is_temporary
from files.errors import UsageError
from files.read_ahead import map_ahead
from files.systems import file_system

_CONCURRENT_READS = 4
_LARGEST_JSON_BYTES = 1 << 28
_RESTORE = "restore it, or delete it and make it anew"


def join(directory: str, *names: str) -> str:
  """Joins path components; every file system takes `/`."""
  return posixpath.join(directory, *names)


def list_files(directory: str, *, unfinished: bool = False) -> list[FileInfo]:
  """Returns all files below a directory in one flat listing, sorted by name.

  One call whatever the depth: on object stores a listing per directory would cost a request each.
  A directory that does not exist has no files. On local disks, symbolic links to files and to
  directories are followed. What is there and cannot be read as a file is listed too, and its
  `problem` says why: a link that leads nowhere or back to a directory that holds it (which is
  listed once, as the link), a pipe, a socket, a device.

  Args:
    directory: where to look.
    unfinished: whether to list temporary files too, which an interrupted write leaves behind.

  Raises:
    OSError: there is no such bucket, or it or a directory below cannot be listed; it names that.
  """
  found = sorted(file_system(directory).list_files(directory), key=lambda info: info.name)
  return [info for info in found if unfinished or not is_temporary(info.name)]


def exists(path: str) -> bool:
  """Whether a file (or a directory, where there are such) exists.

  Raises:
    OSError: it cannot be found out.
  """
  return file_system(path).exists(path)


def size(path: str) -> int:
  """Returns how many bytes a file has.

  Raises:
    OSError: there is no such file.
  """
  return file_system(path).size(path)


def read_bytes(path: str) -> bytes:
  """Returns the content of a file as it lies there, never decompressed.

  Raises:
    OSError: there is no such file, it cannot be read, or it is a pipe or a device.
  """
  return file_system(path).read(path)


def read_range(path: str, start: int, stop: int) -> bytes:
  """Returns the bytes of a file from `start` to before `stop`, or to the end if that comes first.

  Raises:
    OSError: there is no such file, or it cannot be read.
  """
  return file_system(path).read_range(path, start, stop)


def read_many(paths: Iterable[str]) -> Iterator[tuple[str, bytes | OSError]]:
  """Yields the content of each of many small files, in order, or why it cannot be read.

  Several files are fetched at once, and the next ones while these are used: as many as fit into
  about 64 MiB, going by the size of those before, so that a file must fit into memory several
  times.

  Args:
    paths: all on one file system.
  """
  paths = list(paths)
  if not paths:
    return
  yield from zip(paths, file_system(paths[0]).read_many(paths), strict=True)


def read_chunks(path: str, chunk_bytes: int) -> Iterator[bytes]:
  """Yields a file's content in order, `chunk_bytes` at a time, reading several chunks at once.

  Raises:
    OSError: there is no such file, or it cannot be read.
  """
  system = file_system(path)
  starts = range(0, system.size(path), chunk_bytes)
  read = functools.partial(_read_chunk, path, chunk_bytes)
  for _, reading in map_ahead(read, starts, _CONCURRENT_READS):
    yield reading.result()


def write_bytes(path: str, content: bytes) -> None:
  """Writes a file in such a way that no reader ever sees half of it.

  Object stores show an object once it is whole; elsewhere it is written under a temporary name and
  renamed. A local symbolic link is followed: what it leads to is replaced.

  Raises:
    OSError: it cannot be written; what was there before is there still.
  """
  file_system(path).write(path, content)


def claim(path: str, content: bytes) -> bool:
  """Writes a file that is not there yet, whole; returns whether it was this call that made it.

  Of several calls at once with different contents, on any machines, one makes the file. On local
  disks, gs:// and s3:// that is so without exception; what else fsspec knows may only look first.

  Raises:
    OSError: it cannot be written.
  """
  return file_system(path).claim(path, content)


@contextmanager
def create(path: str) -> Iterator[BinaryIO]:
  """Opens a file for writing piece by piece: for what is too large for `write_bytes`.

  It appears when it is whole, at the end of the block, and not at all if the block raises.
  """
  with file_system(path).create(path) as file:
    yield file


def read_json(path: str) -> Any:
  """Returns the value that a JSON file holds.

  Raises:
    OSError: there is no such file, or it cannot be read.
    UsageError: it is not JSON in UTF-8, is nested too deeply, or has more than 256 MiB.
  """
  content = read_document(path)
  try:
    return json.loads(content.decode())
  except RecursionError:
    problem = "is nested too deeply to be a JSON file of ours"
  except ValueError as error:
    problem = f"is not JSON ({error})"
  raise UsageError(f"{path} {problem}: {_RESTORE}")


def read_document(path: str) -> bytes:
  """Returns the content of a JSON file of ours, to be parsed in memory several times its size.

  Raises:
    OSError: there is no such file, or it cannot be read.
    UsageError: it has more than 256 MiB.
  """
  content = file_system(path).read_range(path, 0, _LARGEST_JSON_BYTES + 1)
  if len(content) > _LARGEST_JSON_BYTES:
    raise UsageError(
      f"{path} has more than {_LARGEST_JSON_BYTES >> 20} MiB, too much for a JSON file of ours: "
      f"{_RESTORE}"
    )
  return content


def write_json(path: str, value: Any) -> None:
  """Writes a value as indented JSON, atomically; what killed commands have left of that goes."""
  delete_left_over(path)
  write_bytes(path, _encode_json(value))


def claim_json(path: str, value: Any) -> bool:
  """Writes a value as JSON where no file is yet, as `claim` does; see `write_json`."""
  delete_left_over(path)
  return claim(path, _encode_json(value))


def move(moves: Iterable[tuple[str, str]]) -> None:
  """Renames files, replacing what is there and making directories as needed.

  Args:
    moves: from where to where, all on one file system.

  Raises:
    OSError: a file is not there or cannot be moved; others may have been.
  """
  moves = list(moves)
  if moves:
    file_system(moves[0][0]).move(moves)


def delete(paths: Iterable[str]) -> None:
  """Deletes files that may or may not be there, all on one file system."""
  paths = list(paths)
  if paths:
    file_system(paths[0]).delete(paths)


def delete_directory(directory: str) -> None:
  """Deletes a directory and everything in it, unfinished temporary files too.

  Symbolic links in it are deleted, not what they lead to.
  """
  file_system(directory).delete_directory(directory)


def delete_unfinished(directory: str) -> None:
  """Deletes the temporary files that interrupted writes have left anywhere in a directory.

  Those that a process of this host is writing stay.
  """
  names = [info.name for info in list_files(directory, unfinished=True)]
  delete(
    join(directory, name) for name in names if is_temporary(name) and not is_being_written(name)
  )


def delete_left_over(path: str) -> None:
  """Deletes what dead processes of this host have left of writing a file, on local disks."""
  file_system(path).delete_left_over(path)


def retry_count() -> int:
  """Returns how many requests this process has had to repeat."""
  return retry.repeats.total


def _encode_json(value: Any) -> bytes:
  return (json.dumps(value, indent=2) + "\n").encode()


def _read_chunk(path: str, length: int, start: int) -> bytes:
  return file_system(path).read_range(path, start, start + length)
