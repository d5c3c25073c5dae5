"""Dense influence: `<scores>/influence.zarr`, a Zarr group of one matrix per subset ratio.

Zarr sees the group's files through `files`, so that they lie wherever the other tables do, and are
written and retried as those are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, MutableMapping

import numpy as np
import zarr
from zarr.abc.buffer import Buffer
from zarr.buffer import cpu
from zarr.errors import ArrayNotFoundError, GroupNotFoundError
from zarr.storage import MemoryStore

import files
from beam_pipelines.storage.scores.damage import explained_damage
from files.errors import UsageError

GROUP = "influence.zarr"


class _Files(MutableMapping[str, Buffer]):
  """The files below a directory, by name: what a store of Zarr is made of."""

  def __init__(self, directory: str):
    self._directory = directory

  def __getitem__(self, name: str) -> Buffer:
    try:
      return cpu.Buffer.from_bytes(files.read_bytes(self._path(name)))
    except FileNotFoundError as error:
      raise KeyError(name) from error

  def __setitem__(self, name: str, content: Buffer) -> None:
    files.write_bytes(self._path(name), content.to_bytes())

  def __delitem__(self, name: str) -> None:
    files.delete([self._path(name)])

  def __iter__(self) -> Iterator[str]:
    return (info.name for info in files.list_files(self._directory))

  def __len__(self) -> int:
    return sum(1 for _ in self)

  def __contains__(self, name: object) -> bool:
    return isinstance(name, str) and files.exists(self._path(name))

  def _path(self, name: str) -> str:
    return files.join(self._directory, name)


def _store(group: str) -> MemoryStore:
  return MemoryStore(_Files(group))  # which takes any mapping for its memory


def array_name(subset_ratio: float) -> str:
  """Returns the name of a subset ratio's matrix in the group."""
  return f"ratio-{subset_ratio}"


def create_dense(group: str, subset_ratio: float, shape: tuple[int, int], rows: int) -> list[str]:
  """Creates the matrix of one subset ratio, all NaN; a repetition changes nothing.

  Args:
    group: path of the Zarr group, made if need be.
    subset_ratio: whose matrix.
    shape: training and test examples.
    rows: training examples per chunk.

  Returns:
    The files that describe group and matrix, below the group.
  """
  store = _store(group)
  zarr.open_group(store, mode="a")
  zarr.create_array(
    store,
    name=array_name(subset_ratio),
    shape=shape,
    chunks=(min(rows, shape[0]), max(1, shape[1])),
    dtype="float32",
    fill_value=math.nan,
    dimension_names=("train_example", "test_example"),
    attributes={"subset_ratio": subset_ratio},
    overwrite=True,
  )
  return ["zarr.json", f"{array_name(subset_ratio)}/zarr.json"]


def write_rows(group: str, subset_ratio: float, start: int, influence: np.ndarray) -> str:
  """Writes one chunk of rows of a matrix that was created; a repetition writes the same file.

  Args:
    group: path of the Zarr group.
    subset_ratio: whose matrix.
    start: first training example, at the start of a chunk.
    influence: float32 [rows, test examples].

  Returns:
    The chunk's file, below the group; it does not exist if all is NaN.
  """
  name = array_name(subset_ratio)
  matrix = zarr.open_array(_store(group), path=name, mode="r+")
  matrix[start : start + len(influence)] = influence
  return _chunk_file(matrix, start)


def _chunk_file(matrix: zarr.Array, start: int) -> str:
  return f"{matrix.path}/c/{start // matrix.chunks[0]}/0"


def read_dense(scores: str, subset_ratio: float) -> zarr.Array:
  """Opens the influence matrix of one subset ratio: float32 [train, test], NaN where undefined.

  Nothing is read before it is sliced.

  Raises:
    UsageError: the scores directory holds no such matrix, or what describes it is damaged.
  """
  name = array_name(subset_ratio)
  group = files.join(scores, GROUP)
  missing = (ArrayNotFoundError, GroupNotFoundError, FileNotFoundError)
  try:
    with explained_damage(files.join(group, name, "zarr.json"), passing=(OSError, *missing)):
      matrix = zarr.open_array(_store(group), path=name, mode="r")
      if matrix.ndim != 2 or matrix.dtype != np.float32:
        raise ValueError(f"{matrix.dtype} of shape {matrix.shape}")
      return matrix
  except missing:
    raise UsageError(
      f"{scores} holds no dense influence at ratio {subset_ratio} ({GROUP}/{name}): "
      "run `heldout score --dense`"
    ) from None


def row_blocks(scores: str, matrix: zarr.Array) -> Iterator[tuple[slice, np.ndarray]]:
  """Reads a matrix once, in blocks of its chunks' rows: yields which rows, and the rows.

  Args:
    scores: the scores directory.
    matrix: what `read_dense` returns for it.

  Raises:
    UsageError: a chunk is damaged.
  """
  for start in range(0, matrix.shape[0], matrix.chunks[0]):
    rows = slice(start, min(start + matrix.chunks[0], matrix.shape[0]))
    chunk = files.join(scores, GROUP, _chunk_file(matrix, start))
    with explained_damage(chunk, passing=(OSError,)):
      block = np.asarray(matrix[rows])
    yield rows, block
