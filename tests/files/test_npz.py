import io
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from files.npz import NUMBERS, STRINGS, NpzError, list_arrays, read_array, read_arrays

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


def _entry(content, offset, number, width=2, signature=b"PK\1\2"):
  """Returns an archive with another number in its last directory entry, or other record."""
  start = content.rindex(signature) + offset
  return content[:start] + number.to_bytes(width, "little") + content[start + width :]


def _with_header(text, values=b"", version=(1, 0)):
  width = 2 if version == (1, 0) else 4
  header = text.encode("latin1")
  magic = np.lib.format.magic(*version)
  return magic + len(header).to_bytes(width, "little") + header + values


def _header(descr="'<f8'", shape="(3,)", fortran="False"):
  return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


EXTRAS = {
  "objects": _npy(np.array([None])),
  "a structure": _npy(np.zeros(2, [("a", "i4"), ("b", "f8")])),
  "version 9": np.lib.format.magic(9, 0),
  "brackets": _with_header("[" * 60_000),
  "no array": b"x",
  "nothing": b"",
}


@pytest.mark.parametrize("extra", EXTRAS.values(), ids=EXTRAS)
def test_what_is_not_asked_for_is_not_looked_at(extra):
  content = _archive(a=_npy(ARRAYS["a"]), extra=extra)
  for damaged in (
    content,
    _entry(content, 6, 99),  # of a version of the format that is not known
    _entry(content, 8, 1),  # encrypted
    _entry(content, 10, 99),  # packed by an unknown method
    _entry(content, 16, 0, 4),  # of another checksum
    _entry(content, 24, 2**32 - 2, 4),  # of absurd size
    _entry(content, 42, 2**31, 4),  # somewhere else
  ):
    assert list_arrays(damaged) == ["a", "extra"]
    assert list(read_arrays(damaged, ["a"])) == ["a"]
    with pytest.raises(NpzError, match="array extra "):
      read_arrays(damaged)


X = _archive(x=_npy(ARRAYS["a"]))
PACKED = _npz(np.savez_compressed, x=ARRAYS["a"])


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "is no zip archive, or was cut short"),
    (b"PK nonsense", "is no zip archive, or was cut short"),
    (_npy(ARRAYS["a"]), "is no zip archive, or was cut short"),
    (_entry(X, 6, 99), "array x needs version 9.9 of the zip format"),
    (_entry(X, 0, 0), "is no sound archive: its directory is damaged"),
    (_entry(X, 12, 2**31, 4, b"PK\5\6"), "its directory would have 2,147,483,648 bytes"),
    (_entry(X, 16, 2**31, 4, b"PK\5\6"), "array x is not where the archive's directory says"),
    (_entry(X, 8, 1), "array x is encrypted"),
    (_entry(X, 6, 1, signature=b"PK\3\4"), "array x is encrypted"),
    (_entry(X, 10, 12), "array x is packed by method 12, which NumPy never uses"),
    (_entry(X, 10, 14), "array x is packed by method 14, which NumPy never uses"),
    (_entry(X, 16, 7, 4), "array x is damaged: its checksum is wrong"),
    (_entry(X, 20, 90, 4), "array x has 90 bytes stored for 184"),
    (_entry(X, 20, 2**31, 4), "array x ends beyond the archive's end"),
    (_entry(X, 24, 192, 4), "array x has 184 bytes stored for 192"),
    (
      _entry(X, 24, 2**31, 4),
      "array x has 2,147,483,648 bytes, where all arrays together may have",
    ),
    (_entry(X, 42, 5, 4), "array x is not where the archive's directory says"),
    (_entry(X, 42, 2**31, 4), "array x is not where the archive's directory says"),
    (X.replace(b"x.npy", b"y.npy", 1), "array x is not where the archive's directory says"),
    (_entry(PACKED, 24, 192, 4), "array x has 192 bytes, and 184 according to its header"),
    (_entry(PACKED, 24, 176, 4), "array x has 176 bytes, and 184 according to its header"),
    (_entry(PACKED, 20, 40, 4), "array x "),
    (_entry(X, 10, 8), "array x "),
    (_archive(x=_npy([None])), "array x is of Python objects"),
    (_archive(x=_npy(np.zeros(2, "i4,f8"))), "array x is of raw or structured records"),
    (_archive(x=_npy(np.zeros(2, "V7"))), "array x is of raw or structured records"),
    (_archive(x=_npy(["a", "b"])), "array x is of strings"),
    (_archive(x=_npy(1j)), "array x is of complex numbers"),
    (_archive(x=_npy(np.zeros(2, "M8[s]"))), "array x is of dates"),
    (_archive(x=_npy(np.zeros(2, "m8[s]"))), "array x is of time spans"),
    (_archive(x=b"x"), "array x is no array in NumPy's format"),
    (_archive(x=X), "array x is no array in NumPy's format"),
    (_archive(x=np.lib.format.magic(3, 1)), "array x is in version 3.1 of NumPy's format"),
    (_archive(x=_npy(ARRAYS["a"])[:20]), "array x ends within its header: it was cut short"),
    (_archive(x=_npy(ARRAYS["a"])[:-1]), "array x has 183 bytes, and 184 according to its header"),
    (_archive(x=_npy(ARRAYS["a"]) + b"!"), "array x has 185 bytes, and 184 according to its head"),
    (_archive(**{"x\ny": b""}), r"array 'x\\ny' is no array in NumPy's format"),
    (_archive(**{"x" * 500: b""}), f"array {'x' * 100}… is no array in NumPy's format"),
  ],
)
def test_what_is_no_archive_of_plain_arrays_is_an_error_of_one_line(content, message):
  with pytest.raises(NpzError, match=message) as caught:
    read_arrays(content)
  assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", ["x.npy", "x"])
