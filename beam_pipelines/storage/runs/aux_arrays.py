"""Recorded outcomes: the `aux_arrays.npz` of a run directory, read with suspicion and written."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

import files
from beam_pipelines.storage.runs.experiment import RunDirectory
from beam_pipelines.storage.runs.outcome import Margins, RunOutcome
from beam_pipelines.storage.runs.run_place import AUX_ARRAYS, LARGEST_AUX_BYTES, RunKey
from estimators import mark_members
from files.npz import NpzError, read_arrays

SPLITS = ("train", "removed", "test")

# Sorted indices as int64 and a correctness of ones as float64 pack to a tenth of their size.
_PACKED_FACTOR = 32
_ALWAYS_BYTES = 1 << 24

_SUBSET = "subsample_idx"
_MARGINS = tuple(f"margin_{split}" for split in SPLITS)
_ARRAYS = (*(f"{kind}_{split}" for kind in ("correctness", "index") for split in SPLITS), _SUBSET)


class AuxArraysError(ValueError):
  """The arrays of a run do not describe an outcome; the message says what is wrong."""


class NoMarginsError(AuxArraysError):
  """The arrays of a run describe an outcome without margins."""


@contextmanager
def _naming_the_file() -> Iterator[None]:
  try:
    yield
  except AuxArraysError as error:
    raise type(error)(f"{AUX_ARRAYS} {error}") from error


def encode(outcome: RunOutcome, training_loss: float | None = None) -> bytes:
  """Returns the content of the `aux_arrays.npz` that records an outcome.

  `index_*` and `subsample_idx` are int32 in ascending order, `correctness_*` bool. Margins, if the
  outcome has any, become `margin_*`, float32 and aligned with `index_*`; a training loss becomes
  `training_loss`, float64 [].
  """
  in_subset, train_correct, test_correct = outcome.unpack()
  train = np.flatnonzero(in_subset).astype(np.int32)
  removed = np.flatnonzero(~in_subset).astype(np.int32)
  extras: dict[str, Any] = {}
  if training_loss is not None:
    extras["training_loss"] = np.float64(training_loss)
  if margins := outcome.margins:
    of_splits = (margins.train[train], margins.train[removed], margins.test)
    extras.update(zip(_MARGINS, of_splits, strict=True))
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
def decode(key: RunKey, content: bytes, *, with_margins: bool = False) -> RunOutcome:
  """Returns the outcome that an `aux_arrays.npz` records.

  The order of the entries inside the file's arrays does not matter, nor what other arrays it holds:
  those are not looked at. Training and test set are as large as the arrays say.

  Args:
    key: the run that the file belongs to.
    content: the file.
    with_margins: whether margins are needed; otherwise they are not looked at either, and the
      outcome has none.

  Raises:
    NoMarginsError: there are no margins, but they are needed.
    AuxArraysError: the file is truncated, damaged, too large or no npz, an array is missing or
      holds no numbers, lengths disagree, an index is out of range or there twice, correctness is
      not 0 or 1, a margin is not finite, or `subsample_idx` and `index_train` are different sets.
  """
  arrays = _load(content, (*_ARRAYS, *_MARGINS) if with_margins else _ARRAYS)
  index = {split: _read_index(arrays, f"index_{split}") for split in SPLITS}
  for split in SPLITS:
    entries = len(_read_array(arrays, f"correctness_{split}"))
    if entries != len(index[split]):
      raise AuxArraysError(
        f"correctness_{split} has {entries:,} entries and index_{split} "
        f"{len(index[split]):,}: they must agree"
      )
  correct = {split: _read_correctness(arrays, split) for split in SPLITS}
  num_train = len(index["train"]) + len(index["removed"])
  in_subset = _membership(index["train"], num_train, "index_train")
  removed = _membership(index["removed"], num_train, "index_removed")
  if (in_subset & removed).any():
    example = int(np.flatnonzero(in_subset & removed)[0])
    raise AuxArraysError(f"example {example} is in index_train and in index_removed")
  _membership(index["test"], len(index["test"]), "index_test")
  subset = _membership(_read_index(arrays, _SUBSET), num_train, _SUBSET)
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
  margins = _read_margins(arrays, index) if with_margins else None
  return RunOutcome.pack(key, in_subset, train_correct, test_correct, margins)


def read(run: RunDirectory) -> RunOutcome:
  """Returns the outcome that a run directory records.

  Raises:
    AuxArraysError: the run is not complete, or its file is not as `decode` wants it.
  """
  return decode(run.key, fetch(run))


def fetch(run: RunDirectory) -> bytes:
  """Returns the content of a run's `aux_arrays.npz`, for `decode`.

  Raises:
    AuxArraysError: the run is not complete, or the file is too large or cannot be read.
  """
  ((_, fetched),) = fetch_many([run])
  if isinstance(fetched, AuxArraysError):
    raise fetched
  return fetched


def fetch_many(
  runs: Sequence[RunDirectory],
) -> Iterator[tuple[RunDirectory, bytes | AuxArraysError]]:
  """Yields runs of one experiment in order, with what `fetch` returns or raises for each.

  Several are read at the same time, and the next while these are used.
  """
  problems = {run: _find_problem(run) for run in runs}
  contents = files.read_many(run.aux_arrays_path for run in runs if not problems[run])
  for run in runs:
    if problem := problems[run]:
      yield run, AuxArraysError(problem)
      continue
    _, content = next(contents)
    if isinstance(content, OSError):
      yield run, AuxArraysError(f"{AUX_ARRAYS} cannot be read: {content}")
    else:
      yield run, content


def _find_problem(run: RunDirectory) -> str | None:
  """Returns why a run's file is not worth reading, going by what was listed."""
  file = next((file for file in run.files if file.name == AUX_ARRAYS), None)
  if file is None or file.problem:
    return f"has no {AUX_ARRAYS}: the run is not complete"
  if file.size > LARGEST_AUX_BYTES:
    return (
      f"{AUX_ARRAYS} has {file.size:,} bytes: a recorded outcome has at most {LARGEST_AUX_BYTES:,}"
    )
  return None


