"""Scratch directories, which their process removes, or the next one if it was killed."""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import platform
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

_PREFIX = "heldout-"
_OWNED = re.compile(r"(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<started>\d+)-[0-9a-f]{32}")

# How much a clock may be set between two readings of when one process started.
_CLOCK_SECONDS = 60


def new_name() -> str:
  """Returns a name for a directory of this process: it says on which host, and who that is."""
  return _PREFIX + owned_token()


def owned_token() -> str:
  """Returns a new part of a name, which says on which host this process is, and which one."""
  pid = os.getpid()
  return f"{_host()}-{pid}-{_own_start(pid)}-{uuid.uuid4().hex}"


@contextmanager
def local_directory() -> Iterator[Path]:
  """Yields a new directory below `tempfile.gettempdir()`; it is gone afterwards."""
  directory = Path(tempfile.gettempdir()) / new_name()
  directory.mkdir(mode=0o700)
  try:
    yield directory
  finally:
    shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def temporary_files_until_exit() -> Iterator[Path]:
  """What the body leaves behind as temporary files is removed when this process ends.

  For libraries that make temporary files, use them until the process ends, and forget them. Yields
  the directory in which they are made.
  """
  directory = Path(tempfile.gettempdir()) / new_name()
  directory.mkdir(mode=0o700)
  atexit.register(shutil.rmtree, directory, ignore_errors=True)
  before, tempfile.tempdir = tempfile.tempdir, str(directory)
  try:
    yield directory
  finally:
    tempfile.tempdir = before


def remove_leftovers(directory: str | None = None) -> None:
  """Removes the scratch directories of dead processes of this host, where it may.

  Args:
    directory: a local one, where they lie; None: `tempfile.gettempdir()`.
  """
  parent = Path(directory or tempfile.gettempdir())
  for path in parent.glob(f"{_PREFIX}*"):
    if is_left_over(path.name):
      shutil.rmtree(path, ignore_errors=True)


def is_left_over(name: str) -> bool:
  """Whether a name, or the token in one, is of a process of this host which is dead."""
  match = _OWNED.fullmatch(name.removeprefix(_PREFIX))
  return match is not None and match["host"] == _host() and not _lives(match)


def is_in_use(name: str) -> bool:
  """Whether a name, or the token in one, is of a process of this host which lives."""
  match = _OWNED.fullmatch(name.removeprefix(_PREFIX))
  return match is not None and match["host"] == _host() and _lives(match)


def _lives(owner: re.Match[str]) -> bool:
  """A process that started later has only inherited the number."""
  try:
    return _started(int(owner["pid"])) <= int(owner["started"]) + _CLOCK_SECONDS
  except psutil.NoSuchProcess:
    return False


@functools.lru_cache(1)  # a child that was forked has another number
def _own_start(pid: int) -> int:
  return _started(pid)


def _started(pid: int) -> int:
  return int(psutil.Process(pid).create_time())


@functools.cache
def _host() -> str:
  """Names the set of processes that process ids tell apart: containers have their own."""
  namespace = Path("/proc/self/ns/pid")
  parts = [platform.node(), str(namespace.readlink()) if namespace.exists() else ""]
  return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
