"""`heldout compare`: says how far scores agree with published ones, or with other scores."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

import files
from beam_pipelines.launch import arguments, command
from beam_pipelines.storage.scores import published
from beam_pipelines.storage.scores.columns import (
  CSCORE,
  INFLUENCE,
  MEMORIZATION,
  choose_ratio,
  read_cscores,
  read_influence,
  read_memorization,
)
from beam_pipelines.storage.scores.directory import MANIFEST
from estimators.agreement import IndexedScores, agree, common_rows, largest_differences
from files.errors import UsageError


class _Side(NamedTuple):
  path: str
  subset_ratio: float | None  # of a scores directory
  kinds: dict[str, IndexedScores]


class _Matched(NamedTuple):
  """The rows of one kind that both sides have, in the same order; and the sizes of the sides."""

  kind: str
  a: IndexedScores
  b: IndexedScores
  sizes: tuple[int, int]


def run(argv: Sequence[str]) -> int:
  """Prints what both sides hold, how far they agree and where least; returns the exit status."""
  args, _ = _parser().parse(argv)
  a, b = _read(args.a, args.ratio), _read(args.b, args.ratio)
  if None not in (a.subset_ratio, b.subset_ratio) and a.subset_ratio != b.subset_ratio:
    raise UsageError(
      f"A has the most runs at ratio {a.subset_ratio}, B at {b.subset_ratio}: choose with --ratio"
    )
  matched = [_match(kind, a, b) for kind in a.kinds if kind in b.kinds]
  if not matched:
    raise UsageError(
      f"nothing to compare: A holds {', '.join(a.kinds)}, B holds {', '.join(b.kinds)}"
    )
  if not any(len(kind.a) for kind in matched):
    what = " and ".join(kind.kind for kind in matched)
    raise UsageError(f"A and B have nothing in common: no {what} of the same index is in both")
  lines = [f"A  {_describe(a)}", f"B  {_describe(b)}", "", *_summary(matched)]
  for kind in matched:
    lines += _differences(kind, args.largest)
  print("\n".join(lines))
  return 0


def _parser() -> command.Parser:
  parser = command.Parser(
    "compare",
    "Compares scores: every kind (C-score, memorization, influence) that both sides hold, matched\n"
    "by the index of the example, or of training and test example. Labels must agree.",
    "Examples:\n"
    "  heldout compare scores cifar100-cscores-orig-order.npz\n"
    "  heldout compare scores other-scores --ratio=0.7",
  )
  side = "a scores directory, or a published .npz file"
  parser.add_argument("a", metavar="A", type=arguments.path, help=side)
  parser.add_argument("b", metavar="B", type=arguments.path, help="another of either")
  parser.add_argument(
    "--ratio",
    type=float,
    help="subset ratio of memorization and influence in scores directories "
    "(default: the one with the most runs); C-scores average all of them",
  )
  parser.add_argument("--largest", type=_count, default=10, help="how many differences to list")
  return parser


def _count(text: str) -> int:
  if not text.isdecimal():
    raise argparse.ArgumentTypeError(f"{text!r} is no number of differences: write 0 or more")
  return int(text)


def _read(path: str, ratio: float | None) -> _Side:
  if not files.exists(files.join(path, MANIFEST)):
    return _Side(path, None, published.read(path))
  ratio = choose_ratio(path, ratio)
  kinds = {
    CSCORE: read_cscores(path),
    MEMORIZATION: read_memorization(path, ratio),
    INFLUENCE: read_influence(path, ratio),
  }
  return _Side(path, ratio, kinds)


def _match(kind: str, a: _Side, b: _Side) -> _Matched:
  first, second = a.kinds[kind], b.kinds[kind]
  sizes = (len(first), len(second))
  first, second = common_rows(first, second)
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


def _describe(side: _Side) -> str:
  kinds = ", ".join(_describe_kind(*kind) for kind in side.kinds.items())
  return f"{side.path}{f' at ratio {side.subset_ratio}' if side.subset_ratio else ''}: {kinds}"


def _describe_kind(kind: str, scores: IndexedScores) -> str:
  if kind != INFLUENCE:
    return f"{kind} of {len(scores):,} examples"
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
  sys.exit(command.execute("compare", run))
