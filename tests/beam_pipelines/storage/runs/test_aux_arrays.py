import dataclasses
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipelines.storage.runs import aux_arrays
from beam_pipelines.storage.runs.aux_arrays import AuxArraysError
from beam_pipelines.storage.runs.experiment import RunKey, list_runs
from beam_pipelines.storage.runs.outcome import RunOutcome

KEY = RunKey(0.7, 3)


def _arrays(**changes):
  """Three training examples (0 and 2 in the subset), two test examples."""
  arrays = {
    "correctness_train": np.array([1, 0]),
    "correctness_removed": np.array([1]),
    "correctness_test": np.array([0, 1]),
    "index_train": np.array([2, 0]),
    "index_removed": np.array([1]),
    "index_test": np.array([1, 0]),
    "subsample_idx": np.array([0, 2]),
  }
  arrays.update(changes)
  return {name: value for name, value in arrays.items() if value is not None}


def _npz(arrays):
  buffer = io.BytesIO()
  np.savez(buffer, **arrays)
  return buffer.getvalue()


def test_the_order_inside_the_arrays_does_not_matter():
  in_subset, train_correct, test_correct = aux_arrays.decode(KEY, _npz(_arrays())).unpack()
  assert in_subset.tolist() == [True, False, True]
  assert train_correct.tolist() == [False, True, True]
  assert test_correct.tolist() == [True, False]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32", "float64"])
def test_correctness_may_be_of_any_numeric_type(dtype):
  arrays = {
    name: value.astype(dtype) if name.startswith("correctness") else value
    for name, value in _arrays().items()
  }
  assert aux_arrays.decode(KEY, _npz(arrays)) == aux_arrays.decode(KEY, _npz(_arrays()))


@given(st.data())
def test_what_is_encoded_is_decoded(data):
  def bits(count):
    return np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)), bool)

  num_train, num_test = data.draw(st.integers(1, 40)), data.draw(st.integers(0, 40))
  outcome = RunOutcome.pack(KEY, bits(num_train), bits(num_train), bits(num_test))
  content = aux_arrays.encode(outcome)
  assert aux_arrays.decode(KEY, content) == outcome
  with np.load(io.BytesIO(content)) as arrays:
    in_subset, train_correct, test_correct = outcome.unpack()
    assert arrays["subsample_idx"].tolist() == arrays["index_train"].tolist()
    assert arrays["index_train"].tolist() == np.flatnonzero(in_subset).tolist()
    assert arrays["correctness_removed"].tolist() == train_correct[~in_subset].tolist()
    assert arrays["correctness_test"].tolist() == test_correct.tolist()


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"index_test": None}, "has no array index_test"),
    ({"correctness_test": np.array([0, 1, 1])}, "correctness_test has 3 entries and index_test 2"),
    ({"correctness_train": np.array([0, 2])}, "correctness_train holds values other than 0 and 1"),
    ({"correctness_test": np.array([0, np.nan])}, "correctness_test holds values other than 0"),
    ({"correctness_test": np.array(["0", "1"])}, "array correctness_test is of strings"),
    ({"index_train": np.array([3, 0])}, "index_train has 3, which is not in 0…2"),
    ({"index_removed": np.array([-1])}, "index_removed has -1, which is not in 0…2"),
    ({"index_test": np.array([0, 2])}, "index_test has 2, which is not in 0…1"),
    ({"index_test": np.array([1, 1])}, "index_test has example 1 twice"),
    ({"index_train": np.array([2, 2])}, "index_train has example 2 twice"),
    ({"index_removed": np.array([2])}, "example 2 is in index_train and in index_removed"),
    ({"index_test": np.array([0.0, 1.0])}, "index_test is float64: it must hold integers"),
    ({"index_test": np.array([[0, 1]])}, "array index_test has 2 dimensions"),
    ({"subsample_idx": np.array([0, 1])}, "subsample_idx and index_train are different sets"),
    ({"subsample_idx": np.array([0])}, "subsample_idx and index_train are different sets"),
    ({"index_test": np.array([0, None])}, "cannot be read as npz: array index_test is of Python"),
  ],
)
def test_says_what_is_wrong(changes, message):
  with pytest.raises(AuxArraysError, match=message):
    aux_arrays.decode(KEY, _npz(_arrays(**changes)))


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.9, 0.99])
def test_a_truncated_file_is_an_error(share):
  content = _npz(_arrays())
  with pytest.raises(AuxArraysError, match="cannot be read as npz"):
    aux_arrays.decode(KEY, content[: int(share * len(content))])


