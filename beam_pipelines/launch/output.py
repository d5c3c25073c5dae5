"""The one file that a command writes: never over a device, a pipe or a directory."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import NamedTuple, TextIO

import files
from beam_pipelines.launch import arguments
from beam_pipelines.launch.groups import WRITES
from beam_pipelines.launch.parser import Parser
from files.errors import UsageError

STANDARD_OUTPUT = "standard output"

_STANDARD_OUTPUTS = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_NOT_FILES = (
  (stat.S_ISDIR, "a directory: give the path of a file in it"),
  (stat.S_ISFIFO, "a pipe: write a file, or - for standard output"),
  (stat.S_ISSOCK, "a socket: write a file, or - for standard output"),
  (stat.S_ISCHR, "a device: give the path of a file"),
  (stat.S_ISBLK, "a device: give the path of a file"),
)


class Output(NamedTuple):
  """Where a command writes its one file.

  Attributes:
    path: as it was given, made absolute; None for standard output.
    target: the file that is written: where the path's symbolic links lead.
  """

  path: str | None
  target: str | None

  def __str__(self) -> str:
    return self.path or STANDARD_OUTPUT

  def write(self, content: bytes) -> None:
    """Writes the file, atomically; a symbolic link stays, and what it leads to is replaced.

    Raises:
      UsageError: it cannot be written.
    """
    try:
      if self.target is None:
        _write_standard_output(content)
      else:
        _check(str(self), self.target)  # which may have changed since the command began
        files.delete_left_over(self.target)
        files.write_bytes(self.target, content)
    except OSError as error:
      reason = error.strerror or str(error).partition("\n")[0]
      raise UsageError(f"{self} cannot be written: {reason.lower()}") from error

  @property
  def messages(self) -> TextIO:
    """Where there is to be said what is written: standard error if the file is on the output."""
    return sys.stderr if self.target is None else sys.stdout

  def say(self, text: str) -> None:
    """Prints what there is to say of the file."""
    print(text, file=self.messages)


def add_flag(
  parser: Parser,
  default: str | None = None,
  what: str = "file to write, - for standard output",
  *,
  optional: bool = False,
) -> None:
  """Adds `--output`, for `open_output`; without a default it is required, or None if optional."""
  parser.add(
    WRITES,
    "--output",
    type=_path,
    metavar="FILE",
    default=default,
    required=default is None and not optional,
    help=what,
  )


def open_output(path: str) -> Output:
  """Returns the output that a path means, before any work is done for it.

  Args:
    path: a value of the flag `--output`.

  Raises:
    UsageError: there is a directory, a device, a pipe or a socket.
    OSError: the path cannot be looked at.
  """
  if path in _STANDARD_OUTPUTS:
    return Output(None, None)
  if "://" in path:
    return Output(path, path)
  target = os.path.realpath(path)  # a `Path` would raise errors of its own kind at a loop of links
  _check(path, target)
  return Output(path, target)


def _write_standard_output(content: bytes) -> None:
  try:
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
  except OSError:
    # What is left in the buffer would be tried again at exit, with a complaint of Python's own.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise


def _path(text: str) -> str:
  if text in _STANDARD_OUTPUTS:
    return text
  # An absolute path has no slash at its end, which is what tells a directory that is not there.
  return arguments.path(text) + ("/" if text.endswith("/") and "://" not in text else "")


def _check(path: str, target: str) -> None:
  if path.endswith("/"):
    raise UsageError(f"{path} is {_NOT_FILES[0][1]}")
  try:
    mode = Path(target).stat().st_mode
  except FileNotFoundError:
    return
  for is_such, what in _NOT_FILES:
    if is_such(mode):
      raise UsageError(f"{path} is {what}")