def test_a_name_that_is_there_twice_is_an_error(second):
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w") as archive:
    for name in ("x.npy", second, "y.npy"):
      archive.writestr(name, _npy(ARRAYS["a"]))
  assert list(read_arrays(buffer.getvalue(), ["y"])) == ["y"]
  with pytest.raises(NpzError, match="array x is there 2 times"):
    read_arrays(buffer.getvalue())


def test_arrays_that_share_bytes_are_an_error():
  inner = _archive(b=_npy(ARRAYS["a"]))
  content = _archive(a=inner, b=_npy(ARRAYS["a"]))
  shared = _entry(content, 42, content.index(inner), 4)
  with pytest.raises(NpzError, match="array b begins within another"):
    read_arrays(shared)


@pytest.mark.parametrize(
  ("header", "message"),
  [
    (
      _header(shape=f"({2**70},)"),
      "has the shape .1180591620717411303424,., which NumPy cannot hold",
    ),
    (_header(shape=f"({2**40}, {2**40})"), "has the shape .*, which NumPy cannot hold"),
    (_header(shape=f"(0, {2**62}, {2**62})"), "has the shape .*, which NumPy cannot hold"),
    (_header(shape="(" + 70 * "1," + ")"), "has the shape .*, which NumPy cannot hold"),
    (_header("'S2000000000'", f"(0, {2**40})"), "has the shape .*, which NumPy cannot hold"),
    (_header(shape="(-3,)"), "has a damaged header: .*-3"),
    (_header(shape="(3.0,)"), "has a damaged header"),
    (_header(shape="(True,)"), "has a damaged header"),
    (_header(shape="[3]"), "has a damaged header"),
    (_header(shape="(3"), "has a damaged header"),
    (_header(shape=f"({'9' * 9000},)"), "has a damaged header"),
    (_header(shape="(" * 4000 + ")" * 4000), "has a damaged header"),
    (_header(shape="3**3**9"), "has a damaged header"),
    (_header(fortran="1"), "has a damaged header"),
    (_header(descr="'O'"), "is of Python objects"),
    (_header(descr="'<f3'"), "is of the unknown dtype '<f3'"),
    (_header(descr="'i4,f8'"), "is of the unknown dtype 'i4,f8'"),
    (_header(descr="'(2,)f8'"), "is of the unknown dtype '.2,.f8'"),
    (_header(descr="'S0'"), "is of dtype 'S0', which takes no bytes"),
    (_header(descr="('<f8', (2,))"), "is of raw or structured records"),
    (_header(descr="[('a', '<f8')]"), "is of raw or structured records"),
    (_header(descr="[" * 5000 + "]" * 5000), "has a header of 10,0.. bytes: NumPy accepts 10,012"),
    (_header(descr="__import__('os')"), "has a damaged header"),
    (_header().replace("'shape'", "'size'"), "has a damaged header"),
    (_header().replace("}", "'more': 1}"), "has a damaged header"),
    ("(" * 9000, "has a damaged header"),
    ("'" * 9000, "has a damaged header"),
    ("3", "has a damaged header"),
    ("{[]: 1}", "has a damaged header"),
    ("", "has a damaged header: ''$"),
    (_header() + " " * 60_000, "has a header of 60,0.. bytes: NumPy accepts"),
  ],
)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_headers_of_no_plain_array_are_errors_of_one_line(header, message, version):
  content = _with_header(header, bytes(24), version)
  for read, what in ((read_array, content), (read_arrays, _archive(array=content))):
    with pytest.raises(NpzError, match=f"array {message}") as caught:
      read(what)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  "header",
  [
    _header(),
    _header(shape="(3L,)"),  # of Python 2
    _header(shape="(1, 3)").replace("'", '"'),
    "{'shape':(3,),'fortran_order':False,'descr':'float64'}",
  ],
)
def test_headers_of_other_writers_are_read(header):
  values = np.array([1.5, -2, np.inf])
  assert read_array(_with_header(header, values.tobytes())).ravel().tolist() == values.tolist()


