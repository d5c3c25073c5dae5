"""The layout of LiRA: a directory per model, with `keep.npy` and logits or scores.

As research/mi_lira_2021 of tensorflow/privacy writes it, `experiment-<id>_<N>/keep.npy`,
`logits/%010d.npy` (n, 1, augmentations, classes) and `scores/%010d.npy` (n, augmentations), by
epoch; or as lira-pytorch does, `keep.npy`, `logits.npy` (n, augmentations, classes), `scores.npy`.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple, cast

import numpy as np

import files
from beam_pipelines.storage.layouts.foreign_rows import (
  MOST_EXAMPLES,
  ZERO,
  Chunk,
  Description,
  RowError,
  read_bits,
)
from beam_pipelines.storage.layouts.matrices import Matrix, find_array, open_matrix
from beam_pipelines.storage.layouts.notes import SIGNS, noted_margin
from beam_pipelines.storage.runs.packs import MarginKind
from files.errors import UsageError
from files.npy_rows import NpyRows

_KEEP = re.compile(r"(?:(?P<model>.+)/)?keep\.npy")
_KINDS = ("correct", "logits", "scores")
_EPOCH = re.compile(rf"(?P<kind>{'|'.join(_KINDS)})(?:/(?P<epoch>\d+))?\.npy", re.ASCII)
_LABELS = "y_train"
_BLOCK_BYTES = 1 << 26


class _Model(NamedTuple):
  """The files of one model: its keep, and of each kind that of the latest epoch, or None."""

  name: str
  keep: str
  correct: str | None
  logits: str | None
  scores: str | None


class LiraRows:
  """Outcomes of models that were trained for LiRA; each model is a row.

  Correctness and margins come from the logits, averaged over augmentations, if labels are known;
  otherwise from the scores, which are margins by logsumexp, averaged likewise. Where a
  `correct.npy`, bool (n,), lies beside the scores, as Heldout writes it, it counts.

  Args:
    directory: the one that holds the models' directories.
    labels: path of the training labels; None for `y_train.npy` in the directory, if it is there.

  Raises:
    UsageError: there are no models, or the first one's files are not what they should be.
    OSError: something cannot be read.
  """

  def __init__(self, directory: str, labels: str | None = None):
    names = [info.name for info in files.list_files(directory)]
    self._models = _find_models(directory, names)
    path = labels or _find_labels(directory, names)
    self._labels = _read_labels(path) if path else None
    if not self._models:
      raise UsageError(f"{directory} holds no keep.npy: it is no directory of LiRA's models")
    self._num_train = _length(self._models[0].keep)
    if self._labels is not None and len(self._labels) < self._num_train:
      raise UsageError(
        f"{path} has {len(self._labels):,} labels and {self._models[0].keep} is of "
        f"{self._num_train:,} examples: they must agree"
      )
    self._from_logits = self._labels is not None and any(model.logits for model in self._models)
    if not self._from_logits and not any(model.scores for model in self._models):
      what = "logits without labels" if any(m.logits for m in self._models) else "no logits"
      raise UsageError(
        f"{directory} holds {what}, and no scores: give the labels, {_LABELS}.npy, or make the "
        "scores"
      )
    self.description = self._describe(directory, names, path)

  def read(self, start: int, stop: int) -> Chunk:
    """Returns some rows; see `ForeignRows`."""
    shape = (stop - start, self._num_train)
    masks, correct, margin = np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape)
    problems: dict[int, str] = {}
    for row, model in enumerate(self._models[start:stop]):
      try:
        masks[row] = self._keep(model)
        if self._from_logits:
          correct[row], margin[row] = self._judge_logits(model)
        else:
          margin[row] = self._average_scores(model)
          correct[row] = self._read_correct(model) if model.correct else margin[row] > 0
      except (RowError, UsageError) as error:
        problems[row] = str(error)
    return Chunk(masks, correct, None, margin, None, problems)

  def read_masks(self, start: int, stop: int) -> np.ndarray:
    """Returns the masks of the rows that have one; see `ForeignRows`."""
    masks = []
    for model in self._models[start:stop]:
      try:
        masks.append(self._keep(model))
      except (RowError, UsageError):  # `read` says it
        continue
    return np.array(masks).reshape(-1, self._num_train)

  def _describe(self, directory: str, names: list[str], labels: str | None) -> Description:
    margin = noted_margin(directory, names) or "logsumexp"
    origin = {"layout": "lira", "directory": directory, "margin": margin}
    if self._from_logits:
      origin |= {"labels": str(labels), "bits": "largest logit, averaged over augmentations"}
    elif all(model.correct or not model.scores for model in self._models):
      origin["bits"] = "as given"
    else:
      origin["bits"] = f"from the sign of the score, averaged over augmentations; {ZERO}"
    first = next(path for model in self._models if (path := self._outcome_of(model)))
    NpyRows.open(first)
    return Description(
      rows=len(self._models),
      num_train=self._num_train,
      num_test=0,
      train=True,
      margins=None if margin == SIGNS else cast("MarginKind", margin),
      origin=origin,
      missing={"test_correct": "LiRA has no test outcomes"},
      row_bytes=8 * self._num_train,
    )

  def _outcome_of(self, model: _Model) -> str | None:
    return model.logits if self._from_logits else model.scores

  def _read_correct(self, model: _Model) -> np.ndarray:
    matrix = open_matrix(str(model.correct), "")
    if matrix.shape != (self._num_train,):
      raise RowError(f"{model.correct} has shape {matrix.shape}, not ({self._num_train},)")
    return read_bits(_read(matrix), str(model.correct))

  def _keep(self, model: _Model) -> np.ndarray:
    matrix = open_matrix(model.keep, "")
    if matrix.shape != (self._num_train,):
      raise RowError(f"{model.keep} has shape {matrix.shape}, the first has ({self._num_train},)")
    return read_bits(_read(matrix), model.keep)

  def _judge_logits(self, model: _Model) -> tuple[np.ndarray, np.ndarray]:
    if model.logits is None:
      raise RowError(f"{model.name} has no logits: it was not trained to the end")
    matrix = open_matrix(model.logits, "")
    shape = matrix.shape
    if len(shape) not in (2, 3, 4) or shape[0] != self._num_train or shape[-1] < 2:
      raise RowError(f"{model.logits} has shape {shape}: logits are (n, 1, augmentations, classes)")
    assert self._labels is not None
    labels = self._labels[: self._num_train]
    if labels.max() >= shape[-1]:
      raise RowError(f"{model.logits} is of {shape[-1]} classes: there are labels beyond")
    correct, margins = np.empty(len(labels), bool), np.empty(len(labels))
    for rows, values in _blocks(matrix):
      logits = values.reshape(len(values), -1, shape[-1]).mean(axis=1, dtype=np.float64)
      correct[rows], margins[rows] = _judge(logits, labels[rows])
    return correct, margins

  def _average_scores(self, model: _Model) -> np.ndarray:
    if model.scores is None:
      raise RowError(f"{model.name} has no scores: it was not trained to the end")
    matrix = open_matrix(model.scores, "")
    if len(matrix.shape) not in (1, 2) or matrix.shape[0] != self._num_train:
      raise RowError(f"{model.scores} has shape {matrix.shape}: scores are (n, augmentations)")
    if matrix.dtype.kind != "f":
      raise RowError(f"{model.scores} is {matrix.dtype}: scores are floats")
    margins = np.empty(self._num_train)
    for rows, values in _blocks(matrix):
      margins[rows] = values.reshape(len(values), -1).mean(axis=1, dtype=np.float64)
    return margins


def _find_models(directory: str, names: list[str]) -> list[_Model]:
  """Returns the models by the numbers in the names of their directories."""
  inside: dict[str, dict[str, tuple[int, str]]] = defaultdict(dict)
  models = {match["model"] or "" for name in names if (match := _KEEP.fullmatch(name))}
  for name in names:
    for model in _directories_above(name):
      if model in models and (found := _EPOCH.fullmatch(name[len(model) :].lstrip("/"))):
        epoch = int(found["epoch"] or 0)
        inside[model][found["kind"]] = max(
          inside[model].get(found["kind"], (-1, "")), (epoch, name)
        )
  ordered = sorted(models, key=lambda model: (_numbers(model), model))
  return [
    _Model(
      model or ".",
      files.join(directory, model, "keep.npy"),
      *(
        files.join(directory, inside[model][kind][1]) if kind in inside[model] else None
        for kind in _KINDS
      ),
    )
    for model in ordered
  ]


def _find_labels(directory: str, names: list[str]) -> str | None:
  """Returns the path of the labels: in the directory, or in the only one below that has some."""
  if path := find_array(directory, names, _LABELS):
    return path
  below = [name for name in names if name.endswith(f"/{_LABELS}.npy")]
  return files.join(directory, below[0]) if len(below) == 1 else None


def _directories_above(name: str) -> list[str]:
  parts = name.split("/")
  return ["/".join(parts[:count]) for count in range(max(len(parts) - 2, 0), len(parts))]


def _numbers(name: str) -> list[int]:
  return [int(number) for number in re.findall(r"\d+", name, re.ASCII)]


def _judge(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns whether the label has the largest logit, and the margins by logsumexp.

  Args:
    logits: float64 [examples, classes].
    labels: int64 [examples].
  """
  of_label = np.take_along_axis(logits, labels[:, None], 1)[:, 0]
  correct = logits.argmax(axis=1) == labels
  np.put_along_axis(logits, labels[:, None], -np.inf, 1)
  largest = logits.max(axis=1)
  logits -= largest[:, None]
  return correct, of_label - (largest + np.log(np.exp(logits, out=logits).sum(axis=1)))


