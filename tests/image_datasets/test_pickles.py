import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_datasets.pickles import Call, PickleError, as_uint8_array, read_pickle
from tests.helpers.python2 import python2_pickle

PIXELS = np.arange(2 * 3, dtype=np.uint8).reshape(2, 3)
ATOMS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
PLAIN = st.recursive(
  ATOMS | st.binary(),
  lambda values: (
    st.lists(values) | st.lists(values).map(tuple) | st.dictionaries(st.text(max_size=9), values)
  ),
)
OLD = st.recursive(
  ATOMS, lambda values: st.lists(values) | st.dictionaries(st.text(max_size=9), values)
)


@given(PLAIN, st.sampled_from([3, 4, 5]))
@settings(max_examples=50)
def test_plain_values_come_back(value, protocol):
  assert read_pickle(pickle.dumps(value, protocol)) == value


@given(OLD, st.sampled_from([0, 1, 2]))
@settings(max_examples=50)
def test_plain_values_of_old_protocols_come_back(value, protocol):
  assert read_pickle(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_protocol_come_back(protocol, order):
  array = np.asarray(PIXELS, order=order)
  value = read_pickle(pickle.dumps({"data": array}, protocol))
  np.testing.assert_array_equal(as_uint8_array(value["data"]), PIXELS)


def test_arrays_of_python_2_come_back():
  content = python2_pickle({"data": PIXELS, "labels": [1, 300], "name": "training batch \xe9"})
  expected = pickle.loads(content, encoding="latin-1")  # that they are pickles of Python 2
  value = read_pickle(content)
  np.testing.assert_array_equal(as_uint8_array(value.pop("data")), expected.pop("data"))
  assert value == expected == {"labels": [1, 300], "name": "training batch \xe9"}


def test_keys_of_bytes_are_read_as_text():
  assert read_pickle(pickle.dumps({b"data": b"x"})) == {"data": b"x"}


class Evil:
  def __init__(self, function, *arguments):
    self.call = function, arguments

  def __reduce__(self):
    return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_called(tmp_path, protocol):
  content = pickle.dumps({"data": Evil(os.mkdir, str(tmp_path / "made"))}, protocol)
  value = read_pickle(content)
  assert isinstance(value["data"], Call)
  assert value["data"].function.endswith("mkdir")
  with pytest.raises(PickleError, match="no NumPy array where one is expected"):
    as_uint8_array(value["data"])
  assert not (tmp_path / "made").exists()
  pickle.loads(content)
  assert (tmp_path / "made").exists()  # it would have been


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "damaged, or no pickle: pickle exhausted"),
    (b"\x80\x02}", "damaged, or no pickle: pickle exhausted before seeing STOP"),
    (b"\x80\x02.", "damaged, or no pickle: "),
    (b"just a text", "damaged, or no pickle: at position 0, opcode b'j' unknown|no pickle"),
    (b"P7\n.", "the instruction PERSID, which plain values do without"),
    (b"(ios\nsystem\n.", "the instruction INST, which"),
    (b"\x82\x01.", "the instruction EXT1, which"),
    (b"\x80\x02cos\nsystem\n)\x81.", "the instruction NEWOBJ, which"),
    (b"N)R.", "a call of what is no function"),
    (b"cos\nsystem\nNR.", "a call of what is no function"),
    (b"]Nb.", "a state of what has none"),
    (b"NNa.", "items for what is no list"),
    (b"NNNs.", "items for what is no dictionary"),
    (b"}NNs.", "a dictionary by other keys than short strings"),
    (b"}(Nu.", "damaged, or no pickle: zip"),
    (b"s.", "an instruction without its values"),
    (b"\x80\x04\x8f.", "the instruction EMPTY_SET, which"),
    (b"I" + b"9" * 5000 + b"\n.", "damaged, or no pickle: Exceeds the limit"),
  ],
)
def test_what_is_no_plain_pickle_is_refused(content, message):
  with pytest.raises(PickleError, match=message):
    read_pickle(content)


def changed(**changes):
  state = {"version": 1, "shape": (2, 3), "dtype": None, "fortran": False, "data": bytes(6)}
  state = {**state, "dtype": Call("numpy.dtype", ("u1", 0, 1)), **changes}
  return Call("numpy.core.multiarray._reconstruct", (), tuple(state.values()))


@pytest.mark.parametrize(
  ("value", "message"),
  [
    (changed(dtype=Call("numpy.dtype", ("O8", 0, 1))), "an array that is not of uint8"),
    (changed(dtype=Call("builtins.eval", ("u1",))), "an array that is not of uint8"),
    (changed(data=[bytes(6)]), "an array without data"),
    (changed(data="\u20ac" * 6), "an array whose data are no bytes"),
    (changed(data=Call("_codecs.encode", ("\u20ac" * 6, "latin1"))), "whose data are no bytes"),
    (changed(data=Call("_codecs.encode", ("x" * 6, "utf7"))), "an array without data"),
    (changed(shape=6), "an array without a shape"),
    (changed(shape=(1, 1, 1, 2, 3)), "an array without a shape"),
    (changed(shape=(-2, -3)), "a shape that its data do not fill"),
    (changed(shape=(2.0, 3)), "a shape that its data do not fill"),
    (changed(shape=(2**100, 0)), "a shape that its data do not fill"),
    (changed(shape=(2, 2)), r"an array of shape \(2, 2\) with 6 bytes"),
    (Call("numpy.core.multiarray._reconstruct", ()), "no NumPy array where one is expected"),
    (b"pixels", "no NumPy array where one is expected"),
  ],
)
def test_what_is_no_array_of_bytes_is_refused(value, message):
  with pytest.raises(PickleError, match=message):
    as_uint8_array(value)


def get(entry):
  return b"j" + struct.pack("<I", entry)


MEGABYTE = b"X" + struct.pack("<I", 1 << 20) + bytes(1 << 20)


@pytest.mark.parametrize(
  "content",
  [
    b"Nr\xff\xff\xff\xff.",  # an entry far along in the memo: pickle fills it up to there
    MEGABYTE + b"q\0" + (b"}" + get(0) + b"Ns") * 5000 + b".",  # long keys, copied
    MEGABYTE + b"q\0" + (b"c_codecs\nencode\n" + get(0) + b"\x85R") * 5000 + b".",
    MEGABYTE + b"q\0" + (get(0) + get(0) + b"\x93") * 5000 + b".",  # long names
    b"]q\0" + b"".join(get(n) + get(n) + b"\x86q" + bytes([n + 1]) for n in range(200)) + b".",
    b"\x8e" + struct.pack("<Q", 1 << 60) + b".",  # bytes that are not there
    b"(" * 9_000 + b"N" + b"t" * 9_000 + b".",  # deep
    b"]" * 30_000 + b".",
  ],
  ids=["memo", "keys", "calls", "names", "doubling", "absent", "deep", "many"],
)
def test_memory_stays_in_proportion_to_the_file(content, monkeypatch):
  monkeypatch.setattr("image_datasets.pickles._MOST_INSTRUCTIONS", 20_000)
  tracemalloc.start()
  try:
    read_pickle(content)
  except PickleError as error:
    assert "\n" not in str(error)  # noqa: PT017
  finally:
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
  assert peak < 10e6
