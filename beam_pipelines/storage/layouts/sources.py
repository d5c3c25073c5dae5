"""Which files of a layout are which: from what is asked for to outcomes that can be read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Literal, cast

import numpy as np

import files
from beam_pipelines.storage.layouts.array_rows import ArrayRows, Matrices
from beam_pipelines.storage.layouts.foreign_rows import ForeignRows
from beam_pipelines.storage.layouts.lira import LiraRows
from beam_pipelines.storage.layouts.matrices import HeldMatrix, Matrix, find_array, open_matrix
from beam_pipelines.storage.layouts.notes import SIGNS, noted_margin
from beam_pipelines.storage.runs.packs import MarginKind
from files.errors import UsageError

LAYOUTS = ("arrays", "lira", "datamodels", "dattri", "trak")

Target = Literal["minus_loss", "loss", "margin"]
"""What dattri's target values are: minus the loss on a test example, as it stores them, or else."""

_SIGNS: dict[Target, int] = {"minus_loss": 1, "loss": -1, "margin": 0}
_RELEASED = re.compile(r"train_masks_(?P<percent>\d{1,2}(?:\.\d+)?)pct\.npy", re.ASCII)
_INDEX_FILE = re.compile(r"(\d{1,9})/indices\.txt", re.ASCII)
_OUTCOMES = {
  "train_correct": "correct",
  "test_correct": "test_correct",
  "train_margin": "margins",
  "test_margin": "test_margins",
}


# Files that no other layout has where its source is.
_MARKS = {
  "lira": re.compile(r"[^/]+/keep\.npy"),
  "datamodels": re.compile(rf"masks\.npy|{_RELEASED.pattern}", re.ASCII),
  "dattri": re.compile(r"target_values\.\w+"),
  "trak": re.compile(r"mask\.npy"),
}


@dataclasses.dataclass(frozen=True)
class Source:
  """Outcomes in a foreign layout, and what was said of them.

  Attributes:
    layout: one of `LAYOUTS`.
    directory: where it lies; None for `arrays`.
    paths: of `arrays`: `masks`, `correct`, `test_correct`, `margins`, `test_margins`, as given.
    margin: kind of the margins; None for what the layout is known for.
    runs_first: whether rows are runs, where a matrix is square.
    num_train: training examples, of dattri's indices.
    labels: of LiRA's logits.
    target: what dattri's target values are.
    subset_ratio: chooses among the released datamodels.
  """

  layout: str
  directory: str | None = None
  paths: Mapping[str, str] = dataclasses.field(default_factory=dict)
  margin: MarginKind | None = None
  runs_first: bool = False
  num_train: int | None = None
  labels: str | None = None
  target: Target = "minus_loss"
  subset_ratio: float | None = None

  def open(self) -> ForeignRows:
    """Opens the files.

    Raises:
      UsageError: something is missing, damaged or of another shape, or it is not clear what is
        meant.
      OSError: something cannot be read.
    """
    if self.layout != "arrays":
      _check_one_layout(self._directory, self.layout)
    if self.layout == "lira":
      return LiraRows(self._directory, self.labels)
    matrices = {
      "arrays": self._arrays,
      "datamodels": self._datamodels,
      "dattri": self._dattri,
      "trak": self._trak,
    }[self.layout]()
    return ArrayRows(matrices, runs_first=self.runs_first)

  @property
  def _directory(self) -> str:
    assert self.directory is not None
    return self.directory

  def _arrays(self) -> Matrices:
    opened = {name: open_matrix(path, name) for name, path in self.paths.items()}
    outcomes = {name: opened[flag] for name, flag in _OUTCOMES.items() if flag in opened}
    matrices = Matrices("arrays", opened["masks"], margin=self.margin)
    return dataclasses.replace(matrices, **outcomes)  # type: ignore[arg-type]

  def _datamodels(self) -> Matrices:
    found = _Directory.list(self._directory)
    completed, given_ratio = found.find("_completed"), None
    percents = [match["percent"] for name in found.names if (match := _RELEASED.fullmatch(name))]
    if "masks.npy" in found.names:
      masks, margins, train_margins = "masks", "margins", "train_margins"
    elif percents:
      percent = self._choose_percent(percents)
      given_ratio = float(percent) / 100
      masks = f"train_masks_{percent}pct"
      margins, train_margins = f"test_margins_{percent}pct", f"train_margins_{percent}pct"
    else:
      raise found.lacks("masks")
    return self._with_outcomes(
      found, masks, margins, train_margins, "max", completed=completed, given_ratio=given_ratio
    )

  def _choose_percent(self, percents: list[str]) -> str:
    if self.subset_ratio is None and len(percents) == 1:
      return percents[0]
    wanted = 100 * (self.subset_ratio or 0)
    for percent in percents:
      if abs(float(percent) - wanted) < 1e-6:
        return percent
    ratios = ", ".join(f"{float(percent) / 100:g}" for percent in sorted(percents, key=float))
    raise UsageError(f"{self.directory} holds subset ratios {ratios}: choose one of them")

  def _trak(self) -> Matrices:
    found = _Directory.list(self._directory)
    return self._with_outcomes(found, "mask", "val_margins", "train_margins", "logsumexp")

  def _dattri(self) -> Matrices:
    found = _Directory.list(self._directory)
    if self.num_train is None:
      raise UsageError(
        f"{self.directory} holds indices, which do not tell how many training examples there are: "
        "say how many"
      )
    indices = found.find("indices") or found.read_index_files()
    targets = found.find("target_values")
    if indices is None or targets is None:
      raise found.lacks("indices" if indices is None else "target_values")
    return Matrices(
      "dattri",
      indices,
      test_margin=targets,
      test_correct=found.find("test_correct"),
      train_correct=found.find("correct"),
      margin=found.margin(self.margin, "logsumexp"),
      log_probabilities=_SIGNS[self.target],
      num_train=self.num_train,
    )

  def _with_outcomes(
    self,
    found: _Directory,
    masks: str,
    test_margins: str,
    train_margins: str,
    margin: MarginKind,
    completed: Matrix | None = None,
    given_ratio: float | None = None,
  ) -> Matrices:
    membership, of_test, of_train = map(found.find, (masks, test_margins, train_margins))
    if membership is None or (of_test is None and of_train is None):
      raise found.lacks(masks if membership is None else test_margins)
    return Matrices(
      self.layout,
      membership,
      train_correct=found.find("correct"),
      test_correct=found.find("test_correct"),
      train_margin=of_train,
      test_margin=of_test,
      completed=completed,
      margin=found.margin(self.margin, margin),
      given_ratio=given_ratio,
    )