@_naming_the_file()
def decode_subset(content: bytes, num_train: int) -> np.ndarray:
  """Returns which training examples a run saw, bool [num_train], from `subsample_idx` alone.

  Raises:
    AuxArraysError: the file is truncated or no npz, or `subsample_idx` is missing, out of range or
      names an example twice.
  """
  arrays = _load(content, [_SUBSET])
  return _membership(_read_index(arrays, _SUBSET), num_train, _SUBSET)


def _load(content: bytes, names: Collection[str]) -> dict[str, np.ndarray]:
  limit = min(LARGEST_AUX_BYTES, _ALWAYS_BYTES + _PACKED_FACTOR * len(content))
  try:
    return read_arrays(content, names, limit=limit)
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
    values = values.view(np.uint8)  # NumPy takes any byte for a bool
  bits = values == 1
  if not (bits | (values == 0)).all():
    raise AuxArraysError(f"{name} holds values other than 0 and 1")
  return bits


def _read_margins(arrays: dict[str, np.ndarray], index: dict[str, np.ndarray]) -> Margins:
  if not any(name in arrays for name in _MARGINS):
    raise NoMarginsError(f"records no margins: it has no array {_MARGINS[0]}")
  margin = {split: _read_margin(arrays, split, len(index[split])) for split in SPLITS}
  train = np.empty(len(index["train"]) + len(index["removed"]), np.float32)
  train[index["train"]] = margin["train"]
  train[index["removed"]] = margin["removed"]
  test = np.empty(len(index["test"]), np.float32)
  test[index["test"]] = margin["test"]
  return Margins(train, test)


def _read_margin(arrays: dict[str, np.ndarray], split: str, entries: int) -> np.ndarray:
  name = f"margin_{split}"
  values = _read_array(arrays, name)
  if len(values) != entries:
    raise AuxArraysError(
      f"{name} has {len(values):,} entries and index_{split} {entries:,}: they must agree"
    )
  if values.dtype.kind != "f":
    raise AuxArraysError(f"{name} is {values.dtype}: it must hold floats")
  with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
    margins = values.astype(np.float32)
  if not np.isfinite(margins).all():
    raise AuxArraysError(f"{name} holds values that are not finite")
  return margins


def _read_index(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
  values = _read_array(arrays, name)
  if values.dtype.kind not in "iu":
    raise AuxArraysError(f"{name} is {values.dtype}: it must hold integers")
  if len(values) > np.iinfo(values.dtype).max + 1:  # its copy would take much more memory
    raise AuxArraysError(f"{name} has {len(values):,} entries: {values.dtype} has not as many")
  return values


def _membership(index: np.ndarray, count: int, name: str) -> np.ndarray:
  """Returns bool [count], true at each of `index`: in range and without repetition."""
  member, bad = mark_members(index, count)
  if bad is not None:
    if not 0 <= index[bad] < count:
      raise AuxArraysError(_explain_range(name, index[bad], count))
    raise AuxArraysError(f"{name} has example {index[bad]} twice")
  return member


def _explain_range(name: str, example: int, count: int) -> str:
  test = name == "index_test"
  way_out = "" if test else "record them as removed, or "
  return (
    f"{name} has {example}, which is not in 0…{count - 1}, the numbers of {count:,} "
    f"{'test' if test else 'training'} examples: where some were set aside, as for validation, "
    f"{way_out}number the others from 0"
  )
