"""Outcomes written in other tools' layouts, a run a row, in memory that does not grow."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

import files
from beam_pipelines.storage.layouts.notes import write_note
from beam_pipelines.storage.runs.judgement import SetSizes
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.runs.packs import MarginKind
from files.errors import UsageError
from files.npy_rows import create_rows

WRITTEN_LAYOUTS = ("lira", "datamodels", "trak", "dattri")

_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)
_SMALLEST_FLOAT16 = float(np.finfo(np.float16).smallest_subnormal)


@dataclasses.dataclass(frozen=True)
class Exported:
  """What is written.

  Attributes:
    directory: where to.
    runs: how many.
    sizes: of their data set.
    margin: kind of their margins; None where not all have any: then +1 stands for right, and −1
      for wrong.
    subset_ratio: theirs.
    origin: where they lie.
  """

  directory: str
  runs: int
  sizes: SetSizes
  margin: MarginKind | None
  subset_ratio: float
  origin: str


class _Sides(NamedTuple):
  """Margins of a run, or the signs that stand for them, float64."""

  train: np.ndarray
  test: np.ndarray


def write_layout(layout: str, exported: Exported, outcomes: Iterable[RunOutcome]) -> list[str]:
  """Writes outcomes; returns what the layout has no place for, as sentences.

  Where there are margins, correctness is written beside them, because its bits do not follow from
  margins by logsumexp. A note, `heldout.json`, says which margins those are.

  Args:
    layout: one of `WRITTEN_LAYOUTS`.
    exported: what is written.
    outcomes: the runs, in order.

  Raises:
    UsageError: the layout needs what is not recorded.
    OSError: a file cannot be written.
  """
  sizes = exported.sizes
  lacking = None
  if layout == "lira" and not sizes.train_recorded:
    lacking = "training"
  elif layout in ("trak", "dattri") and not sizes.num_test:
    lacking = "test"
  if lacking:
    raise UsageError(
      f"{exported.origin} records no outcomes on {lacking} examples, of which {layout} is made"
    )
  _WRITERS[layout](exported, outcomes)
  write_note(exported.directory, layout, exported.margin, exported.subset_ratio, exported.origin)
  return list(_left_out(layout, exported))


def _left_out(layout: str, exported: Exported) -> Iterator[str]:
  if layout == "lira" and exported.sizes.num_test:
    yield "LiRA has no place for test outcomes: they are left out"
  if exported.margin is None:
    yield "not all runs record margins: +1 stands for right, -1 for wrong"
  elif exported.margin != {"datamodels": "max"}.get(layout, "logsumexp"):
    yield f"margins are by {exported.margin}, which are not those that {layout} is known for"


def _write_lira(exported: Exported, outcomes: Iterable[RunOutcome]) -> None:
  for outcome in outcomes:
    name = f"experiment-{outcome.key.run}_{exported.runs}"
    directory = files.join(exported.directory, name)
    in_subset, correct, _ = outcome.unpack()
    files.write_json(files.join(directory, "hparams.json"), {"run": outcome.key.run})
    _write_npy(files.join(directory, "keep.npy"), in_subset)
    if exported.margin:
      _write_npy(files.join(directory, "correct.npy"), correct)
    scores = _sides(exported, outcome).train[:, None]
    _write_npy(files.join(directory, "scores", f"{0:010d}.npy"), scores)


def _write_datamodels(exported: Exported, outcomes: Iterable[RunOutcome]) -> None:
  with _matrices(exported, "masks", "train_margins", "margins", np.dtype(np.float16)) as write:
    for outcome in outcomes:
      write(outcome)
  path = files.join(exported.directory, "_completed.npy")  # last, as in a store that is filled
  _write_npy(path, np.ones(exported.runs, bool))


def _write_trak(exported: Exported, outcomes: Iterable[RunOutcome]) -> None:
  with _matrices(exported, "mask", "train_margins", "val_margins", np.dtype(np.float32)) as write:
    for outcome in outcomes:
      write(outcome)


def _write_dattri(exported: Exported, outcomes: Iterable[RunOutcome]) -> None:
  """Writes indices, and minus the loss: the log-probability of the label."""
  first_size: int | None = None
  with contextlib.ExitStack() as stack:
    targets = _open(stack, exported, "target_values", np.dtype(np.float64), exported.sizes.num_test)
    bits = _open_bits(stack, exported)
    indices: Callable[[np.ndarray], None] | None = None
    for outcome in outcomes:
      index = np.flatnonzero(outcome.unpack()[0])
      if indices is None:
        first_size = len(index)
        indices = _open(stack, exported, "indices", np.dtype(np.int64), first_size)
      if len(index) != first_size:
        raise UsageError(
          f"{exported.origin}: run {outcome.key.run} saw {len(index):,} training examples and the "
          f"first {first_size:,}, and dattri needs subsets of one size: choose another layout"
        )
      indices(index)
      targets(-np.logaddexp(0, -_sides(exported, outcome).test))
      bits(outcome)


@contextlib.contextmanager
def _matrices(
  exported: Exported, masks: str, train_margins: str, test_margins: str, dtype: np.dtype
) -> Iterator[Callable[[RunOutcome], None]]:
  sizes = exported.sizes
  with contextlib.ExitStack() as stack:
    of_masks = _open(stack, exported, masks, np.dtype(bool), sizes.num_train)
    of_train = of_test = None
    if sizes.train_recorded:
      of_train = _open(stack, exported, train_margins, dtype, sizes.num_train)
    if sizes.num_test:
      of_test = _open(stack, exported, test_margins, dtype, sizes.num_test)
    bits = _open_bits(stack, exported)

    def write(outcome: RunOutcome) -> None:
      sides = _sides(exported, outcome)
      of_masks(outcome.unpack()[0])
      if of_train:
        of_train(_fit(sides.train, dtype))
      if of_test:
        of_test(_fit(sides.test, dtype))
      bits(outcome)

    yield write


def _open_bits(stack: contextlib.ExitStack, exported: Exported) -> Callable[[RunOutcome], None]:
  """Opens files for correctness, where margins do not imply it."""
  sizes = exported.sizes
  of_train = of_test = None
  if exported.margin and sizes.train_recorded:
    of_train = _open(stack, exported, "correct", np.dtype(bool), sizes.num_train)
  if exported.margin and sizes.num_test:
    of_test = _open(stack, exported, "test_correct", np.dtype(bool), sizes.num_test)

  def write(outcome: RunOutcome) -> None:
    _, train, test = outcome.unpack()
    if of_train:
      of_train(train)
    if of_test:
      of_test(test)

  return write


def _open(
  stack: contextlib.ExitStack, exported: Exported, name: str, dtype: np.dtype, columns: int
) -> Callable[[np.ndarray], None]:
  path = files.join(exported.directory, f"{name}.npy")
  return stack.enter_context(create_rows(path, dtype, (exported.runs, columns)))


def _sides(exported: Exported, outcome: RunOutcome) -> _Sides:
  if exported.margin and outcome.margins:
    return _Sides(*(side.astype(np.float64) for side in outcome.margins))
  _, *bits = outcome.unpack()
  return _Sides(*(np.where(side, 1.0, -1.0) for side in bits))


def _fit(margins: np.ndarray, dtype: np.dtype) -> np.ndarray:
  """Returns margins that a dtype can hold: none becomes infinite, and none loses its sign."""
  if dtype != np.float16:
    return margins
  bounded = np.clip(margins, -_LARGEST_FLOAT16, _LARGEST_FLOAT16)
  lost = (bounded.astype(np.float16) == 0) & (bounded != 0)
  return np.where(lost, np.copysign(_SMALLEST_FLOAT16, bounded), bounded)


def _write_npy(path: str, values: np.ndarray) -> None:
  buffer = io.BytesIO()
  np.save(buffer, values, allow_pickle=False)
  files.write_bytes(path, buffer.getvalue())


_WRITERS = {
  "lira": _write_lira,
  "datamodels": _write_datamodels,
  "trak": _write_trak,
  "dattri": _write_dattri,
}
