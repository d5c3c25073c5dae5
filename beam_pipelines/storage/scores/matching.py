"""Two scores under the same indices: those that the same examples have in the first of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import files
from beam_pipelines.storage.scores.alignment import (
  ID,
  INDEX,
  PIXELS,
  IndexedExamples,
  KnownExamples,
  find_places,
  indexed_split,
)
from beam_pipelines.storage.scores.columns import CSCORE, INFLUENCE, MEMORIZATION
from beam_pipelines.storage.scores.directory import read_table
from beam_pipelines.storage.scores.example_names import original_numbers
from beam_pipelines.storage.scores.index import SPLITS
from beam_pipelines.storage.scores.manifest import MANIFEST
from beam_pipelines.storage.scores.published import Kinds, PublishedScores
from estimators.agreement import DenseScores, IndexedScores
from estimators.outcome_kinds import CORRECT
from files.errors import UsageError


class Side(NamedTuple):
  """One of two scores that are compared.

  Attributes:
    name: A or B.
    path: a scores directory or a published file.
    subset_ratio: of a scores directory.
    found: the scores.
    outcome: the kind of outcome that was scored; what is published is of bits.
  """

  name: str
  path: str
  subset_ratio: float | None
  found: PublishedScores
  outcome: str = CORRECT.name

  @property
  def kinds(self) -> Kinds:
    """Scores by kind."""
    return self.found.kinds

  @property
  def training_examples(self) -> int | None:
    """How many there are; None if the scores are of a selection of them."""
    for kind in (CSCORE, MEMORIZATION):
      scores = self.kinds.get(kind)
      if isinstance(scores, IndexedScores) and scores.index.max(initial=-1) == len(scores) - 1:
        return len(scores)
    return None


@dataclasses.dataclass(frozen=True, eq=False)
class _NamedExamples:
  """What a published file says of the examples of a split."""

  size: int
  ids: np.ndarray | None = None
  labels: None = None
  pixel_hashes: None = None

  def __len__(self) -> int:
    return self.size


def follow(a: Side, b: Side, match: str | None, notes: list[str]) -> Side:
  """Returns B under the indices that the same examples have in A, as far as A has them.

  Args:
    a: stays as it is.
    b: is changed.
    match: one of `MATCHES`; None for file names where published files have them, else the index.
    notes: how the examples were matched is added to it.

  Raises:
    UsageError: they cannot be matched in this way, or are in another order.
  """
  if match in (ID, PIXELS):
    return _found_anew(a, b, match, notes)
  names = (a.found.train_names, b.found.train_names)
  if match is None and names[0] is not None and names[1] is not None:
    return _found_anew(a, b, ID, notes)
  if match is None and any(of_side is not None for of_side in names):
    named, other = (a, b) if names[1] is None else (b, a)
    notes.append(f"{named.name} has file names, {other.name} has none: matched by index")
  if match is None:
    _check_order(a, b)
  sizes = (a.training_examples, b.training_examples)
  if None not in sizes and sizes[0] != sizes[1]:
    notes.append(
      f"A has {sizes[0]:,} training examples, B has {sizes[1]:,}: they may be of different data"
    )
  return b


def _found_anew(a: Side, b: Side, match: str, notes: list[str]) -> Side:
  known = [_known_examples(side) for side in (a, b)]
  what = [f"{side.name} ({side.path})" for side in (b, a)]
  train = find_places(known[1][0], known[0][0], split="train", match=match, what=what)
  test = None
  if INFLUENCE in a.kinds and INFLUENCE in b.kinds and _are_known(match, known[0][1], known[1][1]):
    test = find_places(known[1][1], known[0][1], split="test", match=match, what=what)
  lost = np.count_nonzero(train.examples < 0)
  by = "file name" if a.found.train_names is not None else match
  notes.append(f"matched by {by}; indices are those of A")
  if lost:
    notes.append(f"{lost:,} of {len(train.examples):,} training examples of B are not in A")
  alike = np.count_nonzero(train.groups >= 0)
  if alike:
    notes.append(
      f"{alike:,} training examples are copies of others in image and label: which is which cannot "
      "be told, and the first was taken for the first"
    )
  kinds = {
    kind: _reindexed(scores, train.examples, None if test is None else test.examples, b.path)
    for kind, scores in b.kinds.items()
  }
  return b._replace(found=dataclasses.replace(b.found, kinds=kinds))


def _are_known(match: str, *sides: KnownExamples) -> bool:
  """Whether test examples can be matched; without names of theirs, they keep their indices."""
  return match == PIXELS or any(side.ids is not None for side in sides)


def _reindexed(
  scores: IndexedScores | DenseScores, train: np.ndarray, test: np.ndarray | None, path: str
) -> IndexedScores | DenseScores:
  if isinstance(scores, IndexedScores):
    if scores.index.shape[1] == 1:
      return scores.reindexed(train)
    same = np.arange(1 + scores.index[:, 1].max(initial=-1))
    return scores.reindexed(train, same if test is None else test)
  columns = np.arange(scores.matrix.shape[1]) if test is None else test
  if any((np.sort(of) != np.arange(len(of))).any() for of in (train, columns)):
    raise UsageError(
      f"{path} holds the influence of all pairs, of other examples: give selected pairs"
    )
  return DenseScores(scores.matrix[np.ix_(np.argsort(train), np.argsort(columns))])


def _known_examples(side: Side) -> tuple[KnownExamples, KnownExamples]:
  """Returns what is known of the training and the test examples of a side."""
  indexed = _index_of(side)
  names = (side.found.train_names, side.found.test_names)
  named = [
    _NamedExamples(_size(side, column) if of_split is None else len(of_split), of_split)
    for column, of_split in enumerate(names)
  ]
  train, test = (
    named[column] if indexed[column] is None else indexed[column] for column in range(len(SPLITS))
  )
  assert train is not None
  assert test is not None
  return train, test


def _index_of(side: Side) -> Sequence[IndexedExamples | None]:
  if not files.exists(files.join(side.path, MANIFEST)):
    return [None] * len(SPLITS)
  index = read_table(side.path, "index")
  return [indexed_split(index, split) for split in SPLITS]


def _size(side: Side, column: int) -> int:
  """Returns one more than the largest index of a training or test example."""
  sizes = [0]
  for scores in side.kinds.values():
    if isinstance(scores, DenseScores):
      sizes.append(scores.matrix.shape[column])
    elif column < scores.index.shape[1]:
      sizes.append(1 + int(scores.index[:, column].max(initial=-1)))
  return max(sizes)


def _check_order(a: Side, b: Side) -> None:
  """Makes sure that examples of the same index have the same pixels, where both are known."""
  for split, *sides in zip(SPLITS, _index_of(a), _index_of(b), strict=True):
    for side, known, other in ((a, sides[0], sides[1]), (b, sides[1], sides[0])):
      if known is not None and other is None and known.ids is not None:
        _check_numbers(side, original_numbers(known.ids, split), split)
    hashes = [side.pixel_hashes for side in sides if side and side.pixel_hashes is not None]
    if len(hashes) < len(sides) or len(hashes[0]) != len(hashes[1]):
      continue
    differing = np.flatnonzero(hashes[0] != hashes[1])
    if len(differing):
      word = "training" if split == "train" else split
      raise UsageError(
        f"{word} example {differing[0]} is another image in A than in B, as are {len(differing):,} "
        f"of {len(hashes[0]):,}: match them by {PIXELS}, or by {INDEX} if this is meant"
      )


def _check_numbers(side: Side, numbers: np.ndarray | None, split: str) -> None:
  """Makes sure that numbered ids, if there are, are the indices: other scores go by those."""
  if numbers is None:
    return
  moved = np.flatnonzero(numbers != np.arange(len(numbers)))
  if len(moved):
    raise UsageError(
      f"{side.name} is in another order than the original files: its {split} example {moved[0]} "
      f"has the id {split}_{numbers[moved[0]]}: match by {ID}, or by {INDEX} if this is meant"
    )
