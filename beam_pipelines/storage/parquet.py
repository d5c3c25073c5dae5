"""Parquet files that a manifest vouches for, opened only if their footers agree with it."""

from __future__ import annotations

import io
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq


def open_parquet(content: bytes, fits: Callable[[pa.Schema], bool], rows: int) -> pq.ParquetFile:
  """Opens a file before anything of it is unpacked: a few bytes may claim any number of rows.

  Args:
    content: the file.
    fits: whether a schema is one that it may have.
    rows: how many it must have, in all of its row groups and in each of its columns.

  Raises:
    ValueError: it has others.
    Exception: it is no Parquet file; of many kinds.
  """
  file = pq.ParquetFile(io.BytesIO(content))
  footer = file.metadata
  groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
  claimed = sum(group.num_rows for group in groups)
  if not fits(file.schema_arrow) or footer.num_rows != rows or claimed != rows:
    raise ValueError(
      f"its {max(footer.num_rows, claimed):,} rows or their columns are not those of the manifest"
    )
  for group in groups:
    values = {group.column(number).num_values for number in range(group.num_columns)}
    if group.num_rows < 0 or values != {group.num_rows}:
      raise ValueError("its columns are not of one length")
  return file