def test_strings_are_read_where_they_are_welcome():
  content = _npz(names=np.array(["a", "bé"]), files=np.array([b"x", b"yz"]))
  assert read_arrays(content, kinds=NUMBERS + STRINGS)["names"].tolist() == ["a", "bé"]
  assert read_arrays(content, kinds="S", names=["files"])["files"].tolist() == [b"x", b"yz"]
  with pytest.raises(NpzError, match="array names is of strings"):
    read_arrays(content)
  nonsense = _with_header(_header("'<U1'", "(1,)"), b"\xff\xff\xff\x7f")
  with pytest.raises(NpzError, match="the array holds characters that do not exist"):
    read_array(nonsense, kinds=STRINGS)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_more_is_unpacked_than_may_be(save):
  content = _npz(save, a=np.zeros(1000, np.uint8), b=np.zeros(500, np.uint8), c=np.arange(9))
  assert list(read_arrays(content, "ab", limit=2000)) == ["a", "b"]
  with pytest.raises(NpzError, match="array a has 1,128 bytes, where all arrays together may have"):
    read_arrays(content, limit=1700)


def _peak(function, *arguments, **options):
  """Returns how many bytes were taken at most until an `NpzError`, and its message."""
  tracemalloc.start()
  with pytest.raises(NpzError) as caught:
    function(*arguments, **options)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  return peak, str(caught.value)


def test_bombs_are_refused_before_they_take_memory():
  zeros = _npz(np.savez_compressed, x=np.zeros(1 << 26, np.uint8))
  peak, message = _peak(read_arrays, zeros, limit=1 << 20)
  assert "may have 1,048,576" in message
  assert peak < 1 << 20
  # Sizes that are not those of the content: what the directory says, then what the header says.
  peak, _ = _peak(read_arrays, _entry(zeros, 24, 1000, 4))
  assert peak < 1 << 20
  header = _with_header(_header("'|u1'", f"({2**30},)"))
  peak, _ = _peak(read_arrays, _archive(x=header))
  assert peak < 1 << 20
  peak, _ = _peak(read_array, header)
  assert peak < 1 << 20
  # A small array that goes on and on.
  packed = zlib.compressobj(wbits=-15)
  long = packed.compress(_npy(np.zeros(9, np.uint8)) + bytes(1 << 26)) + packed.flush()
  content = _archive(x=long)
  content = _entry(_entry(content, 10, 8), 24, len(_npy(np.zeros(9, np.uint8))), 4)
  peak, message = _peak(read_arrays, content)
  assert message == "array x does not unpack to the 137 bytes that it should"
  assert peak < 1 << 20


def test_directories_of_absurd_size_are_not_read():
  entry = X[X.rindex(b"PK\1\2") : X.rindex(b"PK\5\6")]
  count = 60_000
  content = X[: X.rindex(b"PK\1\2")] + entry * count + X[X.rindex(b"PK\5\6") :]
  content = _entry(content, 12, len(entry) * count, 4, b"PK\5\6")
  peak, message = _peak(read_arrays, content)
  assert message == "it is no sound archive: its directory would have 3,060,000 bytes"
  assert peak < 1 << 20


def test_byte_order_is_made_native():
  values = np.array([1, 2**40, -3])
  read = read_arrays(_npz(x=values.astype(">i8")))["x"]
  assert read.dtype == np.int64
  assert read.dtype.isnative
  assert read.tolist() == values.tolist()


def test_wherever_it_is_cut_it_is_an_error():
  content = _npz(**ARRAYS)
  for length in range(len(content)):
    with pytest.raises(NpzError):
      read_arrays(content[:length])
