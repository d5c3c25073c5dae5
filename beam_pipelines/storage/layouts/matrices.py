"""Arrays of other tools in files, opened to be read by rows: `.npy`, `.npz`, and PyTorch's."""

from __future__ import annotations

import posixpath
from typing import NamedTuple, Protocol

import numpy as np

import files
from beam_pipelines.storage.layouts.torch_files import TorchFileError, as_array, read_tensors
from files.errors import UsageError
from files.npy_rows import NpyRows
from files.npz import NpzError, list_arrays, read_arrays

_TORCH = (".pt", ".pth")


class Matrix(Protocol):
  """An array whose first axis is read a range at a time."""

  @property
  def path(self) -> str:
    """Where it lies."""
    ...

  @property
  def shape(self) -> tuple[int, ...]:
    """Its shape."""
    ...

  @property
  def dtype(self) -> np.dtype:
    """Of its entries."""
    ...

  def read(self, start: int, stop: int) -> np.ndarray:
    """Returns rows, `[stop - start, …]`."""
    ...


class HeldMatrix(NamedTuple):
  """An array that was read as a whole, because its file cannot be read by ranges."""

  path: str
  array: np.ndarray

  @property
  def shape(self) -> tuple[int, ...]:
    """Its shape."""
    return self.array.shape

  @property
  def dtype(self) -> np.dtype:
    """Of its entries."""
    return self.array.dtype

  def read(self, start: int, stop: int) -> np.ndarray:
    """Returns rows, `[stop - start, …]`."""
    return self.array[start:stop]


def open_matrix(path: str, name: str) -> Matrix:
  """Opens an array of numbers.

  An `.npy` file is read by ranges, whatever its size. An `.npz` archive is held in memory; of
  several arrays, the one called `name` is taken. So is what PyTorch has saved, a tensor or a
  dictionary of them, which is never unpickled but read as weights.

  Args:
    path: the file.
    name: what it is to hold.

  Raises:
    UsageError: it is damaged or of another kind, or there is no PyTorch to read it.
    OSError: it cannot be read, or is no file.
  """
  if path.endswith(".npz"):
    return HeldMatrix(path, _read_archive(path, name))
  if path.endswith(_TORCH):
    return HeldMatrix(path, _read_torch(path, name))
  return NpyRows.open(path)


def find_array(directory: str, names: list[str], stem: str) -> str | None:
  """Returns the path of the file of an array in a directory, whatever its suffix, or None.

  Args:
    directory: where it lies.
    names: the files there, by paths below it.
    stem: its name without suffix.
  """
  for suffix in (".npy", ".npz", *_TORCH):
    if stem + suffix in names:
      return files.join(directory, stem + suffix)
  return None


def _read_archive(path: str, name: str) -> np.ndarray:
  content = files.read_bytes(path)
  try:
    found = list_arrays(content)
    chosen = _choose(path, found, name)
    return _checked(path, read_arrays(content, [chosen])[chosen])
  except NpzError as error:
    raise UsageError(f"{path} cannot be read as npz: {error}") from error


def _read_torch(path: str, name: str) -> np.ndarray:
  try:
    found = read_tensors(files.read_bytes(path))
    chosen = next(iter(found)) if "" in found else _choose(path, list(found), name)
    return _checked(path, as_array(found[chosen]))
  except TorchFileError as error:
    raise UsageError(f"{path} {error}") from error


def _choose(path: str, found: list[str], name: str) -> str:
  if name in found:
    return name
  if len(found) == 1:
    return found[0]
  shown = ", ".join(sorted(found)[:10]) or "nothing"
  raise UsageError(f"{path} holds {shown}: the array must be called {name}, or be the only one")


def _checked(path: str, array: np.ndarray) -> np.ndarray:
  if not array.ndim:
    raise UsageError(f"{path} holds a single number: an array has rows")
  return array


def stem_of(path: str) -> str:
  """Returns the name of a file without its suffix."""
  return posixpath.splitext(posixpath.basename(path))[0]
