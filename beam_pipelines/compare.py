"""`heldout compare`: says how far scores agree with published ones, or with other scores."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

import files
from beam_pipelines.launch import arguments, command
from beam_pipelines.launch.groups import COMPUTES, READS
from beam_pipelines.launch.parser import Parser
from beam_pipelines.storage.scores import published
from beam_pipelines.storage.scores.alignment import MATCHES
from beam_pipelines.storage.scores.columns import (
  CSCORE,
  INFLUENCE,
  MEMORIZATION,
  choose_ratio,
  read_cscores,
  read_influence,
  read_memorization,
)
from beam_pipelines.storage.scores.directory import MANIFEST, open_scores
from beam_pipelines.storage.scores.matching import Side, follow
from estimators.agreement import (
  DenseScores,
  IndexedScores,
  agree,
  common_rows,
  largest_differences,
)
from estimators.outcome_kinds import CORRECT
from files.errors import UsageError

# What an array of one score per example may hold, by the value of --kind: kind, lowest, highest.
_NAMED = {"cscore": (CSCORE, 0, 1), "memorization": (MEMORIZATION, -1, 1)}
_ROUNDING = 1e-6

# Pairs of two dense matrices that are compared: as rows, 24 bytes each, and sorted.
_MOST_PAIRS = 50_000_000


class _Matched(NamedTuple):
  """The rows of one kind that both sides have, in the same order; and the sizes of the sides."""

  kind: str
  a: IndexedScores
  b: IndexedScores
  sizes: tuple[int, int]


def run(argv: Sequence[str]) -> int:
  """Prints what both sides hold, how far they agree and where least; returns the exit status."""
  args, _ = make_parser().parse(argv)
  a, b = _read("A", args.a, args.ratio), _read("B", args.b, args.ratio)
  if None not in (a.subset_ratio, b.subset_ratio) and a.subset_ratio != b.subset_ratio:
    raise UsageError(
      f"A has the most runs at ratio {a.subset_ratio}, B at {b.subset_ratio}: choose with --ratio"
    )
  notes: list[str] = []
  if a.outcome != b.outcome:
    notes.append(
      f"A holds scores of --outcome={a.outcome}, B of --outcome={b.outcome}: ranks can be "
      "compared, differences cannot"
    )
  if args.kind and published.UNNAMED not in {*a.kinds, *b.kinds}:
    raise UsageError("--kind: both sides say which scores they hold; leave it out")
  a, b = _say_kind(a, b, args.kind, notes), _say_kind(b, a, args.kind, notes)
  b = follow(a, b, args.match, notes)
  common = _common_kinds(a, b, notes)
  matched = [_match(kind, a, b) for kind in common]
  if not matched:
    raise UsageError(
      f"nothing to compare: A holds {', '.join(a.kinds)}, B holds {', '.join(b.kinds)}"
    )
  if not any(len(kind.a) for kind in matched):
    what = " and ".join(kind.kind for kind in matched)
    raise UsageError(f"A and B have nothing in common: no {what} of the same index is in both")
  lines = [f"A  {_describe(a)}", f"B  {_describe(b)}", *notes, "", *_summary(matched)]
  for kind in matched:
    lines += _differences(kind, args.largest)
  print("\n".join(lines))
  return 0


def make_parser() -> Parser:
  """Returns the parser of the command's flags."""
  parser = Parser(
    "compare",
    "Compares scores: every kind (C-score, memorization, influence) that both sides hold, matched\n"
    "by the index of the example, or of training and test example; by file name where both sides\n"
    "are files with names. Labels must agree. Scores that are equal as float32 count as equal.",
    "Examples:\n"
    "  heldout compare scores cifar100-cscores-orig-order.npz\n"
    "  heldout compare scores other-scores --ratio=0.7 --match=pixels",
  )
  add = functools.partial(parser.add, READS)
  side = "a scores directory, or a published .npz or .npy file"
  add("a", metavar="A", type=arguments.path, help=side)
  add("b", metavar="B", type=arguments.path, help="another of either")
  add(
    "--ratio",
    type=float,
    metavar="X",
    help="subset ratio of memorization and influence in scores directories "
    "(default: the one with the most runs); C-scores average all of them",
  )
  add(
    "--kind",
    choices=_NAMED,
    metavar="KIND",
    help=f"{' or '.join(_NAMED)}: what an array without a name holds (default: what the other "
    "side holds)",
  )
  add = functools.partial(parser.add, COMPUTES)
  add(
    "--match",
    choices=MATCHES,
    metavar="HOW",
    help="how examples find each other: by index, by id (file names; or numbered ids, such as "
    "TFDS's train_16399, and the original order), or by pixels, where both were scored with a data "
    "set (default: file names of published files, otherwise index, in the same order)",
  )
  add("--largest", type=_count, default=10, metavar="N", help="how many differences to list")
  return parser


def _count(text: str) -> int:
  if not text.isdecimal():
    raise argparse.ArgumentTypeError(f"{text!r} is no number of differences: write 0 or more")
  return int(text)


def _read(name: str, path: str, ratio: float | None) -> Side:
  if not files.exists(files.join(path, MANIFEST)):
    return Side(name, path, None, published.read(path))
  with open_scores(path) as scores:  # whose tables are of one publication
    ratio = choose_ratio(path, ratio)
    kinds: published.Kinds = {}
    if scores.manifest.examples.train_recorded:
      kinds |= {CSCORE: read_cscores(path), MEMORIZATION: read_memorization(path, ratio)}
    kinds[INFLUENCE] = read_influence(path, ratio)
  outcome = scores.manifest.options.outcome
  return Side(name, path, ratio, published.PublishedScores(kinds), outcome)


