"""Score tables as NumPy columns."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from estimators.counts import InOutCounts

Columns = dict[str, np.ndarray]

# What the report reads of each table; tables may hold more. Labels are those of the data set.
_READ = {
  "examples": (
    "subset_ratio",
    "example",
    "runs_in",
    "runs_out",
    "correct_in",
    "correct_out",
    "memorization",
    "memorization_se",
    "consistency",
  ),
  "cscores": ("example", "cscore", "cscore_se"),
  "influence": (
    "subset_ratio",
    "train_example",
    "test_example",
    "influence",
    "influence_se",
    "memorization",
  ),
  "runs": ("subset_ratio", "examples_in", "accuracy_train", "accuracy_removed", "accuracy_test"),
  "skipped": ("path", "reason"),
}

REPORT_TABLES = tuple(_READ)


class ReportError(ValueError):
  """The score tables and the data set do not fit each other, or a table lacks a column."""


def read_columns(tables: Mapping[str, pa.Table], name: str) -> Columns:
  """Returns the columns of one score table that the report reads.

  Args:
    tables: score tables by name; one that is absent reads as a table without rows.
    name: the table.

  Returns:
    Arrays of one length: null scores are NaN.

  Raises:
    ReportError: the table lacks a column.
  """
  table = tables.get(name)
  if table is None:
    return {column: np.empty(0) for column in _READ[name]}
  missing = [column for column in _READ[name] if column not in table.column_names]
  if missing:
    raise ReportError(f"table {name!r} has no column {missing[0]!r}: score the campaign again")
  return {column: table[column].to_numpy() for column in _READ[name]}


def take(columns: Columns, rows: np.ndarray) -> Columns:
  """Returns `rows` (indices or a mask) of every column."""
  return {name: column[rows] for name, column in columns.items()}


def in_out_counts(columns: Columns) -> InOutCounts:
  """Returns the counts that the scores of a table were made of."""
  return InOutCounts(
    columns["runs_in"], columns["runs_out"], columns["correct_in"], columns["correct_out"]
  )
