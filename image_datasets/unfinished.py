"""The mark beside TFRecords that are being written, or whose writing was stopped."""

from collections.abc import Collection

import files
from files import scratch
from files.errors import UsageError
from image_datasets.errors import DatasetError

_STOPPED = b"stopped"


def begin(directory: str, split: str) -> str:
  """Marks the files of a split as being written, by this call alone; returns its token.

  What a process of this host has left marked that is dead, or that has stopped, is taken over.

  Raises:
    UsageError: another command is writing them, or may be.
    OSError: the mark cannot be written.
  """
  path, token = _path(directory, split), scratch.new_name()
  if files.claim(path, token.encode()):
    return token
  owner = files.read_bytes(path)
  if owner != _STOPPED and not scratch.is_left_over(owner.decode(errors="replace")):
    raise UsageError(
      f"{path} says that another command is writing these files: wait for it, or delete that file "
      "if there is none, on no machine"
    )
  files.write_bytes(path, token.encode())
  return token


def is_held(directory: str, split: str, token: str) -> bool:
  """Whether the mark is still that of the call that returned a token."""
  path = _path(directory, split)
  return files.exists(path) and files.read_bytes(path) == token.encode()


def stop(directory: str, split: str, token: str) -> None:
  """Says that nobody writes the files any longer, and that they are not whole."""
  if is_held(directory, split, token):
    files.write_bytes(_path(directory, split), _STOPPED)


def finish(directory: str, split: str) -> None:
  """Takes the mark away: the files are whole."""
  files.delete([_path(directory, split)])


def check_finished(directory: str, split: str, names: Collection[str]) -> None:
  """Makes sure that the files of a split are not marked.

  Args:
    directory: of the files.
    split: what their names begin with.
    names: all files in the directory.

  Raises:
    DatasetError: they are.
  """
  if _name(split) in names:
    raise DatasetError(
      f"{directory}: its {split} files are being written, or that was stopped: wait, or run "
      "`heldout build-tfrecords` again"
    )


def _path(directory: str, split: str) -> str:
  return files.join(directory, _name(split))


def _name(split: str) -> str:
  return f"{split}-unfinished"
