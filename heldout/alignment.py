"""Scores in the order of any data set: where the images are, not where they were."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from beam_pipelines.storage.scores.alignment import MATCHES, Places, find_places, indexed_split
from files.errors import UsageError
from heldout.scores import Scores
from image_datasets.given import GivenExamples, given_examples

Split = Literal["train", "test"]
Match = Literal["index", "id", "pixels"]

# Tables of one row per example, at one subset ratio or over all of them, and what is read of them.
_TABLES: dict[Split, dict[str, tuple[str, ...]]] = {
  "train": {
    "examples": (
      *("runs_in", "runs_out", "correct_in", "correct_out"),
      *("memorization", "memorization_se", "consistency"),
    ),
    "cscores": ("cscore", "cscore_se"),
    "train_influence": ("pairs", "largest_influence"),
  },
  "test": {"test_influence": ("pairs", "largest_influence")},
}


@dataclasses.dataclass(frozen=True, eq=False)
class Aligned:
  """Scores by example, in the order of a data set.

  Attributes:
    columns: arrays [n] by name. Those of the tables `examples`, `cscores` and `train_influence` for
      training examples, of `test_influence` for test examples; NaN where undefined.
    examples: int64 [n], the scored example that each one is, which other tables go by; −1 for none.
    ambiguous: groups of examples, by their places in the data set, that are the same image with the
      same label, and of which other copies have been scored: which score is whose cannot be told,
      and the first gets the first.
    matched_by: `id`, `pixels` or `index`.
  """

  columns: Mapping[str, np.ndarray]
  examples: np.ndarray
  ambiguous: tuple[tuple[int, ...], ...]
  matched_by: str

  def __len__(self) -> int:
    return len(self.examples)

  def __repr__(self) -> str:
    columns = ", ".join(self.columns)
    return f"<Aligned {len(self):,} examples, matched by {self.matched_by}: {columns}>"

  def __getitem__(self, column: str) -> np.ndarray:
    """Returns a column.

    Raises:
      KeyError: there is none of this name; the message lists them.
    """
    if column not in self.columns:
      raise KeyError(f"there is no column {column!r}: choose one of {', '.join(self.columns)}")
    return self.columns[column]

  def easy_first(self, by: str = "cscore") -> np.ndarray:
    """Returns the places of all examples, the most regular first: those of high C-score.

    Equal scores keep the order of the data set; undefined ones come last.

    Args:
      by: a column of which high values are easy, such as `cscore` or `consistency`.

    Returns:
      int64 [n], to index the data set with.
    """
    return np.argsort(-self[by], kind="stable")  # NaN is sorted last

  def top(self, k: int, by: str = "memorization") -> np.ndarray:
    """Returns the places of the `k` examples with the highest scores, the highest first.

    Undefined scores are left out; equal ones keep the order of the data set.
    """
    order = np.argsort(-self[by], kind="stable")
    return order[: min(k, np.count_nonzero(~np.isnan(self[by])))]

  def bands(
    self, edges: Sequence[float] = (0.25, 0.5, 0.75), by: str = "cscore"
  ) -> list[np.ndarray]:
    """Returns the places of the examples in each band of a score, the lowest band first.

    Undefined scores are in no band.

    Args:
      edges: ascending; n of them make n + 1 bands. A score at an edge is in the band above.
      by: a column.
    """
    scores = self[by]
    band = np.searchsorted(np.asarray(edges), scores, side="right")
    return [
      np.flatnonzero((band == number) & ~np.isnan(scores)) for number in range(len(edges) + 1)
    ]


def align(
  scores: Scores,
  dataset: Any,
  *,
  labels: Sequence[int] | np.ndarray | None = None,
  split: Split = "train",
  subset_ratio: float | None = None,
  match: Match | None = None,
  missing: Literal["error", "nan"] = "error",
) -> Aligned:
  """Returns the scores of one split's examples in the order of any data set.

  Example:
    >>> import heldout
    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits()  # of which 1,437 images were trained on, in no known order
    >>> aligned = heldout.align(
    ...   heldout.read_scores("scores"),
    ...   (digits.images.astype("uint8"), digits.target),
    ...   missing="nan",
    ... )
    >>> len(aligned), aligned.matched_by, int(np.sum(aligned.examples >= 0))
    (1797, 'pixels', 1437)
    >>> hard = digits.images[aligned.easy_first()[1437 - 9 : 1437]]  # the nine least regular ones
    >>> [len(places) for places in aligned.bands([0.5])]
    [..., ...]

  Args:
    scores: made with a data set, so that there is an index.
    dataset: one of ours or its spec; images, uint8 [n, height, width(, channels)], alone or in a
      tuple with labels [n]; a sequence of (image, label), as torchvision's are without transforms;
      of dicts, as Hugging Face's are; or of file names.
    labels: integers [n], if the data set has none itself.
    split: whose scores.
    subset_ratio: of the scores that are of one; by default the main one.
    match: by what: by default by ids where both have some in common, otherwise by pixels. `id` also
      takes ids such as TFDS's `train_16399` for places in a data set that has no ids.
    missing: whether an example that was not scored is an error, or has undefined scores.

  Raises:
    UsageError: the examples cannot be matched, labels disagree, or examples are missing.
    DatasetError: `dataset` is none.
  """
  if match not in (None, *MATCHES):
    raise UsageError(f"match={match!r}: choose one of {', '.join(MATCHES)}")
  given = given_examples(dataset, split, labels)
  others = indexed_split(scores.table("index"), split)
  if others is None:
    raise UsageError(
      f"{scores.path} has no index of its {split} examples: score again with the data set"
    )
  places = find_places(given, others, split=split, match=match, what=(given.name, scores.path))
  _check_missing(scores, given, places, missing)
  ratio = scores.main_ratio if subset_ratio is None else subset_ratio
  columns: dict[str, np.ndarray] = {}
  for name, wanted in _TABLES[split].items():
    table = scores.table(name)  # type: ignore[arg-type]
    if "subset_ratio" in table.column_names:
      table = scores.table(name, ratio)  # type: ignore[arg-type]
    columns |= _in_order(table, wanted, places)
  return Aligned(columns, places.examples, _alike(places), places.matched_by)


def _check_missing(scores: Scores, given: GivenExamples, places: Places, missing: str) -> None:
  lost = np.flatnonzero(places.examples < 0)
  if len(lost) and missing == "error":
    raise UsageError(
      f"{len(lost):,} of {len(given):,} examples of {given.name} are not among those of "
      f"{scores.path}, matched by {places.matched_by}; the first: {lost[0]}; missing='nan' leaves "
      "their scores undefined"
    )


def _in_order(table: pa.Table, wanted: Sequence[str], places: Places) -> dict[str, np.ndarray]:
  """Returns columns by place; numbers become float64 where there is no row for a place."""
  row_of = np.full(1 + max(places.examples.max(initial=-1), _last(table)), -1)
  row_of[table["example"].to_numpy()] = np.arange(len(table))
  rows = np.where(places.examples >= 0, row_of[places.examples], -1)
  complete = bool((rows >= 0).all())
  columns = {}
  for name in wanted:
    values = table[name].to_numpy()
    if complete:
      columns[name] = values[rows]
    else:
      columns[name] = np.append(values.astype(np.float64), np.nan)[rows]
  return columns


def _last(table: pa.Table) -> int:
  return int(table["example"].to_numpy().max(initial=-1))


def _alike(places: Places) -> tuple[tuple[int, ...], ...]:
  """Returns the ambiguous examples, those that are alike together."""
  where = np.flatnonzero(places.groups >= 0)
  if not len(where):
    return ()
  order = where[np.argsort(places.groups[where], kind="stable")]
  starts = np.flatnonzero(np.diff(places.groups[order])) + 1
  return tuple(sorted(tuple(alike.tolist()) for alike in np.split(order, starts)))
