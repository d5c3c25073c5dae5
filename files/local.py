"""Files on local disks."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from files.base import FileInfo, FileSystem, is_left_over, temporary
from files.read_ahead import map_ahead

_CONCURRENT_READS = 8
_NOT_THERE = (FileNotFoundError, NotADirectoryError)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class LocalFiles(FileSystem):
  """Symbolic links are followed, when listing and when writing, but not when deleting."""

  def list_files(self, directory: str) -> list[FileInfo]:
    root = directory.rstrip("/") or "/"
    if not self.exists(root) and not os.path.islink(root):
      return []
    return list(_walk(root, "", (root,)))

  def exists(self, path: str) -> bool:
    try:
      os.stat(path)
    except _NOT_THERE:
      return False
    return True

  def size(self, path: str) -> int:
    status = os.stat(path)
    _check_file(path, status)
    return status.st_size

  def read(self, path: str) -> bytes:
    with _reading(path) as file:
      return file.read()

  def read_range(self, path: str, start: int, stop: int) -> bytes:
    with _reading(path) as file:
      file.seek(start)
      return b"".join(iter(lambda: file.read(stop - file.tell()), b""))

  def read_many(self, paths: Sequence[str]) -> Iterator[bytes | OSError]:
    for _, reading in map_ahead(self._read_or_error, paths, _CONCURRENT_READS):
      yield reading.result()

  def write(self, path: str, content: bytes) -> None:
    with self.create(path) as file:
      file.write(content)

  def claim(self, path: str, content: bytes) -> bool:
    unfinished = temporary(path)
    with _naming(path):
      self.write(unfinished, content)
    try:
      os.link(unfinished, path)  # fails if it is there, and shows it whole
    except FileExistsError:
      return False
    except OSError as error:
      if error.errno not in _NO_LINKS:
        raise
      return _make_new(path, content)
    finally:
      os.unlink(unfinished)
    return True

  @contextmanager
  def create(self, path: str) -> Iterator[BinaryIO]:
    with _naming(path):
      target = _follow(path)
      unfinished = temporary(target)
      file = _open_new(unfinished)
    try:
      with file:
        yield file
      os.replace(unfinished, target)
    except BaseException as error:
      with suppress(OSError):
        Path(unfinished).unlink()
      if isinstance(error, OSError) and error.filename in (None, unfinished):
        raise _renamed(error, path) from error
      raise

  def move(self, moves: Sequence[tuple[str, str]]) -> None:
    for source, target in moves:
      _move(source, target)

  def delete(self, paths: Sequence[str]) -> None:
    for path in paths:
      with suppress(*_NOT_THERE):
        os.unlink(path)

  def delete_left_over(self, path: str) -> None:
    target = os.path.realpath(path)
    with suppress(OSError), os.scandir(os.path.dirname(target)) as entries:
      self.delete([entry.path for entry in entries if is_left_over(entry.path, target)])

  def delete_directory(self, directory: str) -> None:
    directory = directory.rstrip("/") or "/"
    while os.path.lexists(directory):
      # Another process may delete the same meanwhile.
      with suppress(FileNotFoundError):
        if os.path.islink(directory) or not os.path.isdir(directory):
          os.unlink(directory)
        else:
          shutil.rmtree(directory)

  def _read_or_error(self, path: str) -> bytes | OSError:
    try:
      return self.read(path)
    except OSError as error:
      return error


def _walk(directory: str, prefix: str, above: tuple[str, ...]) -> Iterator[FileInfo]:
  """Yields what is below a directory; `above` is the directory and those that led to it."""
  with os.scandir(directory) as entries:
    for entry in entries:
      name = prefix + entry.name
      if not entry.is_symlink() and entry.is_dir():
        yield from _walk(entry.path, f"{name}/", (*above, entry.path))
        continue
      try:
        status = entry.stat()
      except OSError as error:
        if entry.is_symlink() and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
          yield FileInfo(name, 0, _broken_link(entry.path, error))
        elif error.errno != errno.ENOENT:  # otherwise it was renamed or deleted meanwhile
          raise
        continue
      if stat.S_ISDIR(status.st_mode):
        holder = next((path for path in above if os.path.samefile(path, entry.path)), None)
        if holder is None:
          yield from _walk(entry.path, f"{name}/", (*above, entry.path))
        else:
          yield FileInfo(name, 0, f"is a symbolic link that leads back to {holder}, which holds it")
      elif stat.S_ISREG(status.st_mode):
        yield FileInfo(name, status.st_size)
      else:
        yield FileInfo(name, 0, f"is {_kind(status)}, not a file")


def _broken_link(path: str, error: OSError) -> str:
  if error.errno == errno.ELOOP:
    return "is a symbolic link that leads to itself"
  return f"is a symbolic link to {os.readlink(path)}, where there is nothing"


def _kind(status: os.stat_result) -> str:
  if stat.S_ISFIFO(status.st_mode):
    return "a pipe"
  if stat.S_ISSOCK(status.st_mode):
    return "a socket"
  return "a device"


@contextmanager
def _reading(path: str) -> Iterator[FileIO]:
  with open(path, "rb", buffering=0, opener=_open_at_once) as file, _naming(path):
    _check_file(path, os.fstat(file.fileno()))
    yield file


def _open_at_once(path: str, flags: int) -> int:
  """Opens a file without waiting for the other end, should it be a pipe."""
  return os.open(path, flags | os.O_NONBLOCK)


def _check_file(path: str, status: os.stat_result) -> None:
  if stat.S_ISDIR(status.st_mode):
    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
  if not stat.S_ISREG(status.st_mode):
    raise OSError(errno.EINVAL, f"Is {_kind(status)}, not a file", path)


def _follow(path: str) -> str:
  """Returns where a file is to be written: where a link leads to."""
  with suppress(*_NOT_THERE):
    _check_file(path, os.stat(path))
  return os.path.realpath(path) if os.path.islink(path) else path


def _open_new(path: str) -> BinaryIO:
  try:
    return open(path, "xb")
  except FileNotFoundError:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return open(path, "xb")


def _make_new(path: str, content: bytes) -> bool:
  """Claims a file where there are no hard links; whoever reads it at once may see it half."""
  try:
    with open(path, "xb") as file, _naming(path):
      file.write(content)
  except FileExistsError:
    return False
  return True


def _move(source: str, target: str) -> None:
  try:
    os.replace(source, target)
  except FileNotFoundError:
    os.stat(source)
    os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
    os.replace(source, target)
  except IsADirectoryError:
    with _naming(target):
      os.rmdir(target)  # which nobody lists, as long as it is empty
    os.replace(source, target)
  except OSError as error:
    if error.errno != errno.EXDEV:
      raise
    copy = temporary(target)  # a directory below may lie on another disk
    with _removing(copy):
      shutil.copyfile(source, copy)
      os.replace(copy, target)
    os.unlink(source)


@contextmanager
def _removing(path: str) -> Iterator[None]:
  try:
    yield
  except BaseException:
    with suppress(OSError):
      os.unlink(path)
    raise


@contextmanager
def _naming(path: str) -> Iterator[None]:
  """Puts a path into errors that have none, or that of a temporary file."""
  try:
    yield
  except OSError as error:
    raise _renamed(error, path) from error


def _renamed(error: OSError, path: str) -> OSError:
  return OSError(error.errno, error.strerror, path) if error.errno else error
