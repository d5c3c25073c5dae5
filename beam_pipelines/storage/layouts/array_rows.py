"""Outcomes in matrices, a run a row: as plain arrays, datamodels, dattri and TRAK have them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from beam_pipelines.storage.layouts.foreign_rows import MOST_EXAMPLES, ZERO, Chunk, Description
from beam_pipelines.storage.layouts.matrices import Matrix
from beam_pipelines.storage.runs.packs import MarginKind
from files.errors import UsageError

_NOT_RECORDED = "{} has none"


@dataclasses.dataclass(frozen=True)
class Matrices:
  """The matrices of a layout.

  Attributes:
    layout: its name.
    masks: [runs, num_train], 1 where the run saw the example; or with `num_train` the examples that
      it saw, [runs, subset size].
    train_correct: [runs, num_train], or None.
    test_correct: [runs, num_test], or None.
    train_margin: [runs, num_train], or None.
    test_margin: [runs, num_test], or None.
    completed: [runs], 0 where the row is none yet; or None for all of them.
    margin: kind of the margins, if there are any.
    log_probabilities: 1 or −1 where the test margins are instead the label's log-probability times
      this; 0 where they are margins.
    num_train: training examples, where `masks` are indices.
    given_ratio: the subset ratio that the layout names.
  """

  layout: str
  masks: Matrix
  train_correct: Matrix | None = None
  test_correct: Matrix | None = None
  train_margin: Matrix | None = None
  test_margin: Matrix | None = None
  completed: Matrix | None = None
  margin: MarginKind | None = None
  log_probabilities: int = 0
  num_train: int | None = None
  given_ratio: float | None = None

  def named(self) -> Iterator[tuple[str, Matrix]]:
    """Yields the matrices of outcomes that there are, by what they hold."""
    for name in ("train_correct", "test_correct", "train_margin", "test_margin"):
      matrix = getattr(self, name)
      if matrix is not None:
        yield name, matrix


class ArrayRows:
  """Outcomes in matrices.

  Args:
    matrices: the layout's.
    runs_first: whether somebody has said that rows are runs, where a square matrix does not tell.

  Raises:
    UsageError: shapes or dtypes do not fit, or it is not clear what is meant.
  """

  def __init__(self, matrices: Matrices, *, runs_first: bool = False):
    self._matrices = matrices
    rows = _check_shapes(matrices, runs_first)
    self._num_train = _count_training(matrices)
    self.description = self._describe(rows, runs_first)

  def read(self, start: int, stop: int) -> Chunk:
    """Returns some rows; see `ForeignRows`."""
    problems: dict[int, str] = {}
    if self._matrices.completed is not None:
      problems = dict(_not_completed(self._matrices.completed, start, stop))
    outcomes = {name: matrix.read(start, stop) for name, matrix in self._matrices.named()}
    if self._matrices.log_probabilities:
      values = outcomes["test_margin"] * np.float64(self._matrices.log_probabilities)
      for row in np.flatnonzero((values > 0).any(axis=1)):
        problems.setdefault(
          int(row), "has target values of the other sign: a log-probability is at most 0"
        )
      outcomes["test_margin"] = _log_odds(values)
    masks, wrong = self._masks(start, stop)
    return Chunk(
      masks,
      outcomes.get("train_correct"),
      outcomes.get("test_correct"),
      outcomes.get("train_margin"),
      outcomes.get("test_margin"),
      wrong | problems,
    )

  def read_masks(self, start: int, stop: int) -> np.ndarray:
    """Returns the masks of the rows that are some; see `ForeignRows`."""
    masks, problems = self._masks(start, stop)
    usable = np.ones(len(masks), bool)
    usable[list(problems)] = False
    if self._matrices.completed is not None:
      usable[[row for row, _ in _not_completed(self._matrices.completed, start, stop)]] = False
    return masks[usable]

  def _masks(self, start: int, stop: int) -> tuple[np.ndarray, dict[int, str]]:
    read = self._matrices.masks.read(start, stop)
    if self._matrices.num_train is None:
      return read, {}
    masks = np.zeros((len(read), self._num_train), bool)
    problems = {}
    for row, index in enumerate(read):
      if not ((index >= 0) & (index < self._num_train)).all():
        problems[row] = f"has indices that are not in 0…{self._num_train - 1}"
      elif len(np.unique(index)) < len(index):
        problems[row] = "has an index twice"
      else:
        masks[row, index] = True
    return masks, problems

  def _describe(self, rows: int, runs_first: bool) -> Description:
    given = self._matrices
    sides = {}
    for side in ("train", "test"):
      sides[side] = any(name.startswith(side) for name, _ in given.named())
    with_margins = {name.partition("_")[0] for name, _ in given.named() if "margin" in name}
    margins = given.margin if with_margins == {side for side in sides if sides[side]} else None
    num_test = next((m.shape[1] for name, m in given.named() if name.startswith("test")), 0)
    origin = {"layout": given.layout, "masks": given.masks.path}
    origin |= {name: matrix.path for name, matrix in given.named()}
    if runs_first:
      origin["rows"] = "runs, as was said"
    if with_margins:
      origin["margin"] = given.margin or "none, but signs of what is right"
      if any(f"{side}_correct" not in origin for side in with_margins):
        origin["bits"] = f"from the sign of the margin; {ZERO}"
    if given.log_probabilities and given.margin:
      origin["margin"] = "logsumexp, from log-probabilities of the label"
    missing = {
      f"{side}_correct": _NOT_RECORDED.format(given.layout) for side in sides if not sides[side]
    }
    if margins is None:
      partly = with_margins and given.margin
      reason = "not of all outcomes" if partly else _NOT_RECORDED.format(given.layout)
      missing |= {"train_margin": reason, "test_margin": reason}
    everything = [given.masks, *(matrix for _, matrix in given.named())]
    return Description(
      rows,
      self._num_train,
      num_test,
      sides["train"],
      margins,
      origin,
      missing,
      max(
        self._num_train,  # a mask of indices
        *(math.prod(matrix.shape[1:]) * matrix.dtype.itemsize for matrix in everything),
      ),
      given.given_ratio,
    )


def _check_shapes(given: Matrices, runs_first: bool) -> int:
  """Returns how many runs there are."""
  indices = given.num_train is not None
  for name, matrix in (("masks", given.masks), *given.named()):
    if len(matrix.shape) != 2:
      raise UsageError(
        f"{matrix.path} has {len(matrix.shape)} dimensions: {name} are [runs, examples]"
      )
    if "margin" in name and matrix.dtype.kind != "f":
      raise UsageError(f"{matrix.path} is {matrix.dtype}: margins are floats")
    if name == "masks" and indices and matrix.dtype.kind not in "iu":
      raise UsageError(f"{matrix.path} is {matrix.dtype}: indices of examples are integers")
    rows, columns = matrix.shape
    if not 0 < columns <= MOST_EXAMPLES:
      raise UsageError(
        f"{matrix.path} is of {columns:,} examples a run: 1 to {MOST_EXAMPLES:,} can be imported"
      )
    if rows == columns and not runs_first and not (indices and name == "masks"):
      raise UsageError(
        f"{matrix.path} is {rows:,} × {columns:,}, and square matrices do not tell runs from "
        "examples: say that rows are runs (runs_first), or transpose it"
      )
  rows = given.masks.shape[0]
  if not rows:
    raise UsageError(f"{given.masks.path} holds no runs")
  num_train = _count_training(given)
  if not 0 < num_train <= MOST_EXAMPLES:
    raise UsageError(
      f"{given.masks.path} is said to be of {num_train:,} training examples: 1 to "
      f"{MOST_EXAMPLES:,} can be imported"
    )
  sizes: dict[str, tuple[int, str]] = {"train": (num_train, given.masks.path)}
  for name, matrix in given.named():
    side = name.partition("_")[0]
    if matrix.shape[0] != rows:
      transposed = matrix.shape[1] == rows
      raise UsageError(
        f"{matrix.path} has {matrix.shape[0]:,} rows and {given.masks.path} {rows:,}: "
        + ("it is transposed; " if transposed else "")
        + "each row is a run, in the same order"
      )
    size, path = sizes.setdefault(side, (matrix.shape[1], matrix.path))
    if matrix.shape[1] != size:
      raise UsageError(
        f"{matrix.path} is of {matrix.shape[1]:,} examples and {path} of {size:,}: they must agree"
      )
  if given.completed is not None and given.completed.shape not in ((rows,), (rows, 1)):
    raise UsageError(
      f"{given.completed.path} is of shape {given.completed.shape} and "
      f"{given.masks.path} of {rows:,} runs: they must agree"
    )
  return rows


def _not_completed(completed: Matrix, start: int, stop: int) -> Iterator[tuple[int, str]]:
  """Yields those of some rows that are not said to be complete, and why."""
  done = completed.read(start, stop).reshape(-1)
  for row in np.flatnonzero(done != 1).tolist():
    if done[row] == 0:
      yield row, "is not completed"
    else:
      yield row, f"has {done[row]} in {completed.path}, which is neither 0 nor 1"


def _count_training(given: Matrices) -> int:
  return given.masks.shape[1] if given.num_train is None else given.num_train


def _log_odds(log_probability: np.ndarray) -> np.ndarray:
  """Returns log p − log(1 − p) of log p, float64; 1 − p is at least 1e-45, as in LiRA."""
  return log_probability - np.log(np.maximum(-np.expm1(log_probability), 1e-45))
