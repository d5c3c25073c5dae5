"""Files on any file system that fsspec knows: s3://, abfs://, hdfs://, memory:// and many more."""

from __future__ import annotations

import errno
import functools
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, BinaryIO, cast

from fsspec import AbstractFileSystem
from google.api_core.exceptions import RetryError

from files import retry
from files.base import FileInfo, FileSystem, missing, temporary
from files.read_ahead import map_ahead

PIECE_BYTES = 1 << 24

CONCURRENT_REQUESTS = 32

_GROUP_FILES = 64
_GROUP_BYTES = 1 << 25
_PASSING = (errno.EBUSY, errno.ETIMEDOUT, errno.EAGAIN)


class RemoteFiles(FileSystem):
  """A bucket, container or server.

  Only those methods of fsspec are used that take a path as it is: none that expand patterns.

  Args:
    root: what all paths here begin with: `scheme://bucket`.
    system: fsspec's file system.
    system_root: what `system` calls the root.
    has_directories: whether files lie in directories, which must be made, and can be renamed; else
      it is an object store, where a file appears when it is whole.
    at_once: how many requests to make at once where there are many files.
  """

  def __init__(
    self,
    root: str,
    system: AbstractFileSystem,
    system_root: str,
    has_directories: bool,
    at_once: int = CONCURRENT_REQUESTS,
  ):
    self._system = system
    self._root = root
    self._system_root = system_root.rstrip("/")
    self._has_directories = has_directories
    self._at_once = at_once
    # Where fsspec's own stands in for renaming, it copies, and takes paths for patterns.
    self._renames = has_directories and type(system).mv is not AbstractFileSystem.mv

  def list_files(self, directory: str) -> list[FileInfo]:
    found = self._find(directory.rstrip("/"))
    # What ends in a slash only makes an empty directory show in a browser.
    return [info for info in found if info.name and not info.name.endswith("/")]

  def exists(self, path: str) -> bool:
    try:
      return self._info(path)["type"] == "file" or self._has_directories
    except FileNotFoundError:
      return False

  def size(self, path: str) -> int:
    info = self._info(path)
    if info["type"] != "file":
      raise missing(path)
    return info["size"]

  def read(self, path: str) -> bytes:
    return self._call(path, self._system.cat_file)

  def read_range(self, path: str, start: int, stop: int) -> bytes:
    try:
      return self._call(path, self._system.cat_file, start=start, end=stop)
    except OSError:
      if start >= self.size(path):
        return b""
      raise

  def read_many(self, paths: Sequence[str]) -> Iterator[bytes | OSError]:
    pace = _Pace()
    read = functools.partial(self._read_together, pace)
    for _, reading in map_ahead(read, pace.group(paths), 1):
      yield from reading.result()

  def write(self, path: str, content: bytes) -> None:
    self._check_file(path)
    if self._has_directories:
      with self.create(path) as file:
        file.write(content)
    else:
      self._call(path, self._system.pipe_file, content)

  def claim(self, path: str, content: bytes) -> bool:
    if self._has_directories:
      self._make_directory(path)
    try:
      self._call(path, self._system.pipe_file, content, mode="create")
    except OSError:
      # It is there: made by somebody else, or by a request of ours whose answer was lost.
      if not self.exists(path):
        raise
      return self.read(path) == content
    return True

  @contextmanager
  def create(self, path: str) -> Iterator[BinaryIO]:
    self._check_file(path)
    target = path
    if self._has_directories:
      target = temporary(path)
      self._make_directory(path)
    file = self._call(target, self._system.open, "wb", block_size=PIECE_BYTES)
    try:
      yield cast(BinaryIO, _Writer(file, path, self._calling))
      with self._calling(path):
        file.close()
      if target != path:
        self._move(target, path)
    except BaseException:
      abandon(file)
      if target != path:
        with suppress(OSError):
          self._call(target, self._system.rm_file)
      raise

  def move(self, moves: Sequence[tuple[str, str]]) -> None:
    self._together(lambda pair: self._move(*pair), moves)

  def delete(self, paths: Sequence[str]) -> None:
    self._together(self._delete, paths)

  def delete_left_over(self, path: str) -> None:
    """Does nothing: object stores show no half file, and elsewhere hosts are many."""

  def delete_directory(self, directory: str) -> None:
    directory = directory.rstrip("/")
    self.delete([f"{directory}/{info.name}" for info in self._find(directory)])
    if self._has_directories:
      self._remove_directories(directory)

  @contextmanager
  def _calling(self, path: str) -> Iterator[None]:
    """Turns what the packages below raise into plain errors that name the path, in one line."""
    with retry.reporting():
      try:
        yield
      except FileNotFoundError as error:
        raise missing(path) from error
      except RetryError as error:
        raise OSError(f"{path}: {_describe(error.cause)}, for {retry.PATIENCE:g} s") from error
      except Exception as error:  # packages raise errors of many kinds
        raise OSError(f"{path}: {_describe(error)}") from error

  def _call(self, path: str, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Calls a method of fsspec for a path, again where that may help."""
    call = functools.partial(method, self._locate(path), *args, **options)
    with self._calling(path):
      return retry.repeat(call, self._is_passing)

  def _is_passing(self, error: Exception) -> bool:
    """Whether a call may succeed if it is repeated, after what the package itself repeats."""
    return isinstance(error, ConnectionError | TimeoutError) or (
      isinstance(error, OSError) and error.errno in _PASSING
    )

  def _locate(self, path: str) -> str:
    """Returns what fsspec's file system calls a path."""
    return self._system_root + path[len(self._root) :]

  def _find(self, directory: str) -> list[FileInfo]:
    """Returns everything below a directory."""
    self._system.invalidate_cache()
    if self._has_directories:
      entries = list(self._walk(directory))
    else:
      entries = list(self._call(directory, self._system.find, detail=True).values())
    below = self._locate(directory) + "/"
    return [
      FileInfo(entry["name"][len(below) :], entry["size"])
      for entry in entries
      if entry["name"].startswith(below)
    ]

  def _walk(self, directory: str) -> Iterator[dict[str, Any]]:
    try:
      entries = self._call(directory, self._system.ls, detail=True)
    except FileNotFoundError:
      return
    for entry in entries:
      if entry["type"] == "directory":
        yield from self._walk(self._root + entry["name"].rstrip("/")[len(self._system_root) :])
      else:
        yield entry

  def _info(self, path: str) -> dict[str, Any]:
    self._system.invalidate_cache()
    return self._call(path, self._system.info)

  def _read_together(self, pace: _Pace, paths: Sequence[str]) -> list[bytes | OSError]:
    with retry.reporting():
      located = [self._locate(path) for path in paths]
      answers = self._system.cat_ranges(
        located, None, None, on_error="return", batch_size=self._at_once
      )
      contents = [self._plain(answer, path) for answer, path in zip(answers, paths, strict=True)]
    pace.learn(contents)
    return contents

  def _plain(self, answer: bytes | Exception, path: str) -> bytes | OSError:
    if not isinstance(answer, Exception):
      return answer
    if self._is_passing(answer):
      try:
        return self.read(path)
      except OSError as error:
        return error
    try:
      with self._calling(path):
        raise answer
    except OSError as error:
      return error

  def _move(self, source: str, target: str) -> None:
    if self._has_directories:
      self._make_directory(target)
    if self._renames:
      self._call(source, self._system.mv, self._locate(target))
    else:
      self._call(source, self._system.cp_file, self._locate(target))
      self._delete(source)

  def _delete(self, path: str) -> None:
    if path.rstrip("/") == self._root:
      self._check_file(self._root)
    with suppress(FileNotFoundError):
      self._call(path, self._system.rm_file)

  def _check_file(self, path: str) -> None:
    """Makes sure that a path may name a file, and does not name the bucket."""
    if path.endswith("/") or path == self._root:
      raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)

  def _make_directory(self, path: str) -> None:
    self._call(path.rpartition("/")[0], self._system.makedirs, exist_ok=True)

  def _remove_directories(self, directory: str) -> None:
    with suppress(FileNotFoundError):
      for entry in self._call(directory, self._system.ls, detail=True):
        if entry["type"] == "directory":
          self._remove_directories(self._root + entry["name"][len(self._system_root) :])
      self._call(directory, self._system.rmdir)

  def _together(self, do: Callable[[Any], None], items: Sequence[Any]) -> None:
    for _, doing in map_ahead(do, items, self._at_once):
      doing.result()


