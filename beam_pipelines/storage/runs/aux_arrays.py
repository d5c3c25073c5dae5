"""Recorded outcomes: the `aux_arrays.npz` of a run directory, read with suspicion and written."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import files
from beam_pipelines.storage.runs.experiment import AUX_ARRAYS, RunDirectory, RunKey
from beam_pipelines.storage.runs.outcome import RunOutcome
from estimators import mark_members
from files.npz import NpzError, read_arrays

SPLITS = ("train", "removed", "test")


class AuxArraysError(ValueError):
  """The arrays of a run do not describe an outcome; the message says what is wrong."""


@contextmanager
def _naming_the_file() -> Iterator[None]:
  try:
    yield
  except AuxArraysError as error:
    raise AuxArraysError(f"{AUX_ARRAYS} {error}") from error


def encode(outcome: RunOutcome, training_loss: float | None = None) -> bytes:
  """Returns the content of the `aux_arrays.npz` that records an outcome.

  `index_*` and `subsample_idx` are int32 in ascending order, `correctness_*` bool. A training loss
  becomes one more array, `training_loss`, float64 [].
  """
  in_subset, train_correct, test_correct = outcome.unpack()
  train = np.flatnonzero(in_subset).astype(np.int32)
  removed = np.flatnonzero(~in_subset).astype(np.int32)
  extras: dict[str, Any] = {}
  if training_loss is not None:
    extras["training_loss"] = np.float64(training_loss)
  buffer = io.BytesIO()
  np.savez(
    buffer,
    correctness_train=train_correct[train],
    correctness_removed=train_correct[removed],
    correctness_test=test_correct,
    index_train=train,
    index_removed=removed,
    index_test=np.arange(len(test_correct), dtype=np.int32),
    subsample_idx=train,
    **extras,
  )
  return buffer.getvalue()


@_naming_the_file()
def decode(key: RunKey, content: bytes) -> RunOutcome:
  """Returns the outcome that an `aux_arrays.npz` records.

  The order of the entries inside the file's arrays does not matter. Training and test set are as
  large as the arrays say.

  Args:
    key: the run that the file belongs to.
    content: the file.

  Raises:
    AuxArraysError: the file is truncated or no npz, an array is missing or of objects, lengths
      disagree, an index is out of range or there twice, correctness is not 0 or 1, or
      `subsample_idx` and `index_train` are different sets.
  """
  arrays = _load(content)
  correct = {split: _read_correctness(arrays, split) for split in SPLITS}
  index = {split: _read_index(arrays, f"index_{split}") for split in SPLITS}
  for split in SPLITS:
    if len(correct[split]) != len(index[split]):
      raise AuxArraysError(
        f"correctness_{split} has {len(correct[split]):,} entries and index_{split} "
        f"{len(index[split]):,}: they must agree"
      )
  num_train = len(index["train"]) + len(index["removed"])
  in_subset = _membership(index["train"], num_train, "index_train")
  removed = _membership(index["removed"], num_train, "index_removed")
  if (in_subset & removed).any():
    example = int(np.flatnonzero(in_subset & removed)[0])
    raise AuxArraysError(f"example {example} is in index_train and in index_removed")
  _membership(index["test"], len(index["test"]), "index_test")
  subset = _membership(_read_index(arrays, "subsample_idx"), num_train, "subsample_idx")
  if (subset != in_subset).any():
    example = int(np.flatnonzero(subset != in_subset)[0])
    raise AuxArraysError(
      f"subsample_idx and index_train are different sets: example {example} is in only one"
    )
  train_correct = np.empty(num_train, bool)
  train_correct[index["train"]] = correct["train"]
  train_correct[index["removed"]] = correct["removed"]
  test_correct = np.empty(len(index["test"]), bool)
  test_correct[index["test"]] = correct["test"]
  return RunOutcome.pack(key, in_subset, train_correct, test_correct)


def read(run: RunDirectory) -> RunOutcome:
  """Returns the outcome that a run directory records.

  Raises:
    AuxArraysError: the run is not complete, or its file is not as `decode` wants it.
  """
  return decode(run.key, fetch(run))


def read_subset(run: RunDirectory, num_train: int) -> np.ndarray:
  """Returns which training examples a run saw, bool [num_train], from `subsample_idx` alone.

  Raises:
    AuxArraysError: the run is not complete, its file is truncated or no npz, or `subsample_idx` is
      missing, out of range or names an example twice.
  """
  return _decode_subset(fetch(run), num_train)


def fetch(run: RunDirectory) -> bytes:
  """Returns the content of a run's `aux_arrays.npz`, for `decode`.

  Raises:
    AuxArraysError: the run is not complete, or the file cannot be read.
  """
  if not run.complete:
    raise AuxArraysError(f"has no {AUX_ARRAYS}: the run is not complete")
  try:
    return files.read_bytes(run.aux_arrays_path)
  except OSError as error:
    raise AuxArraysError(f"{AUX_ARRAYS} cannot be read: {error}") from error


@_naming_the_file()
def _decode_subset(content: bytes, num_train: int) -> np.ndarray:
  arrays = _load(content, ["subsample_idx"])
  return _membership(_read_index(arrays, "subsample_idx"), num_train, "subsample_idx")


def _load(content: bytes, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
  try:
    return read_arrays(content, names)
  except NpzError as error:
    raise AuxArraysError(f"cannot be read as npz: {error}") from error


def _read_array(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
  if name not in arrays:
    raise AuxArraysError(f"has no array {name}")
  if arrays[name].ndim != 1:
    raise AuxArraysError(f"array {name} has {arrays[name].ndim} dimensions: it must have one")
  return arrays[name]


def _read_correctness(arrays: dict[str, np.ndarray], split: str) -> np.ndarray:
  name = f"correctness_{split}"
  values = _read_array(arrays, name)
  if values.dtype == bool:
    return values
  bits = values == 1
  if values.dtype.kind not in "iuf" or not (bits | (values == 0)).all():
    raise AuxArraysError(f"{name} holds values other than 0 and 1")
  return bits


def _read_index(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
  values = _read_array(arrays, name)
  if values.dtype.kind not in "iu":
    raise AuxArraysError(f"{name} is {values.dtype}: it must hold integers")
  return values


def _membership(index: np.ndarray, count: int, name: str) -> np.ndarray:
  """Returns bool [count], true at each of `index`: in range and without repetition."""
  member, bad = mark_members(index, count)
  if bad is not None:
    if not 0 <= index[bad] < count:
      raise AuxArraysError(f"{name} has {index[bad]}, which is not in 0…{count - 1}")
    raise AuxArraysError(f"{name} has example {index[bad]} twice")
  return member
