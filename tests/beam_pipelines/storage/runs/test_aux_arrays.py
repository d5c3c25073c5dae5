import dataclasses
import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipelines.storage.runs import aux_arrays
from beam_pipelines.storage.runs.aux_arrays import AuxArraysError, NoMarginsError
from beam_pipelines.storage.runs.experiment import list_runs
from beam_pipelines.storage.runs.outcome import Margins, RunOutcome
from beam_pipelines.storage.runs.run_place import RunKey
from tests.helpers.mutations import mutate

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
    (
      {"index_test": np.zeros(257, np.uint8), "correctness_test": np.zeros(257)},
      "index_test has 257 entries: uint8 has not as many",
    ),
    ({"index_test": np.array([[0, 1]])}, "array index_test has 2 dimensions"),
    ({"subsample_idx": np.array([0, 1])}, "subsample_idx and index_train are different sets"),
    ({"subsample_idx": np.array([0])}, "subsample_idx and index_train are different sets"),
    ({"index_test": np.array([0, None])}, "cannot be read as npz: array index_test is of Python"),
  ],
)
def test_says_what_is_wrong(changes, message):
  with pytest.raises(AuxArraysError, match=message):
    aux_arrays.decode(KEY, _npz(_arrays(**changes)))


def _margins(**changes):
  """The arrays of `_arrays` with margins: of the training examples 0.5, 1.5 and −2.5."""
  arrays = _arrays(
    margin_train=np.array([-2.5, 0.5], np.float32),
    margin_removed=np.array([1.5], np.float32),
    margin_test=np.array([-0.25, 0.75], np.float32),
  )
  arrays.update(changes)
  return {name: value for name, value in arrays.items() if value is not None}


def test_margins_are_read_where_they_are_needed():
  content = _npz(_margins())
  outcome = aux_arrays.decode(KEY, content, with_margins=True)
  assert outcome.margins.train.dtype == outcome.margins.test.dtype == np.float32
  assert outcome.margins.train.tolist() == [0.5, 1.5, -2.5]
  assert outcome.margins.test.tolist() == [0.75, -0.25]
  assert outcome == dataclasses.replace(
    aux_arrays.decode(KEY, content),
    train_margin=outcome.train_margin,
    test_margin=outcome.test_margin,
  )


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4"])
def test_margins_may_be_of_any_float_type(dtype):
  arrays = {
    name: value.astype(dtype) if name.startswith("margin") else value
    for name, value in _margins().items()
  }
  expected = aux_arrays.decode(KEY, _npz(_margins()), with_margins=True)
  assert aux_arrays.decode(KEY, _npz(arrays), with_margins=True) == expected


@given(st.data())
def test_margins_that_are_encoded_are_decoded(data):
  num_train, num_test = data.draw(st.integers(1, 40)), data.draw(st.integers(0, 40))
  rng = np.random.default_rng(data.draw(st.integers(0, 100)))
  margins = Margins(*(rng.standard_normal(n).astype(np.float32) for n in (num_train, num_test)))
  bits = [rng.random(n) < 0.5 for n in (num_train, num_train, num_test)]
  outcome = RunOutcome.pack(KEY, *bits, margins)
  content = aux_arrays.encode(outcome)
  assert aux_arrays.decode(KEY, content, with_margins=True) == outcome
  assert aux_arrays.decode(KEY, content) == RunOutcome.pack(KEY, *bits)
  with np.load(io.BytesIO(content)) as arrays:
    for split in ("train", "removed"):
      expected = margins.train[arrays[f"index_{split}"]]
      assert arrays[f"margin_{split}"].dtype == np.float32
      assert arrays[f"margin_{split}"].tolist() == expected.tolist()
    assert arrays["margin_test"].tolist() == margins.test.tolist()


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"margin_test": None}, "has no array margin_test"),
    ({"margin_train": np.ones(1, "f4")}, "margin_train has 1 entries and index_train 2"),
    ({"margin_removed": np.ones((1, 1), "f4")}, "array margin_removed has 2 dimensions"),
    ({"margin_test": np.array([1, 2])}, "margin_test is int64: it must hold floats"),
    ({"margin_test": np.array([1, np.nan])}, "margin_test holds values that are not finite"),
    ({"margin_train": np.array([-np.inf, 0])}, "margin_train holds values that are not finite"),
    ({"margin_train": np.array([1e39, 0])}, "margin_train holds values that are not finite"),
    ({"margin_test": np.array([0, None])}, "cannot be read as npz: array margin_test is of Python"),
  ],
)
def test_says_what_is_wrong_with_margins_only_where_they_are_needed(changes, message):
  content = _npz(_margins(**changes))
  with pytest.raises(AuxArraysError, match=f"^aux_arrays.npz {message}"):
    aux_arrays.decode(KEY, content, with_margins=True)
  assert aux_arrays.decode(KEY, content) == aux_arrays.decode(KEY, _npz(_arrays()))


def test_a_run_without_margins_is_told_from_one_with_bad_margins():
  message = "^aux_arrays.npz records no margins: it has no array margin_train$"
  with pytest.raises(NoMarginsError, match=message):
    aux_arrays.decode(KEY, _npz(_arrays()), with_margins=True)


