"""Which scored example each example of any data set is, found by id or by pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipelines.storage.scores.example_names import original_numbers, plain_names
from beam_pipelines.storage.scores.index import SPLITS, IndexedDataset
from files.errors import UsageError

INDEX, ID, PIXELS = MATCHES = ("index", "id", "pixels")
"""By what examples are matched; the names are those of the flag."""


class KnownExamples(Protocol):
  """What is known of the examples of one split, in some order."""

  @property
  def labels(self) -> np.ndarray | None:
    """Integers `[n]`."""

  @property
  def ids(self) -> np.ndarray | None:
    """Str `[n]`, all different."""

  @property
  def pixel_hashes(self) -> np.ndarray | None:
    """ASCII `[n]`."""

  def __len__(self) -> int: ...


class IndexedExamples(NamedTuple):
  """One split of a table `index`, by example."""

  labels: np.ndarray
  ids: np.ndarray | None
  pixel_hashes: np.ndarray | None

  def __len__(self) -> int:
    return len(self.labels)


@dataclasses.dataclass(frozen=True, eq=False)
class Places:
  """Where the examples of a data set are among others.

  Attributes:
    examples: int64 [n], which of the others each is; −1 for none.
    groups: int64 [n], −1 where that is certain. Otherwise several of the others are alike, in label
      too: which of them an example is cannot be told, and the first is taken for the first, the
      second for the second. Examples that are alike have the same number.
    matched_by: one of `MATCHES`.
  """

  examples: np.ndarray
  groups: np.ndarray
  matched_by: str


def indexed_split(index: pa.Table, split: str) -> IndexedExamples | None:
  """Returns one split of a table `index`; None if the table has none of it."""
  rows = index.filter(pc.field("split") == split).sort_by("example")
  if not len(rows):
    return None
  ids, pixels = (
    None if rows[name].null_count else np.array(rows[name].to_pylist(), dtype=kind)
    for name, kind in (("id", str), ("pixels", np.bytes_))
  )
  return IndexedExamples(rows["label"].to_numpy(), ids, pixels)


class Order(NamedTuple):
  """The places of all scored examples in another data set of the same ones.

  Attributes:
    train: int64 [training examples], by index; all different.
    test: int64 [test examples].
  """

  train: np.ndarray
  test: np.ndarray


def find_order(directory: str, index: pa.Table, dataset: IndexedDataset) -> Order:
  """Returns where the examples of an index are in a data set of the same ones.

  Args:
    directory: the scores directory, for messages.
    index: its table `index`.
    dataset: in which they are looked for.

  Raises:
    UsageError: there is no index, or either has examples that the other lacks.
  """
  places = []
  for split, of_split in zip(SPLITS, (dataset.train, dataset.test), strict=True):
    known = indexed_split(index, split)
    if known is None:
      raise UsageError(
        f"{directory} has no index of its {split} examples: score again with the data set"
      )
    found = find_places(
      known, of_split, split=split, match=None, what=(directory, dataset.spec)
    ).examples
    lost = np.flatnonzero(found < 0)
    if len(lost) or len(np.unique(found)) < len(of_split.labels):
      what = f"its {split} example {lost[0]} is not there" if len(lost) else "it has others, too"
      raise UsageError(
        f"{directory} cannot be put into the order of {dataset.spec}: {len(lost):,} of "
        f"{len(found):,} examples are not in it, {what}: give the same images in another order"
      )
    places.append(found)
  return Order(*places)


def find_places(
  given: KnownExamples, others: KnownExamples, *, split: str, match: str | None, what: Sequence[str]
) -> Places:
  """Finds each given example among others.

  Args:
    given: the examples to find.
    others: where to look for them.
    split: `train` or `test`, whose numbered ids are `train_…` or `test_…`.
    match: one of `MATCHES`; None for ids where both have some in common, else for pixels. By `id`,
      numbered ids are compared with the places in a data set without ids.
    what: what to call given examples and others in messages.

  Raises:
    UsageError: neither ids nor pixels of both are known, or an example has another label there.
  """
  if match == INDEX:
    places = _by_index(given, others)
  else:
    keys = None if match == PIXELS else _id_keys(given, others, split, guess=match == ID)
    by, keys = (ID, keys) if keys else (PIXELS, _pixel_keys(given, others))
    if keys is None or (match == ID and by == PIXELS):
      wanted = {ID: "ids", PIXELS: "pixels"}.get(match or "", "ids or pixels")
      raise UsageError(
        f"{what[0]} and {what[1]} cannot be matched by {wanted}, which must be known of both: "
        "score with the data set, or match by index if the order is the same"
      )
    places = _match(*keys, given.labels, others.labels, by)
  _check_labels(places, given, others, split, what)
  return places


def _by_index(given: KnownExamples, others: KnownExamples) -> Places:
  examples = np.arange(len(given))
  examples[len(others) :] = -1
  return Places(examples, np.full(len(given), -1), INDEX)


def _id_keys(
  given: KnownExamples, others: KnownExamples, split: str, *, guess: bool
) -> tuple[np.ndarray, np.ndarray] | None:
  """Returns comparable ids of both; None if there are none, or none in common."""
  if given.ids is not None and others.ids is not None:
    keys = plain_names(given.ids.tolist()), plain_names(others.ids.tolist())
    return keys if np.isin(keys[0], keys[1]).any() else None
  if not guess or (given.ids is None and others.ids is None):
    return None
  found = [
    np.arange(len(side)) if side.ids is None else original_numbers(side.ids, split)
    for side in (given, others)
  ]
  return None if found[0] is None or found[1] is None else (found[0], found[1])


def _pixel_keys(
  given: KnownExamples, others: KnownExamples
) -> tuple[np.ndarray, np.ndarray] | None:
  if others.pixel_hashes is None or given.pixel_hashes is None:
    return None
  return given.pixel_hashes, others.pixel_hashes


def _match(
  given: np.ndarray,
  others: np.ndarray,
  given_labels: np.ndarray | None,
  other_labels: np.ndarray | None,
  by: str,
) -> Places:
  """Matches equal keys; of several, those of the same label, and then the first to the first."""
  codes = np.unique(np.concatenate([given, others]), return_inverse=True)[1]
  given_codes, other_codes = codes[: len(given)], codes[len(given) :]
  places = _match_codes(given_codes, other_codes, by)
  if given_labels is None or other_labels is None or (places.groups < 0).all():
    return places
  # Twins may differ in label, as where annotators disagreed.
  labels = np.unique(np.concatenate([given_labels, other_labels]), return_inverse=True)[1]
  width = 1 + labels.max()
  labeled = _match_codes(
    given_codes * width + labels[: len(given)], other_codes * width + labels[len(given) :], by
  )
  found = labeled.examples >= 0
  return Places(
    np.where(found, labeled.examples, places.examples),
    np.where(found, labeled.groups, places.groups),
    by,
  )


def _match_codes(given: np.ndarray, others: np.ndarray, by: str) -> Places:
  order = np.argsort(others, kind="stable")
  ordered = others[order]
  start = np.searchsorted(ordered, given)
  count = np.searchsorted(ordered, given, side="right") - start
  chosen = start + np.minimum(_occurrence(given), count - 1)
  found = count > 0
  examples = np.full(len(given), -1)
  examples[found] = order[chosen[found]]
  return Places(examples, np.where(count > 1, given, -1), by)


def _occurrence(codes: np.ndarray) -> np.ndarray:
  """Returns how many equal ones come before each."""
  order = np.argsort(codes, kind="stable")
  ordered = codes[order]
  before = np.empty(len(codes), np.int64)
  before[order] = np.arange(len(codes)) - np.searchsorted(ordered, ordered)
  return before


def _check_labels(
  places: Places, given: KnownExamples, others: KnownExamples, split: str, what: Sequence[str]
) -> None:
  if given.labels is None or others.labels is None:
    return
  found = np.flatnonzero(places.examples >= 0)
  there = others.labels[places.examples[found]]
  differing = np.flatnonzero(given.labels[found] != there)
  if len(differing):
    first = found[differing[0]]
    word = "training" if split == "train" else split
    raise UsageError(
      f"labels disagree: {word} example {first} of {what[0]} is of class {given.labels[first]}, "
      f"and of class {there[differing[0]]} in {what[1]}, where it is example "
      f"{places.examples[first]}; {len(differing):,} of {len(found):,} differ: compare the numbers "
      "of the classes, and the order"
    )
