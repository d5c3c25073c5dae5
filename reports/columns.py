"""Score tables as NumPy columns."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from estimators.counts import InOutCounts

Columns = dict[str, np.ndarray]

# What the report reads of each table; tables may hold more.
_READ = {
  "examples": (
    "subset_ratio",
    "example",
    "label",
    "runs_in",
    "runs_out",
    "correct_in",
    "correct_out",
    "memorization",
    "memorization_se",
    "consistency",
  ),
  "cscores": ("example", "label", "cscore", "cscore_se"),
  "influence": (
    "subset_ratio",
    "train_example",
    "test_example",
    "train_label",
    "test_label",
    "influence",
    "influence_se",
    "memorization",
  ),
  "runs": ("subset_ratio", "examples_in", "accuracy_train", "accuracy_removed", "accuracy_test"),
  "skipped": ("path", "reason"),
}

REPORT_TABLES = tuple(_READ)

UNKNOWN_LABEL = -1


class ReportError(ValueError):
  """The score tables and the data set do not fit each other, or a table lacks a column."""


def read_columns(tables: Mapping[str, pa.Table], name: str) -> Columns:
  """Returns the columns of one score table that the report reads.

  Args:
    tables: score tables by name; one that is absent reads as a table without rows.
    name: the table.

  Returns:
    Arrays of one length: null scores are NaN, null labels are `UNKNOWN_LABEL`.

  Raises:
    ReportError: the table lacks a column.
  """
  table = tables.get(name)
  if table is None:
    return {column: np.empty(0) for column in _READ[name]}
  missing = [column for column in _READ[name] if column not in table.column_names]
  if missing:
    raise ReportError(f"table {name!r} has no column {missing[0]!r}: score the campaign again")
  return {column: _to_numpy(table[column]) for column in _READ[name]}


def take(columns: Columns, rows: np.ndarray) -> Columns:
  """Returns `rows` (indices or a mask) of every column."""
  return {name: column[rows] for name, column in columns.items()}


def in_out_counts(columns: Columns) -> InOutCounts:
  """Returns the counts that the scores of a table were made of."""
  return InOutCounts(
    columns["runs_in"], columns["runs_out"], columns["correct_in"], columns["correct_out"]
  )


def _to_numpy(column: pa.ChunkedArray) -> np.ndarray:
  if pa.types.is_integer(column.type) and column.null_count:
    column = pc.fill_null(column, UNKNOWN_LABEL)
  return column.to_numpy()