def _say_kind(side: Side, other: Side, asked: str | None, notes: list[str]) -> Side:
  """Returns a side whose scores have a kind: the one asked for, or the other side's."""
  if published.UNNAMED not in side.kinds:
    return side
  if asked is None:
    held = [name for name, (kind, *_) in _NAMED.items() if kind in other.kinds]
    if len(held) != 1:
      raise UsageError(
        f"{side.path} does not say which score it holds: give --kind={' or --kind='.join(_NAMED)}"
      )
    (asked,) = held
    notes.append(
      f"{side.name} does not say which score it holds: taken for {_NAMED[asked][0]}, as in "
      f"{other.name}"
    )
  kind, lowest, highest = _NAMED[asked]
  scores = side.kinds[published.UNNAMED]
  assert isinstance(scores, IndexedScores)
  outside = np.flatnonzero(
    (scores.scores < lowest - _ROUNDING) | (scores.scores > highest + _ROUNDING)
  )
  if len(outside):
    raise UsageError(
      f"{side.path} has {scores.scores[outside[0]]:g} at example {outside[0]}, which is no {kind}: "
      f"those lie in {lowest}…{highest}"
    )
  return side._replace(found=dataclasses.replace(side.found, kinds={kind: scores}))


def _common_kinds(a: Side, b: Side, notes: list[str]) -> list[str]:
  """Returns the kinds to compare: those that both sides hold, of a size that can be."""
  common = []
  for kind in a.kinds:
    sides = (a.kinds[kind], b.kinds.get(kind))
    if all(isinstance(side, DenseScores) and len(side) > _MOST_PAIRS for side in sides):
      notes.append(
        f"{kind} is left out: both sides hold more than {_MOST_PAIRS:,} pairs; compare with "
        "selected ones"
      )
    elif kind in b.kinds:
      common.append(kind)
  return common


def _match(kind: str, a: Side, b: Side) -> _Matched:
  sizes = (len(a.kinds[kind]), len(b.kinds[kind]))
  first, second = map(_as_published, common_rows(a.kinds[kind], b.kinds[kind]))
  if first.labels is not None and second.labels is not None:
    rows, columns = np.nonzero(first.labels != second.labels)
    if len(rows):
      row, column = rows[0], columns[0]
      raise UsageError(
        f"labels disagree: {('training', 'test')[column]} example {first.index[row, column]} is of "
        f"class {first.labels[row, column]} in A, {second.labels[row, column]} in B; "
        "compare scores of the same data in the same order"
      )
  return _Matched(kind, first, second, sizes)


def _as_published(scores: IndexedScores) -> IndexedScores:
  """Rounds scores to float32, which dense influence and the demonstration's scores are stored as.

  What differs by less is the same fraction of runs.
  """
  rounded = scores.scores.astype(np.float32).astype(np.float64)
  return dataclasses.replace(scores, scores=rounded)


def _describe(side: Side) -> str:
  kinds = ", ".join(_describe_kind(*kind) for kind in side.kinds.items())
  ratio = f" at ratio {side.subset_ratio}" if side.subset_ratio else ""
  of = f" of --outcome={side.outcome}" if side.outcome != CORRECT.name else ""
  return f"{side.path}{ratio}{of}: {kinds}"


def _describe_kind(kind: str, scores: IndexedScores | DenseScores) -> str:
  if isinstance(scores, DenseScores):
    train, test = scores.matrix.shape
  elif kind != INFLUENCE:
    return f"{kind} of {len(scores):,} examples"
  else:
    train, test = (len(np.unique(column)) for column in scores.index.T)
  return f"{kind} of {len(scores):,} pairs ({train:,} training, {test:,} test examples)"


def _summary(matched: Sequence[_Matched]) -> Iterator[str]:
  yield (
    f"{'':<12}{'in A':>11}{'in B':>11}{'in both':>11}{'Jaccard':>9}{'undefined':>11}"
    f"{'Pearson':>9}{'Spearman':>10}{'mean |A-B|':>12}"
  )
  for kind in matched:
    both, either = len(kind.a), sum(kind.sizes) - len(kind.a)
    agreement = agree(kind.a.scores, kind.b.scores)
    yield (
      f"{kind.kind:<12}{kind.sizes[0]:>11,}{kind.sizes[1]:>11,}{both:>11,}"
      f"{_number(both / either if either else math.nan):>9}{both - agreement.defined:>11,}"
      f"{_number(agreement.pearson):>9}{_number(agreement.spearman):>10}"
      f"{_number(agreement.mean_absolute_difference, '.3g'):>12}"
    )


def _differences(matched: _Matched, count: int) -> Iterator[str]:
  a, b = matched.a, matched.b
  rows = largest_differences(a.scores, b.scores, count)
  if not len(rows):
    return
  names = ("training", "test") if matched.kind == INFLUENCE else ("example",)
  yield f"\nlargest differences in {matched.kind}"
  yield f"{''.join(f'{name:>10}' for name in names)}{'label':>10}{'A':>10}{'B':>10}{'A-B':>12}"
  labels = a.labels if a.labels is not None else b.labels
  for row in rows:
    examples = "".join(f"{example:>10}" for example in a.index[row])
    # The two examples of a pair are of one class unless all pairs were scored.
    label = "-" if labels is None else "/".join(map(str, dict.fromkeys(labels[row].tolist())))
    values = f"{_number(a.scores[row]):>10}{_number(b.scores[row]):>10}"
    difference = _number(a.scores[row] - b.scores[row], ".3g")
    yield f"{examples}{label:>10}{values}{difference:>12}"


def _number(value: float, form: str = ".4f") -> str:
  return "-" if math.isnan(value) else format(value, form)


if __name__ == "__main__":
  command.execute_module("compare", run)