def test_a_single_array_is_no_outcome():
  buffer = io.BytesIO()
  np.save(buffer, np.zeros(3))
  with pytest.raises(AuxArraysError, match="cannot be read as npz: File is not a zip file"):
    aux_arrays.decode(KEY, buffer.getvalue())


def test_flipped_bytes_are_an_error():
  content = bytearray(_npz(_arrays()))
  position = content.index(b"correctness_test.npy") + 100
  content[position] ^= 0xFF
  with pytest.raises(AuxArraysError):
    aux_arrays.decode(KEY, bytes(content))


def test_reads_complete_runs_only(tmp_path):
  directory = tmp_path / "0.7" / "3"
  directory.mkdir(parents=True)
  (directory / "notes").write_bytes(b"")
  (run,) = list_runs(str(tmp_path)).runs
  with pytest.raises(AuxArraysError, match=r"has no aux_arrays\.npz: the run is not complete"):
    aux_arrays.read(run)
  (directory / "aux_arrays.npz").write_bytes(_npz(_arrays()))
  (run,) = list_runs(str(tmp_path)).runs
  assert aux_arrays.read(run) == aux_arrays.decode(KEY, _npz(_arrays()))


def _run(tmp_path, content):
  directory = tmp_path / "0.7" / "3"
  directory.mkdir(parents=True)
  (directory / "aux_arrays.npz").write_bytes(content)
  (run,) = list_runs(str(tmp_path)).runs
  return run


@pytest.mark.parametrize(
  "arrays",
  [
    {"subsample_idx": np.array([4, 0])},
    {"subsample_idx": np.array([4, 0], np.uint16), "notes": np.array([None])},
    _arrays(subsample_idx=np.array([4, 0]), correctness_test=np.array([7])),
  ],
  ids=["alone", "beside objects", "beside others"],
)
def test_the_subset_needs_no_other_array(tmp_path, arrays):
  in_subset = aux_arrays.read_subset(_run(tmp_path, _npz(arrays)), num_train=5)
  assert in_subset.dtype == bool
  assert in_subset.tolist() == [True, False, False, False, True]


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (_npz({"index_train": np.array([0])}), "has no array subsample_idx"),
    (_npz({"subsample_idx": np.array([0, 5])}), "subsample_idx has 5, which is not in 0…4"),
    (_npz({"subsample_idx": np.array([-1])}), "subsample_idx has -1, which is not in 0…4"),
    (_npz({"subsample_idx": np.array([3, 3])}), "subsample_idx has example 3 twice"),
    (_npz({"subsample_idx": np.array([1.0])}), "subsample_idx is float64: it must hold integers"),
    (
      _npz({"subsample_idx": np.array([None])}),
      "cannot be read as npz: array subsample_idx is of Python objects",
    ),
    (_npz({"subsample_idx": np.array([1])})[:-9], "cannot be read as npz"),
  ],
)
def test_says_what_is_wrong_with_the_subset(tmp_path, content, message):
  with pytest.raises(AuxArraysError, match=f"^aux_arrays.npz {message}"):
    aux_arrays.read_subset(_run(tmp_path, content), num_train=5)


def test_the_subset_of_an_incomplete_run_is_not_known(tmp_path):
  run = _run(tmp_path, b"")
  incomplete = dataclasses.replace(run, files=())
  with pytest.raises(AuxArraysError, match=r"has no aux_arrays\.npz: the run is not complete"):
    aux_arrays.read_subset(incomplete, num_train=5)
