"""Dense influence: `<scores>/influence.zarr`, a Zarr group of one matrix per subset ratio."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import zarr
from zarr.errors import ArrayNotFoundError, GroupNotFoundError

from beam_pipelines.errors import UsageError
from beam_pipelines.storage import files

GROUP = "influence.zarr"


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
  zarr.open_group(group, mode="a")
  zarr.create_array(
    group,
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
  matrix = zarr.open_array(group, path=name, mode="r+")
  matrix[start : start + len(influence)] = influence
  return f"{name}/c/{start // matrix.chunks[0]}/0"


def read_dense(scores: str, subset_ratio: float) -> zarr.Array:
  """Opens the influence matrix of one subset ratio: float32 [train, test], NaN where undefined.

  Nothing is read before it is sliced.

  Raises:
    UsageError: the scores directory holds no such matrix.
  """
  name = array_name(subset_ratio)
  try:
    return zarr.open_array(files.join(scores, GROUP), path=name, mode="r")
  except (ArrayNotFoundError, GroupNotFoundError, FileNotFoundError):
    raise UsageError(
      f"{scores} holds no dense influence at ratio {subset_ratio} ({GROUP}/{name}): "
      "run `heldout score --dense`"
    ) from None


def row_blocks(matrix: zarr.Array) -> Iterator[tuple[slice, np.ndarray]]:
  """Reads a matrix once, in blocks of its chunks' rows: yields which rows, and the rows."""
  for start in range(0, matrix.shape[0], matrix.chunks[0]):
    rows = slice(start, min(start + matrix.chunks[0], matrix.shape[0]))
    yield rows, np.asarray(matrix[rows])
