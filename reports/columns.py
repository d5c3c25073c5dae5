"""Score tables as NumPy columns."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from estimators.counts import InOutCounts
from estimators.means import InOutMeans
from estimators.scores import InOutStatistics

Columns = dict[str, np.ndarray]

# What the report reads of each table; tables may hold more. Labels are those of the data set.
_READ = {
  "examples": (
    "subset_ratio",
    "example",
    "runs_in",
    "runs_out",
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

# What examples are measured by, beside the runs: bits, or reals.
_STATISTICS = (("correct_in", "correct_out"), ("mean_in", "mean_out", "sd_in", "sd_out"))

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
  columns = _READ[name]
  if name == "examples":
    measured = (each for each in _STATISTICS if table and each[0] in table.column_names)
    columns += next(measured, _STATISTICS[0])
  if table is None:
    return {column: np.empty(0) for column in columns}
  missing = [column for column in columns if column not in table.column_names]
  if missing:
    raise ReportError(f"table {name!r} has no column {missing[0]!r}: score the campaign again")
  return {column: table[column].to_numpy() for column in columns}


def take(columns: Columns, rows: np.ndarray) -> Columns:
  """Returns `rows` (indices or a mask) of every column."""
  return {name: column[rows] for name, column in columns.items()}


def in_out_statistics(columns: Columns) -> InOutStatistics:
  """Returns the counts, or the means, that the scores of a table were made of."""
  kind = InOutCounts if "correct_in" in columns else InOutMeans
  return kind(*(columns[field.name] for field in dataclasses.fields(kind)))
