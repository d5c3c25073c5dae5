"""What a file system has to do; `local`, `remote` and `gcs` do it."""

from __future__ import annotations

import abc
import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, NamedTuple

from files import scratch

_TEMPORARY = re.compile(r"\.(?P<token>(?:[0-9a-f]{8}-\d+-\d+-)?[0-9a-f]{32})\.tmp$")
_LONGEST_STEM = 170  # bytes; most file systems take names of 255


class FileInfo(NamedTuple):
  """A file found by `list_files`.

  Attributes:
    name: its path below the listed directory.
    size: its size in bytes; 0 if it cannot be read.
    problem: why it cannot be read, to be put after its path; empty if it can. Only local disks have
      such: a symbolic link that leads nowhere or round in a circle, a pipe, a socket or a device.
  """

  name: str
  size: int
  problem: str = ""


class FileSystem(abc.ABC):
  """One kind of file system. Paths are literal: no character means anything but itself.

  All methods raise plain `OSError`s that name the path, once what might pass has been tried again.
  """

  @abc.abstractmethod
  def list_files(self, directory: str) -> list[FileInfo]:
    """Returns all files below a directory, temporary ones too, in any order."""

  @abc.abstractmethod
  def exists(self, path: str) -> bool:
    """Whether there is a file (or a directory, where there are such)."""

  @abc.abstractmethod
  def size(self, path: str) -> int:
    """Returns how many bytes a file has."""

  @abc.abstractmethod
  def read(self, path: str) -> bytes:
    """Returns the content of a file."""

  @abc.abstractmethod
  def read_range(self, path: str, start: int, stop: int) -> bytes:
    """Returns the bytes from `start` to before `stop`, or to the end if that comes first."""

  @abc.abstractmethod
  def read_many(self, paths: Sequence[str]) -> Iterator[bytes | OSError]:
    """Yields the contents of many files, or why they cannot be read, fetching several at once."""

  @abc.abstractmethod
  def write(self, path: str, content: bytes) -> None:
    """Writes a file that appears when it is whole."""

  @abc.abstractmethod
  def claim(self, path: str, content: bytes) -> bool:
    """Writes a file that is not there yet, whole; returns whether this call made it."""

  @abc.abstractmethod
  def create(self, path: str) -> AbstractContextManager[BinaryIO]:
    """Opens a file for writing that appears when it is whole, unless the block raises."""

  @abc.abstractmethod
  def move(self, moves: Sequence[tuple[str, str]]) -> None:
    """Renames files, replacing what is there and making directories as needed."""

  @abc.abstractmethod
  def delete(self, paths: Sequence[str]) -> None:
    """Deletes files that may or may not be there."""

  @abc.abstractmethod
  def delete_left_over(self, path: str) -> None:
    """Deletes what dead processes of this host have left of writing a file, where that is known."""

  @abc.abstractmethod
  def delete_directory(self, directory: str) -> None:
    """Deletes a directory that may or may not be there, and everything in it."""


def temporary(path: str) -> str:
  """Returns a new name beside a path, for what is not whole yet; it says who writes it."""
  return f"{_stem(path)}.{scratch.owned_token()}.tmp"


def is_temporary(name: str) -> bool:
  """Whether a file is one that is being written, or that an interrupted write has left behind."""
  return _TEMPORARY.search(name) is not None


def is_being_written(name: str) -> bool:
  """Whether a file is a temporary one of a process of this host which lives."""
  match = _TEMPORARY.search(name)
  return match is not None and scratch.is_in_use(match["token"])


def is_left_over(name: str, of: str | None = None) -> bool:
  """Whether a file is a temporary one of a process of this host which is dead.

  Args:
    name: its path.
    of: the path that it was to get; None for any.
  """
  match = _TEMPORARY.search(name)
  if match is None or (of is not None and name[: match.start()] != _stem(of)):
    return False
  return scratch.is_left_over(match["token"])


def _stem(path: str) -> str:
  directory, slash, name = path.rpartition("/")
  return directory + slash + os.fsencode(name)[:_LONGEST_STEM].decode(errors="ignore")


def missing(path: str) -> FileNotFoundError:
  """Returns the error that says that there is no such file."""
  return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
