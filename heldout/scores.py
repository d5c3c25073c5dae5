"""Score directories, read: tables, manifest, dense influence."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipelines.launch import arguments
from beam_pipelines.storage.scores import columns, directory
from beam_pipelines.storage.scores.dense import read_dense
from beam_pipelines.storage.scores.manifest import Manifest, read_manifest
from files.errors import UsageError

if TYPE_CHECKING:
  import zarr

TableName = Literal[
  "examples",
  "cscores",
  "influence",
  "train_influence",
  "test_influence",
  "index",
  "runs",
  "skipped",
  "outcomes",
  "correctness",
]
"""The score tables; docs/tables.md says what each holds."""


class Scores:
  """The scores in a directory; see `read_scores`.

  Whatever is read is checked against the manifest, and is of the publication that it describes.

  Attributes:
    path: the directory, absolute if it is a local one.
    manifest: what it says of itself; docs/manifest.md lists the fields.
  """

  def __init__(self, path: str, manifest: Manifest):
    self.path = path
    self.manifest = manifest

  def __repr__(self) -> str:
    ratios = ", ".join(
      f"{ratio.runs} runs at {ratio.subset_ratio}" for ratio in self.manifest.ratios
    )
    return f"<Scores {self.path}: {ratios or 'no runs'}>"

  @property
  def ratios(self) -> tuple[float, ...]:
    """The subset ratios, ascending."""
    return tuple(ratio.subset_ratio for ratio in self.manifest.ratios)

  @property
  def main_ratio(self) -> float:
    """The subset ratio with the most runs; of several, the one nearest to 0.7.

    Raises:
      UsageError: nothing was scored.
    """
    return columns.choose_ratio(self.path, None)

  def table(self, name: TableName, subset_ratio: float | None = None) -> pa.Table:
    """Returns the rows of a table; of one that was not asked for, none.

    Example:
      >>> scores = read_scores("scores")
      >>> scores.table("cscores").column_names
      ['example', 'label', 'ratios', 'cscore', 'cscore_se']

    Args:
      name: of the table.
      subset_ratio: of the rows; None for all.

    Raises:
      UsageError: there is no such table, it has no subset ratios, its files are damaged, or other
        scores were published since the manifest was read.
    """
    if name not in get_args(TableName):
      raise UsageError(
        f"there is no table {name!r}: choose one of {', '.join(get_args(TableName))}"
      )
    with directory.open_scores(self.path) as opened:
      self._check_current(opened.manifest)
      rows = opened.table(name)
    if subset_ratio is None:
      return rows
    if "subset_ratio" not in rows.column_names:
      raise UsageError(f"table {name} has no subset ratios: leave the ratio out")
    return rows.filter(pc.field("subset_ratio") == subset_ratio)

  def columns(self, name: TableName, subset_ratio: float | None = None) -> dict[str, np.ndarray]:
    """Returns a table's columns as arrays, in which undefined numbers are NaN.

    Example:
      >>> scores = read_scores("scores")
      >>> cscores = scores.columns("cscores")
      >>> cscores["cscore"].dtype, cscores["cscore"].shape
      (dtype('float64'), (1437,))

    Args:
      name: of the table.
      subset_ratio: of the rows; None for all.

    Returns:
      Arrays [rows] by column: numbers and truth values of NumPy's own dtypes (whole numbers with
      nulls are float64), texts and bytes as objects.

    Raises:
      UsageError: as `table` does.
    """
    rows = self.table(name, subset_ratio)
    return {column: rows[column].to_numpy() for column in rows.column_names}

  def dense(self, subset_ratio: float | None = None) -> zarr.Array:
    """Opens the influence of all pairs: float32 [train, test], NaN where undefined.

    Nothing is read before it is sliced.

    Example:
      >>> scores = read_scores("scores")
      >>> scores.dense()[:2].shape  # influence of two training examples on every test example
      (2, 360)

    Args:
      subset_ratio: of the runs; by default the main one.

    Raises:
      UsageError: it was not asked for when these scores were made, or other scores were published
        since the manifest was read; when sliced: it is damaged.
    """
    self._check_current(read_manifest(self.path))
    return read_dense(self.path, columns.choose_ratio(self.path, subset_ratio))

  def _check_current(self, manifest: Manifest) -> None:
    if manifest.job != self.manifest.job:
      raise UsageError(f"{self.path}: other scores were published since: read them again")


def read_scores(path: str | os.PathLike[str]) -> Scores:
  """Returns the scores in a directory, on a local disk or wherever `heldout score` writes.

  Example:
    >>> scores = read_scores("scores")
    >>> scores.ratios, scores.manifest.runs_used
    ((0.7,), 20)

  Args:
    path: the directory.

  Raises:
    UsageError: it holds no complete scores.
  """
  absolute = arguments.path(os.fspath(path))
  return Scores(absolute, read_manifest(absolute))
