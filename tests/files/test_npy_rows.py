import io
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import files
from files.errors import UsageError
from files.npy_rows import NpyRows, create_rows

MEMORY = "memory://rows"  # fsspec's file system in memory


@given(
  values=arrays.arrays(
    dtype=st.one_of(arrays.boolean_dtypes(), arrays.integer_dtypes(), arrays.floating_dtypes()),
    shape=arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
  ),
  data=st.data(),
)
def test_reads_the_rows_that_numpy_wrote(values, data):
  buffer = io.BytesIO()
  np.save(buffer, np.ascontiguousarray(values))
  path = f"{MEMORY}/values.npy"
  files.write_bytes(path, buffer.getvalue())
  rows = NpyRows.open(path)
  assert rows.shape == values.shape
  stop = data.draw(st.integers(0, len(values)))
  start = data.draw(st.integers(0, stop))
  read = rows.read(start, stop)
  assert read.dtype == values.dtype.newbyteorder("=")
  np.testing.assert_array_equal(read, values[start:stop])


def test_writes_what_numpy_reads(tmp_path):
  values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float16)
  with create_rows(str(tmp_path / "a.npy"), np.dtype(np.float16), (5, 3)) as write:
    for row in values.astype(np.float64):
      write(row)
  np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), values)


def test_rows_that_are_missing_or_of_another_shape_leave_no_file(tmp_path):
  path = str(tmp_path / "a.npy")
  with (
    pytest.raises(ValueError, match="got 1 rows, not 2"),
    create_rows(path, np.dtype(bool), (2, 3)) as write,
  ):
    write(np.ones(3, bool))
  with (
    pytest.raises(ValueError, match=r"row 0 of .* has shape"),
    create_rows(path, np.dtype(bool), (2, 3)) as write,
  ):
    write(np.ones(2, bool))
  assert list(tmp_path.iterdir()) == []


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path):
  path = tmp_path / "a.npy"
  np.save(path, np.arange(100))
  rows = NpyRows.open(str(path))
  os.truncate(path, path.stat().st_size - 8)
  assert rows.read(0, 99).tolist() == list(range(99))
  with pytest.raises(UsageError, match=r"a\.npy is shorter than it was"):
    rows.read(50, 100)


def test_one_row_of_many_in_fortran_order_is_in_either(tmp_path):
  np.save(tmp_path / "a.npy", np.asfortranarray(np.arange(6).reshape(1, 6)))
  assert NpyRows.open(str(tmp_path / "a.npy")).read(0, 1).tolist() == [list(range(6))]