@dataclasses.dataclass(frozen=True)
class _Directory:
  path: str
  names: list[str]

  @classmethod
  def list(cls, path: str) -> _Directory:
    return cls(path, [info.name for info in files.list_files(path)])

  def find(self, stem: str) -> Matrix | None:
    path = find_array(self.path, self.names, stem)
    return open_matrix(path, stem) if path else None

  def read_index_files(self) -> Matrix | None:
    """Returns the indices in dattri's `<subset>/indices.txt`, by number; None without any."""
    numbers = sorted(int(match[1]) for name in self.names if (match := _INDEX_FILE.fullmatch(name)))
    paths = [files.join(self.path, str(number), "indices.txt") for number in numbers]
    subsets = [_parse_indices(path, content) for path, content in files.read_many(paths)]
    sizes = sorted({len(subset) for subset in subsets})
    if len(sizes) > 1:
      raise UsageError(
        f"{self.path} has subsets of {sizes[0]:,} to {sizes[-1]:,} examples: dattri needs one size"
      )
    return (
      HeldMatrix(files.join(self.path, "*/indices.txt"), np.stack(subsets)) if subsets else None
    )

  def margin(self, asked: MarginKind | None, usual: MarginKind) -> MarginKind | None:
    """Returns what the margins are: as asked for, noted by whoever wrote them, or usual."""
    noted = noted_margin(self.path, self.names)
    if noted == SIGNS and asked is None:
      return None
    return asked or cast("MarginKind | None", noted) or usual

  def lacks(self, stem: str) -> UsageError:
    there = ", ".join(sorted(self.names)[:5]) or "nothing"
    more = ", …" if len(self.names) > 5 else ""
    return UsageError(f"{self.path} holds no {stem}.npy: there is {there}{more}")


def _check_one_layout(directory: str, layout: str) -> None:
  """Makes sure that outcomes of another layout are not passed over.

  Raises:
    UsageError: there are such beside those of the layout.
  """
  names = [info.name for info in files.list_files(directory)]
  there = [mark for mark, file in _MARKS.items() if any(map(file.fullmatch, names))]
  others = [other for other in there if other != layout]
  if layout in there and others:
    raise UsageError(
      f"{directory} holds outcomes of {layout} and of {', '.join(others)}: give each a directory "
      "of its own"
    )


def _parse_indices(path: str, content: bytes | OSError) -> np.ndarray:
  if isinstance(content, OSError):
    raise content
  words = content.decode(errors="replace").replace(",", " ").split()
  if not words or not all(re.fullmatch(r"\d{1,18}", word, re.ASCII) for word in words):
    raise UsageError(f"{path} holds something else than indices, or nothing")
  return np.array(words, np.int64)