@pytest.mark.parametrize(
  "extra",
  [np.array([{"learning_rate": 0.1}]), np.zeros(2, [("a", "i4")]), np.array("note")],
  ids=["objects", "structure", "string"],
)
def test_other_arrays_are_ignored(extra):
  expected = aux_arrays.decode(KEY, _npz(_arrays()))
  assert aux_arrays.decode(KEY, _npz(_arrays(extra=extra))) == expected
  encrypted = bytearray(_npz(_arrays(extra=extra)))
  encrypted[encrypted.rindex(b"PK\1\2") + 8] |= 1
  assert aux_arrays.decode(KEY, bytes(encrypted)) == expected


def test_a_bool_is_0_or_1():
  content = _npz(_arrays(correctness_test=np.array([1, 7], np.uint8).view(bool)))
  with pytest.raises(AuxArraysError, match="correctness_test holds values other than 0 and 1"):
    aux_arrays.decode(KEY, content)


def _peak(function, *arguments):
  """Returns how many bytes were taken at most until an `AuxArraysError`, and its message."""
  tracemalloc.start()
  with pytest.raises(AuxArraysError) as caught:
    function(*arguments)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  return peak, str(caught.value)


def test_a_bomb_is_refused_before_it_takes_memory():
  buffer = io.BytesIO()
  np.savez_compressed(buffer, **_arrays(correctness_test=np.zeros(1 << 26, bool)))
  peak, message = _peak(aux_arrays.decode, KEY, buffer.getvalue())
  assert message.startswith(
    "aux_arrays.npz cannot be read as npz: array correctness_test has 67,108,992 bytes, where all "
    "arrays together may have 1"
  )
  assert peak < 1 << 20


@pytest.mark.parametrize("num_train", [10_000, 1_281_167])
def test_what_packs_well_is_no_bomb(num_train):
  subset = np.arange(num_train)
  arrays = _arrays(
    correctness_train=np.ones(num_train),
    correctness_removed=np.ones(0),
    correctness_test=np.ones(50_000),
    index_train=subset,
    index_removed=subset[:0],
    index_test=np.arange(50_000),
    subsample_idx=subset,
  )
  buffer = io.BytesIO()
  np.savez_compressed(buffer, **arrays)
  assert aux_arrays.decode(KEY, buffer.getvalue()).num_train == num_train


def test_a_file_of_absurd_size_is_not_fetched(tmp_path):
  run = _run(tmp_path, b"")
  with open(run.aux_arrays_path, "wb") as file:
    file.truncate(1 << 33)
  (run,) = list_runs(str(tmp_path)).runs
  peak, message = _peak(aux_arrays.fetch, run)
  assert message == (
    "aux_arrays.npz has 8,589,934,592 bytes: a recorded outcome has at most 268,435,456"
  )
  assert peak < 1 << 20


def test_no_fault_shows_in_another_error():
  content = _npz(_arrays(extra=np.array([None]), index_removed=np.array([1], ">i4")))
  expected = aux_arrays.decode(KEY, content)
  spots = tuple(i for i in range(len(content)) if content.startswith((b"PK", b"\x93NUMPY"), i))
  messages = []
  for damaged in mutate(content, seed=0, count=2000, spots=spots):
    try:
      assert aux_arrays.decode(KEY, damaged) == expected
    except AuxArraysError as error:
      messages.append(str(error))
  assert len(messages) > 1000
  assert all(message.startswith("aux_arrays.npz ") for message in messages)
  assert not any("\n" in message for message in messages)


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.9, 0.99])
def test_a_truncated_file_is_an_error(share):
  content = _npz(_arrays())
  with pytest.raises(AuxArraysError, match="cannot be read as npz"):
    aux_arrays.decode(KEY, content[: int(share * len(content))])


def test_a_single_array_is_no_outcome():
  buffer = io.BytesIO()
  np.save(buffer, np.zeros(3))
  with pytest.raises(AuxArraysError, match="cannot be read as npz: it is no zip archive"):
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
  in_subset = aux_arrays.decode_subset(aux_arrays.fetch(_run(tmp_path, _npz(arrays))), num_train=5)
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
    aux_arrays.decode_subset(aux_arrays.fetch(_run(tmp_path, content)), num_train=5)


def test_an_incomplete_run_is_not_fetched(tmp_path):
  run = _run(tmp_path, b"")
  incomplete = dataclasses.replace(run, files=())
  with pytest.raises(AuxArraysError, match=r"has no aux_arrays\.npz: the run is not complete"):
    aux_arrays.fetch(incomplete)


def test_examples_set_aside_for_validation_are_explained():
  """All indices are those of 60 examples, of which the run recorded the first 50 and the last."""
  index = np.array([*range(50), 59])
  train, removed = index[::2], index[1::2]
  arrays = {"index_train": train, "index_removed": removed, "index_test": np.arange(4)}
  correct = {name.replace("index", "correctness"): ids > 3 for name, ids in arrays.items()}
  buffer = io.BytesIO()
  np.savez(buffer, subsample_idx=train, **arrays, **correct)
  message = (
    r"^aux_arrays.npz index_train has 59, which is not in 0…50, the numbers of 51 training "
    "examples: where some were set aside, as for validation, record them as removed, or number the "
    "others from 0$"
  )
  with pytest.raises(AuxArraysError, match=message):
    aux_arrays.decode(KEY, buffer.getvalue())
