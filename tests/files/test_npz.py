import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from files.npz import NpzError, read_arrays

ARRAYS = {"a": np.arange(7), "b": np.array([True, False]), "c": np.float32(3)}


def _npz(save=np.savez, **values):
  buffer = io.BytesIO()
  save(buffer, **values)
  return buffer.getvalue()


def _archive(**members):
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w") as archive:
    for name, content in members.items():
      archive.writestr(f"{name}.npy", content)
  return buffer.getvalue()


@given(
  values=arrays.arrays(
    dtype=st.one_of(
      arrays.boolean_dtypes(), arrays.integer_dtypes(), arrays.floating_dtypes(endianness="=")
    ),
    shape=arrays.array_shapes(min_dims=0, min_side=0),
  ),
  order=st.sampled_from("CF"),
  save=st.sampled_from([np.savez, np.savez_compressed]),
)
def test_reads_what_numpy_wrote(values, order, save):
  (read,) = read_arrays(_npz(save, x=np.asarray(values, order=order))).values()
  assert (read.dtype, read.shape) == (values.dtype, values.shape)
  np.testing.assert_array_equal(read, values)


def test_names_choose_arrays():
  content = _npz(**ARRAYS)
  assert list(read_arrays(content)) == ["a", "b", "c"]
  assert list(read_arrays(content, ["b", "d"])) == ["b"]


def test_a_header_of_version_2():
  buffer = io.BytesIO()
  np.lib.format.write_array(buffer, ARRAYS["a"], version=(2, 0))
  np.testing.assert_array_equal(read_arrays(_archive(a=buffer.getvalue()))["a"], ARRAYS["a"])


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "File is not a zip file"),
    (b"PK nonsense", "File is not a zip file"),
    (_npz(x=np.array([None])), "an array is of Python objects"),
    (_archive(x=b"x"), "EOF: reading magic string"),
    (_archive(x=np.lib.format.magic(3, 0)), "an array is in version 3.0 of NumPy's format"),
    (_archive(x=_npz(x=ARRAYS["a"])), "the magic string is not correct"),
  ],
)
def test_what_is_no_archive_of_plain_arrays_is_an_error(content, message):
  with pytest.raises(NpzError, match=message):
    read_arrays(content)


def test_an_array_shorter_than_its_header_says_is_an_error():
  buffer = io.BytesIO()
  np.save(buffer, ARRAYS["a"])
  for missing in (1, 8, 56):
    with pytest.raises(NpzError, match=r"buffer is smaller|no greater than buffer length"):
      read_arrays(_archive(a=buffer.getvalue()[:-missing]))


def test_wherever_it_is_cut_it_is_an_error():
  content = _npz(**ARRAYS)
  for length in range(len(content)):
    with pytest.raises(NpzError):
      read_arrays(content[:length])
