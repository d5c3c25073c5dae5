"""What all foreign layouts come down to: rows of runs, turned into outcomes with suspicion."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from beam_pipelines.storage.runs.outcome import Margins, RunOutcome
from beam_pipelines.storage.runs.packs import MarginKind
from beam_pipelines.storage.runs.run_place import RunKey

ZERO = "a margin of 0 counts as wrong"

MOST_EXAMPLES = 1 << 28
"""Of a set; a run of more takes gigabytes, several times, and a sparse file claims any number."""

# Averages over augmentations may contradict a few bits; another sign or order contradicts many.
_MOST_CONTRADICTIONS = 0.01


class RowError(ValueError):
  """A row describes no outcome; the message says why."""


class Chunk(NamedTuple):
  """Rows of runs as a layout has them; None for what it does not have.

  Attributes:
    masks: numbers [rows, num_train], 1 where the run saw the training example.
    train_correct: numbers [rows, num_train], 1 where it classifies it correctly.
    test_correct: numbers [rows, num_test].
    train_margin: floats [rows, num_train].
    test_margin: floats [rows, num_test].
    problems: by row, counted from 0, why it is none to use.
  """

  masks: np.ndarray
  train_correct: np.ndarray | None
  test_correct: np.ndarray | None
  train_margin: np.ndarray | None
  test_margin: np.ndarray | None
  problems: dict[int, str]


@dataclasses.dataclass(frozen=True)
class Description:
  """What is known of foreign outcomes before they are read.

  Attributes:
    rows: runs.
    num_train: training examples.
    num_test: test examples; 0 without outcomes on them.
    train: whether there are outcomes on training examples.
    margins: whether there are margins wherever there are outcomes, and of which kind.
    origin: where they are from and how they are read, by name.
    missing: why something is not there, by name.
    row_bytes: most bytes that a row takes in one of the arrays.
    given_ratio: the subset ratio that the layout itself names.
  """

  rows: int
  num_train: int
  num_test: int
  train: bool
  margins: MarginKind | None
  origin: dict[str, str]
  missing: dict[str, str]
  row_bytes: int
  given_ratio: float | None = None

  @property
  def recorded(self) -> tuple[str, ...]:
    """What a pack of them records."""
    sides = ["train"] * self.train + ["test"] * bool(self.num_test)
    margins = ("train_margin", "test_margin") if self.margins else ()
    return (*(f"{side}_correct" for side in sides), *margins)


class ForeignRows(Protocol):
  """Outcomes in a foreign layout, opened."""

  @property
  def description(self) -> Description:
    """What is known of them."""
    ...

  def read(self, start: int, stop: int) -> Chunk:
    """Returns some rows.

    Raises:
      UsageError: a file is not what it was.
      OSError: a file cannot be read.
    """
    ...

  def read_masks(self, start: int, stop: int) -> np.ndarray:
    """Returns the masks of those of some rows that have one, numbers [rows, num_train]."""
    ...


def make_outcomes(
  described: Description, chunk: Chunk, subset_ratio: float, first_run: int
) -> Iterator[RunOutcome | RowError]:
  """Yields the outcome of each row, or why it has none.

  Correctness is what is given, or else follows from the sign of the margin: by max, it is positive
  where the label has the largest logit; by logsumexp, where it has a probability of more than 1/2.

  Args:
    described: what the rows are.
    chunk: the rows.
    subset_ratio: of the runs.
    first_run: id of the first row's run; the others follow.
  """
  for row in range(len(chunk.masks)):
    try:
      if problem := chunk.problems.get(row):
        raise RowError(problem)
      yield _make_outcome(described, chunk, row, RunKey(subset_ratio, first_run + row))
    except RowError as error:
      yield error


def read_bits(values: np.ndarray, name: str) -> np.ndarray:
  """Returns numbers that are all 0 or 1 as bool.

  Raises:
    RowError: they are not.
  """
  if values.dtype == bool:
    values = values.view(np.uint8)  # NumPy takes any byte for a bool
  bits = values == 1
  if not (bits | (values == 0)).all():
    raise RowError(f"{name} holds values other than 0 and 1")
  return bits


def _make_outcome(described: Description, chunk: Chunk, row: int, key: RunKey) -> RunOutcome:
  in_subset = read_bits(chunk.masks[row], "its mask")
  if not 0 < np.count_nonzero(in_subset) < len(in_subset):
    raise RowError(f"its mask has {'all' if in_subset.any() else 'none'} of the training examples")
  sides = {}
  for side, correct, margin in (
    ("training", chunk.train_correct, chunk.train_margin),
    ("test", chunk.test_correct, chunk.test_margin),
  ):
    margins = None if margin is None else _read_margins(margin[row], side)
    if correct is None:
      bits = np.empty(0, bool) if margins is None else margins > 0
    else:
      bits = read_bits(correct[row], f"its correctness on {side} examples")
      if margins is not None:
        _check_agreement(bits, margins, described.margins, side)
    sides[side] = (bits, np.empty(0, np.float32) if margins is None else margins)
  kept = described.margins and Margins(sides["training"][1], sides["test"][1])
  return RunOutcome.pack(key, in_subset, sides["training"][0], sides["test"][0], kept)


def _read_margins(values: np.ndarray, side: str) -> np.ndarray:
  with np.errstate(over="ignore", under="ignore"):
    margins = values.astype(np.float32)
  if not np.isfinite(margins).all():
    raise RowError(f"its margins of {side} examples are not all finite")
  # What float32 cannot tell from 0 keeps its sign.
  lost = (margins == 0) & (values != 0)
  tiny = np.finfo(np.float32).smallest_subnormal
  return np.where(lost, np.copysign(tiny, values), margins).astype(np.float32)


def _check_agreement(
  bits: np.ndarray, margins: np.ndarray, kind: MarginKind | None, side: str
) -> None:
  wrong = (margins > 0) & ~bits
  if kind == "max":
    wrong |= (margins < 0) & bits
  share = np.count_nonzero(wrong) / max(len(bits), 1)
  if share > _MOST_CONTRADICTIONS:
    raise RowError(
      f"its margins contradict its correctness on {share:.0%} of the {side} examples: their signs "
      "or orders differ"
    )
