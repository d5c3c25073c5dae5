"""Thousands of damaged archives and arrays: nothing but arrays, or an `NpzError` of one line."""

import io
import random
import tracemalloc
import zipfile

import numpy as np
import pytest

from files.npz import NUMBERS, STRINGS, NpzError, list_arrays, read_array, read_arrays
from tests.helpers.mutations import mutate

ARRAYS = {
  "bits": np.array([True, False, True]),
  "counts": np.arange(7),
  "foreign": np.arange(4, dtype=">f4"),
  "matrix": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
  "nothing": np.zeros((0, 3), np.uint8),
  "zeros": np.zeros(3000, np.int16),
  "names": np.array(["a", "bé"]),
}
KINDS = NUMBERS + STRINGS
RECORDS = (b"PK\1\2", b"PK\3\4", b"PK\5\6")
HEADER_SPOTS = (0, 10, 30, 50)


def _npy(values, version=None):
  buffer = io.BytesIO()
  np.lib.format.write_array(buffer, values, version)
  return buffer.getvalue()


def _archive(members, method=zipfile.ZIP_STORED):
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w", method) as archive:
    for name, content in members.items():
      archive.writestr(f"{name}.npy", content)
  return buffer.getvalue()


def _find(content, signatures):
  return tuple(i for i in range(len(content)) if content.startswith(signatures, i))


def _outcomes(read, contents, most_memory):
  """Returns what is read of each content, None for an error; checks errors and memory."""
  outcomes = []
  tracemalloc.start()
  for content in contents:
    tracemalloc.reset_peak()
    message = ""
    try:
      outcomes.append(read(content))
    except NpzError as error:
      outcomes.append(None)
      message = str(error)
    assert "\n" not in message
    assert len(message) < 300
    assert tracemalloc.get_traced_memory()[1] < most_memory
  tracemalloc.stop()
  return outcomes


def _read_all(content):
  arrays = read_arrays(content, kinds=KINDS)
  assert list(arrays) == list_arrays(content)
  return arrays


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives(method):
  content = _archive({name: _npy(values) for name, values in ARRAYS.items()}, method)
  damaged = mutate(content, seed=method, count=3000, spots=_find(content, RECORDS))
  outcomes = _outcomes(_read_all, damaged, 8 << 20)
  read = [outcome for outcome in outcomes if outcome is not None]
  assert 0 < len(read) < 1500
  for arrays in read:  # checksums see to it that what is read is what was written
    for name in arrays.keys() & ARRAYS:
      np.testing.assert_array_equal(arrays[name], ARRAYS[name])


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("name", ARRAYS)
def test_headers(name, version):
  damaged = mutate(_npy(ARRAYS[name], version), seed=0, count=400, spots=HEADER_SPOTS)
  outcomes = _outcomes(lambda content: read_array(content, kinds=KINDS), damaged, 8 << 20)
  assert any(outcome is None for outcome in outcomes)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_headers_under_right_checksums(method):
  rng = random.Random(method)
  names = [rng.choice([*ARRAYS]) for _ in range(1500)]
  members = (next(mutate(_npy(ARRAYS[name]), rng.random(), 1, HEADER_SPOTS)) for name in names)
  archives = (_archive({"x": member, "y": member}, method) for member in members)
  outcomes = _outcomes(_read_all, archives, 8 << 20)
  assert any(outcome is None for outcome in outcomes)


# What literals are made of, and what expressions are made of beside them.
TOKENS = [
  *(
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    ":",
    "'",
    '"',
    "\n",
    " ",
    "\\",
    "#",
    ".",
    "-",
    "~",
    "*",
    "**",
  ),
  *("'descr'", "'shape'", "'fortran_order'", "'<f8'", "'O'", "'V0'", "'U99999999999'"),
  *("True", "False", "None", "0", "3", "3L", str(2**64), "9" * 5000, "not ", "lambda: ", "if"),
]


def test_headers_of_chance():
  rng = random.Random(0)

  def header():
    tokens = rng.choices(TOKENS, k=rng.choice((3, 20, 300)))
    tokens[rng.randrange(len(tokens))] *= rng.choice((1, 1, 3000))
    beginning = "{'descr': '<f8', 'fortran_order': False, 'shape': " * (rng.random() < 0.5)
    return (beginning + "".join(tokens))[:9000].encode()

  headers = (header() for _ in range(1500))
  contents = (
    np.lib.format.magic(2, 0) + len(text).to_bytes(4, "little") + text for text in headers
  )
  _outcomes(read_array, contents, 8 << 20)
