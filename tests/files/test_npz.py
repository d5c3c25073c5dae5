import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from files.npz import NpzError, list_arrays, read_array, read_arrays

ARRAYS = {"a": np.arange(7), "b": np.array([True, False]), "c": np.float32(3)}


def _npz(save=np.savez, **values):
  buffer = io.BytesIO()
  save(buffer, **values)
  return buffer.getvalue()


def _npy(values, version=None):
  buffer = io.BytesIO()
  np.lib.format.write_array(buffer, np.asarray(values), version)
  return buffer.getvalue()


def _archive(**members):
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w") as archive:
    for name, content in members.items():
      archive.writestr(f"{name}.npy", content)
  return buffer.getvalue()


@given(
  values=arrays.arrays(
    dtype=st.one_of(arrays.boolean_dtypes(), arrays.integer_dtypes(), arrays.floating_dtypes()),
    shape=arrays.array_shapes(min_dims=0, min_side=0),
  ),
  order=st.sampled_from("CF"),
  save=st.sampled_from([np.savez, np.savez_compressed]),
)
def test_reads_what_numpy_wrote(values, order, save):
  (read,) = read_arrays(_npz(save, x=np.asarray(values, order=order))).values()
  assert (read.dtype, read.shape) == (values.dtype.newbyteorder("="), values.shape)
  assert not read.flags.writeable
  np.testing.assert_array_equal(read, values)


def test_names_choose_arrays():
  content = _npz(**ARRAYS)
  assert list_arrays(content) == list(read_arrays(content)) == ["a", "b", "c"]
  assert list(read_arrays(content, ["b", "d"])) == ["b"]


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_headers_of_every_version(version):
  content = _npy(ARRAYS["a"], version)
  np.testing.assert_array_equal(read_arrays(_archive(a=content))["a"], ARRAYS["a"])
  np.testing.assert_array_equal(read_array(content), ARRAYS["a"])


def test_wherever_it_is_cut_it_is_an_error():
  content = _npz(**ARRAYS)
  for length in range(len(content)):
    with pytest.raises(NpzError):
      read_arrays(content[:length])