def abandon(file: Any) -> None:
  """Gives up a file that is being written; closing it would make what was written so far a file."""
  if not file.closed:
    with suppress(Exception):  # an upload that is left alone expires
      file.discard()
    with suppress(AttributeError):
      file.closed = True  # memory's are not told, and need not be


class _Writer(io.BufferedIOBase):
  """The face of a file being written: what is wrong is an `OSError` that names the path."""

  def __init__(self, file: Any, path: str, calling: Callable[[str], AbstractContextManager[None]]):
    self._file = file
    self._path = path
    self._calling = calling

  def writable(self) -> bool:
    return True

  def write(self, content: Any) -> int:
    with self._calling(self._path):
      return self._file.write(content)


class _Pace:
  """Says how many files to read at once: what fits into memory, if the next are as large."""

  def __init__(self) -> None:
    self._files = 8  # before anything is known

  def group(self, paths: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yields the paths, some at a time."""
    start = 0
    while start < len(paths):
      stop = start + self._files
      yield paths[start:stop]
      start = stop

  def learn(self, contents: Sequence[bytes | OSError]) -> None:
    """Takes note of how large files are."""
    sizes = [len(content) for content in contents if isinstance(content, bytes)]
    if sizes:
      self._files = max(1, min(_GROUP_FILES, _GROUP_BYTES * len(sizes) // max(1, sum(sizes))))


def _describe(error: Exception) -> str:
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  return str(error).strip().partition("\n")[0] or type(error).__name__
