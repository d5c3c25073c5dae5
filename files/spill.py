"""Values that wait on a local disk rather than in memory."""

from __future__ import annotations

import dataclasses
import pickle
import uuid
from pathlib import Path
from typing import Any, BinaryIO


@dataclasses.dataclass(frozen=True)
class Spilled:
  """Where a value lies: it was pickled by `SpillFile.put`, of this command, and by nobody else.

  Attributes:
    path: of a file in the directory of a `Spill`.
    start: of the value's first byte.
    size: bytes.
  """

  path: str
  start: int
  size: int


class SpillFile:
  """A file of values, one after the other. Each can be loaded as soon as it is put there."""

  def __init__(self, path: Path, file: BinaryIO):
    self._path = str(path)
    self._file = file

  def put(self, value: Any) -> Spilled:
    """Writes a value; returns where it lies."""
    start = self._file.tell()
    pickle.dump(value, self._file, protocol=pickle.HIGHEST_PROTOCOL)
    self._file.flush()
    return Spilled(self._path, start, self._file.tell() - start)

  def close(self) -> None:
    """Ends the file."""
    self._file.close()


@dataclasses.dataclass(frozen=True)
class Spill:
  """A directory for values, on a disk that whoever loads them has, too.

  Attributes:
    directory: a local one, which its owner removes: values stay until then.
  """

  directory: str

  def open(self) -> SpillFile:
    """Returns a new file, for one thread."""
    path = Path(self.directory) / uuid.uuid4().hex
    return SpillFile(path, path.open("xb"))


def load(value: Any) -> Any:
  """Returns a spilled value; one that is not spilled, as it is."""
  if not isinstance(value, Spilled):
    return value
  with open(value.path, "rb") as file:
    file.seek(value.start)
    return pickle.loads(file.read(value.size))
