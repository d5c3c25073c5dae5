"""`heldout explain`: which examples influence one, or are influenced by it, and how surely."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from beam_pipelines.launch import arguments, command, datasets
from beam_pipelines.launch.groups import COMPUTES, READS
from beam_pipelines.launch.output import Output, add_flag, open_output
from beam_pipelines.launch.parser import Parser
from beam_pipelines.storage.scores.columns import choose_ratio
from beam_pipelines.storage.scores.directory import Scores, open_scores
from beam_pipelines.storage.scores.pairing import PAIRED_TABLES, check_dataset
from beam_pipelines.storage.scores.strongest import TEST, TRAIN, StrongestPairs, strongest_pairs
from files.errors import UsageError
from image_datasets import Dataset, load_dataset
from reports.explanation import Shown, caption, draw_explanation

_WORDS = {TRAIN: "training", TEST: "test"}


class _Explained(NamedTuple):
  """An example and its strongest pairs."""

  side: str
  example: int
  ratio: float
  found: StrongestPairs
  memorization: dict[int, tuple[float, float]]  # of training examples: score, standard error
  dataset: Dataset

  @property
  def other_side(self) -> str:
    return TEST if self.side == TRAIN else TRAIN

  def class_name(self, side: str, example: int) -> str:
    labels = (self.dataset.train if side == TRAIN else self.dataset.test).labels
    return self.dataset.class_names[int(labels[example])]


def run(argv: Sequence[str]) -> int:
  """Prints the strongest pairs of one example, and draws them if asked; returns the exit status."""
  args, _ = make_parser().parse(argv)
  if args.count < 1:
    raise UsageError(f"--count={args.count}: at least one example is shown")
  output = open_output(args.output) if args.output else None
  ratio = choose_ratio(args.scores, args.ratio)
  side, example = (
    (TRAIN, args.train_example) if args.test_example is None else (TEST, args.test_example)
  )
  dataset = load_dataset(args.dataset, args.data_dir)
  with open_scores(args.scores) as scores:
    tables = {name: scores.table(name) for name in PAIRED_TABLES}
    check_dataset(args.scores, scores.manifest, tables, dataset)
    found = strongest_pairs(scores, ratio, side, example, args.count)
    trained = [example] if side == TRAIN else found.others.tolist()
    memorization = _memorization(scores, ratio, trained)
  explained = _Explained(side, example, ratio, found, memorization, dataset)
  lines = [_title(explained), *_rows(explained)]
  if output is None:
    print("\n".join(lines))
  else:
    _draw(explained, output)
    output.say("\n".join([*lines, "", f"picture: {output}"]))
  return 0


def make_parser() -> Parser:
  """Returns the parser of the command's flags."""
  parser = Parser(
    "explain",
    "Says which training examples influence a test example most, or which test examples a\n"
    "training example influences, by the absolute value of the influence, with standard errors:\n"
    "of all pairs, if the scores were made with --dense, otherwise of the selected ones.",
    "Example:\n  heldout explain --scores=scores --dataset=digits --test_example=7",
  )
  add = functools.partial(parser.add, READS)
  add(
    "--scores",
    type=arguments.path,
    required=True,
    metavar="DIR",
    help="directory of score tables",
  )
  datasets.add_flags(parser, "data set that was scored", required=True, check=False)
  parser.add_one_of(
    READS,
    {"--test_example": "index of a test example", "--train_example": "of a training example"},
    type=int,
    metavar="N",
  )
  add("--ratio", type=float, metavar="X", help="subset ratio (default: the one with the most runs)")
  parser.add(
    COMPUTES, "--count", type=int, default=10, metavar="N", help="how many examples to show"
  )
  add_flag(parser, what="PNG file to draw, - for standard output", optional=True)
  return parser


def _memorization(
  scores: Scores, ratio: float, examples: Sequence[int]
) -> dict[int, tuple[float, float]]:
  rows = scores.table("examples").filter(
    (pc.field("subset_ratio") == ratio) & pc.field("example").isin(list(examples))
  )
  columns = [rows[name].to_numpy() for name in ("memorization", "memorization_se")]
  return dict(zip(rows["example"].to_pylist(), zip(*columns, strict=True), strict=True))


def _title(explained: _Explained) -> str:
  found, other = explained.found, _WORDS[explained.other_side]
  name = explained.class_name(explained.side, explained.example)
  own = ""
  if explained.example in explained.memorization and explained.side == TRAIN:
    score, error = explained.memorization[explained.example]
    own = f", memorization {_number(score)} ± {_number(error)}"
  source = (
    f"the dense influence, {found.pairs:,} {other} examples"
    if found.is_dense
    else f"the selected pairs, {found.pairs:,} of this example"
  )
  order = ", the largest absolute influence first" if len(found.others) else ""
  return (
    f"{_WORDS[explained.side]} example {explained.example}, class {name}{own}; "
    f"from {source}, at ratio {explained.ratio}{order}"
  )


def _rows(explained: _Explained) -> Iterator[str]:
  found = explained.found
  if not len(found.others):
    yield (
      "no pair of it was selected: score with --dense, or with lower thresholds"
      if not found.is_dense
      else "its influence is undefined: all runs saw it, or none"
    )
    return
  memorized = explained.side == TEST
  yield (
    f"{_WORDS[explained.other_side]:>10}  {'class':<16}{'influence':>10}{'error':>8}"
    + (f"{'memorization':>14}{'error':>8}" if memorized else "")
  )
  for other, influence, error in zip(found.others, found.influence, found.error, strict=True):
    line = (
      f"{other:>10}  {explained.class_name(explained.other_side, other):<16}"
      f"{_number(influence):>10}{_number(error):>8}"
    )
    if memorized:
      score, its_error = explained.memorization.get(int(other), (np.nan, np.nan))
      line += f"{_number(score):>14}{_number(its_error):>8}"
    yield line


def _draw(explained: _Explained, output: Output) -> None:
  found, dataset = explained.found, explained.dataset
  sides = {TRAIN: dataset.train, TEST: dataset.test}
  (subject,) = sides[explained.side].pictures([explained.example])
  pictures = sides[explained.other_side].pictures(found.others.tolist())
  others = [
    Shown(
      picture,
      caption(
        _WORDS[explained.other_side],
        int(other),
        explained.class_name(explained.other_side, other),
        influence,
        error,
      ),
    )
    for picture, other, influence, error in zip(
      pictures, found.others, found.influence, found.error, strict=True
    )
  ]
  name = explained.class_name(explained.side, explained.example)
  shown = Shown(subject, f"{_WORDS[explained.side]} {explained.example}\n{name}")
  title = (
    f"influence at subset ratio {explained.ratio} ± one standard error, "
    "largest absolute value first"
  )
  output.write(draw_explanation(title, shown, others, dataset.pixel_max))


def _number(value: float) -> str:
  return "-" if np.isnan(value) else f"{value:.3f}"


if __name__ == "__main__":
  command.execute_module("explain", run)
