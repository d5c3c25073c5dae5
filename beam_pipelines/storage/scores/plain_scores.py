"""Scores as plain files, such as scripts and spreadsheets read: CSV with a header, and `.npy`."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc


def encode_csv(columns: Mapping[str, np.ndarray | None]) -> bytes:
  """Returns columns of one length as CSV with a header; NaN is empty, and None a column less."""
  table = pa.table(
    {
      name: pa.array(values, from_pandas=True)
      for name, values in columns.items()
      if values is not None
    }
  )
  buffer = io.BytesIO()
  pc.write_csv(table, buffer, pc.WriteOptions(quoting_style="needed", quoting_header="none"))
  return buffer.getvalue()


def encode_npy(values: np.ndarray) -> bytes:
  """Returns an array as an `.npy` file."""
  buffer = io.BytesIO()
  np.save(buffer, values, allow_pickle=False)
  return buffer.getvalue()