def _blocks(matrix: Matrix) -> Iterator[tuple[slice, np.ndarray]]:
  """Yields ranges of examples and what a file has of them, within a bound of bytes.

  Raises:
    RowError: not even one example is within it.
  """
  examples, *others = matrix.shape
  example_bytes = 8 * math.prod(others)  # as float64
  if example_bytes > _BLOCK_BYTES:
    raise RowError(
      f"{matrix.path} has {math.prod(others):,} numbers for each example, more than the "
      f"{_BLOCK_BYTES // 8:,} that can be averaged"
    )
  step = _BLOCK_BYTES // max(example_bytes, 1)
  for start in range(0, examples, step):
    stop = min(start + step, examples)
    yield slice(start, stop), matrix.read(start, stop)


def _read(matrix: Matrix) -> np.ndarray:
  return matrix.read(0, matrix.shape[0])


def _length(path: str) -> int:
  shape = NpyRows.open(path).shape
  if len(shape) != 1:
    raise UsageError(f"{path} has shape {shape}: keep is (n,)")
  if not 0 < shape[0] <= MOST_EXAMPLES:
    raise UsageError(f"{path} is of {shape[0]:,} examples: 1 to {MOST_EXAMPLES:,} can be imported")
  return shape[0]


def _read_labels(path: str) -> np.ndarray:
  rows = open_matrix(path, "labels")
  if math.prod(rows.shape) > MOST_EXAMPLES:
    raise UsageError(
      f"{path} has {math.prod(rows.shape):,} labels: at most {MOST_EXAMPLES:,} can be imported"
    )
  labels = rows.read(0, rows.shape[0]).reshape(-1)
  if labels.dtype.kind not in "iu" or not len(labels) or labels.min() < 0:
    raise UsageError(f"{path} holds no labels: those are whole numbers from 0")
  return labels.astype(np.int64)
