"""`heldout export`: writes scores as the papers published theirs, and outcomes as others do."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

import files
from beam_pipelines.launch import arguments, command, datasets
from beam_pipelines.launch.groups import READS, WRITES
from beam_pipelines.launch.outcome_export import export_outcomes
from beam_pipelines.launch.output import add_flag, open_output
from beam_pipelines.launch.parser import Parser
from beam_pipelines.storage.layouts.layout_writers import WRITTEN_LAYOUTS
from beam_pipelines.storage.scores import dense, plain_scores, published
from beam_pipelines.storage.scores.alignment import Order, find_order
from beam_pipelines.storage.scores.columns import (
  choose_ratio,
  read_cscores,
  read_influence,
  read_memorization,
)
from beam_pipelines.storage.scores.completeness import scored_sizes
from beam_pipelines.storage.scores.directory import DENSE, open_scores, read_table
from beam_pipelines.storage.scores.manifest import Manifest
from beam_pipelines.storage.scores.pairing import PAIRED_TABLES, check_dataset
from estimators.agreement import IndexedScores
from estimators.outcome_kinds import CORRECT
from files.errors import UsageError
from image_datasets import Dataset, load_dataset


class _Asked(NamedTuple):
  """What to export: scores by their directory, the data set of the labels, the order, if given."""

  format_name: str
  scores: str
  manifest: Manifest
  ratio: float | None
  dataset: Dataset | None
  order: Order | None

  def chosen_ratio(self) -> float:
    return choose_ratio(self.scores, self.ratio)

  def ordered(self, scores: IndexedScores) -> IndexedScores:
    """Returns scores under the indices of the order that is asked for, sorted by them."""
    if self.order is None:
      return scores
    moved = scores.reindexed(*self.order[: scores.index.shape[1]])
    return moved.take(np.lexsort(moved.index.T[::-1]))

  def labels(self) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the labels of training and test examples, in the order that is asked for."""
    if self.dataset is None:
      return None
    labels = self.dataset.train.labels, self.dataset.test.labels
    if self.order is None:
      return labels
    return labels[0][np.argsort(self.order.train)], labels[1][np.argsort(self.order.test)]


class _Export(NamedTuple):
  arrays: dict[str, np.ndarray]
  what: str


def run(argv: Sequence[str]) -> int:
  """Writes one published file and says what is in it; returns the exit status."""
  args, _ = make_parser().parse(argv)
  if args.format in WRITTEN_LAYOUTS:
    if args.order:
      raise UsageError(
        f"--order: {args.format} has outcomes, in the order of their runs; leave it out"
      )
    return export_outcomes(args)
  if args.scores is None or args.experiment is not None:
    raise UsageError(f"--format={args.format} needs --scores, and no --experiment: it has scores")
  output = open_output(args.output)
  with open_scores(args.scores) as scores:  # which are of one publication, from first to last
    outcome = scores.manifest.options.outcome
    if args.format in published.FORMATS and outcome != CORRECT.name:
      raise UsageError(
        f"--scores={args.scores} holds scores of --outcome={outcome}: the published formats hold "
        f"accuracies and their differences; score with --outcome={CORRECT.name}"
      )
    dataset = _load_scored_dataset(args, scores.manifest) if args.dataset else None
    order = _find_order(args) if args.order else None
    asked = _Asked(args.format, args.scores, scores.manifest, args.ratio, dataset, order)
    export = _EXPORTS[args.format](asked)
  output.write(_encode(args.format, export.arrays))
  output.say(f"{args.format}: {export.what}, into {output}")
  if dataset:
    command.show_warnings(dataset.warnings)
  return 0


def make_parser() -> Parser:
  """Returns the parser of the command's flags."""
  parser = Parser(
    "export",
    "Writes scores as .npz files, key for key as the papers published theirs, or as plain .csv\n"
    "and .npy (docs/published_formats.md); and recorded outcomes as other tools have them\n"
    "(docs/outcomes_for_others.md). Undefined scores, null in the tables, are NaN.",
    "Examples:\n"
    "  heldout export --scores=scores --format=cscores --output=cscores.npz\n"
    "  heldout export --experiment=runs --format=trak --output=trak",
  )
  add = functools.partial(parser.add, READS)
  add("--scores", type=arguments.path, metavar="DIR", help="score tables, to export scores")
  add("--experiment", type=arguments.path, metavar="DIR", help="runs, to export outcomes")
  add(
    "--ratio",
    type=float,
    metavar="X",
    help="subset ratio (default: the one with the most runs); C-scores average all of them",
  )
  datasets.add_flags(
    parser,
    "data set that was scored: of the labels, in influence_matrix and where scores lack them",
    check=False,
  )
  add = functools.partial(parser.add, WRITES)
  add(
    "--format",
    choices=(*_EXPORTS, *WRITTEN_LAYOUTS),
    required=True,
    metavar="FORMAT",
    help=f"of scores: {', '.join(_EXPORTS)}; of outcomes: {', '.join(WRITTEN_LAYOUTS)}",
  )
  add_flag(parser, what="file to write, - for standard output; directory for outcomes")
  add(
    "--order",
    type=arguments.dataset,
    metavar="DATASET",
    help="data set of the same images, in whose order to write; they are found by id or pixels",
  )
  return parser


def _load_scored_dataset(args: argparse.Namespace, manifest: Manifest) -> Dataset:
  dataset = load_dataset(args.dataset, args.data_dir)
  tables = {name: read_table(args.scores, name) for name in PAIRED_TABLES}
  check_dataset(args.scores, manifest, tables, dataset)
  return dataset


def _find_order(args: argparse.Namespace) -> Order:
  """Returns where each scored example is in the data set that gives the order."""
  dataset = load_dataset(args.order, args.data_dir)
  return find_order(args.scores, read_table(args.scores, "index"), dataset)


def _cscores(asked: _Asked) -> _Export:
  if asked.ratio is not None:
    raise UsageError("--ratio: C-scores average all subset ratios; leave it out")
  cscores = asked.ordered(read_cscores(asked.scores))
  of_dataset = asked.labels()
  if of_dataset is not None:
    labels, _ = of_dataset
  elif cscores.labels is not None:
    labels = cscores.labels[:, 0]
  else:
    raise UsageError(
      f"--scores={asked.scores} has no labels, which {asked.format_name} needs: "
      "give the data set that was scored, --dataset"
    )
  return _Export({"labels": labels, "scores": cscores.scores}, _count_examples(cscores.scores))


def _high_influence_pairs(asked: _Asked) -> _Export:
  ratio = asked.chosen_ratio()
  pairs = asked.ordered(read_influence(asked.scores, ratio))
  if not len(pairs):
    raise UsageError(
      f"--scores={asked.scores} holds no influence pairs at ratio {ratio}: "
      "run `heldout score` with lower --min_influence or --min_memorization"
    )
  pairs = pairs.take(_published_order(pairs))
  train, test = pairs.index.T
  arrays = {
    "tr_idx": train,
    "tt_idx": test,
    "infl": pairs.scores,
    "mem": asked.ordered(read_memorization(asked.scores, ratio)).scores[train],
  }
  what = (
    f"{len(pairs):,} pairs of {len(np.unique(train)):,} training and {len(np.unique(test)):,} "
    f"test examples at ratio {ratio}"
  )
  return _Export(arrays, what)


def _influence_matrix(asked: _Asked) -> _Export:
  dataset, labels = asked.dataset, asked.labels()
  if dataset is None or labels is None:
    raise UsageError(f"--format={asked.format_name} needs labels: give --dataset")
  ratio = asked.chosen_ratio()
  memorization = asked.ordered(read_memorization(asked.scores, ratio)).scores
  train_labels, test_labels = labels
  arrays = {"tr_labels": train_labels, "tt_labels": test_labels, "tr_mem": memorization}
  for label in range(dataset.num_classes):
    train, test = np.flatnonzero(train_labels == label), np.flatnonzero(test_labels == label)
    arrays[f"tr_classidx_{label}"], arrays[f"tt_classidx_{label}"] = train, test
    arrays[f"infl_matrix_class{label}"] = np.empty((len(train), len(test)))
  for examples, block in _influence_rows(asked, ratio):
    for label in np.unique(train_labels[examples]):
      train, test = arrays[f"tr_classidx_{label}"], arrays[f"tt_classidx_{label}"]
      rows = np.flatnonzero(train_labels[examples] == label)
      of_class = arrays[f"infl_matrix_class{label}"]
      of_class[np.searchsorted(train, examples[rows])] = block[np.ix_(rows, test)]
  what = f"{dataset.num_classes} classes, {_count_examples(memorization)} at ratio {ratio}"
  return _Export(arrays, what)


def _infl_mem(asked: _Asked) -> _Export:
  ratio = asked.chosen_ratio()
  memorization = asked.ordered(read_memorization(asked.scores, ratio)).scores
  sizes = scored_sizes(asked.manifest)
  influence = np.empty((sizes.test, sizes.train), np.float32)
  for examples, block in _influence_rows(asked, ratio):
    influence[:, examples] = block.T
  what = f"{_count_examples(memorization)} × {len(influence):,} test examples at ratio {ratio}"
  return _Export({"memorization": memorization, "influence": influence}, what)


def _memorization_table(asked: _Asked) -> _Export:
  ratio = asked.chosen_ratio()
  memorization = asked.ordered(read_memorization(asked.scores, ratio))
  columns: dict[str, np.ndarray] = {"example": memorization.index[:, 0]}
  of_dataset = asked.labels()
  if of_dataset is not None:
    columns["label"], _ = of_dataset
  elif memorization.labels is not None:
    columns["label"] = memorization.labels[:, 0]
  columns["memorization"] = memorization.scores
  return _Export(columns, f"{_count_examples(memorization.scores)} at ratio {ratio}")


def _influence_table(asked: _Asked) -> _Export:
  ratio = asked.chosen_ratio()
  pairs = asked.ordered(read_influence(asked.scores, ratio))
  pairs = pairs.take(_published_order(pairs))
  train, test = pairs.index.T
  columns = {"train_example": train, "test_example": test, "influence": pairs.scores}
  if asked.manifest.examples.train_recorded:
    memorization = asked.ordered(read_memorization(asked.scores, ratio)).scores
    columns["memorization"] = memorization[train]
  return _Export(columns, f"{len(pairs):,} pairs at ratio {ratio}")


def _memorization_array(asked: _Asked) -> _Export:
  ratio = asked.chosen_ratio()
  memorization = asked.ordered(read_memorization(asked.scores, ratio)).scores
  what = f"{_count_examples(memorization)} at ratio {ratio}"
  return _Export({"memorization": memorization}, what)


def _influence_array(asked: _Asked) -> _Export:
  ratio = asked.chosen_ratio()
  influence = np.empty(scored_sizes(asked.manifest), np.float32)
  for examples, block in _influence_rows(asked, ratio):
    influence[examples] = block
  what = f"{len(influence):,} training × {influence.shape[1]:,} test examples at ratio {ratio}"
  return _Export({"influence": influence}, what)


def _encode(format_name: str, arrays: dict[str, np.ndarray]) -> bytes:
  if format_name in published.FORMATS:
    return published.encode(format_name, arrays)
  if format_name.endswith("_csv"):
    return plain_scores.encode_csv(arrays)
  (array,) = arrays.values()
  return plain_scores.encode_npy(array)


_EXPORTS = {
  "cscores": _cscores,
  "high_influence_pairs": _high_influence_pairs,
  "influence_matrix": _influence_matrix,
  "infl_mem": _infl_mem,
  "memorization_csv": _memorization_table,
  "memorization_npy": _memorization_array,
  "influence_csv": _influence_table,
  "influence_npy": _influence_array,
}


def _influence_rows(asked: _Asked, ratio: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields training examples and rows of the dense influence, having checked that they are there.

  An example that all runs saw, or none, has NaN; its memorization is undefined as well.
  """
  memorization = read_memorization(asked.scores, ratio).scores
  matrix = dense.read_dense(asked.scores, ratio)
  where = files.join(asked.scores, DENSE, dense.array_name(ratio))
  sizes = scored_sizes(asked.manifest)
  for rows, block in dense.row_blocks(asked.scores, matrix):
    undefined = np.isnan(block).all(axis=1)
    lost = rows.start + np.flatnonzero(undefined != np.isnan(memorization[rows]))
    if len(lost) and sizes.test:
      raise UsageError(
        f"{where} does not go with table examples at training example {lost[0]} and "
        f"{len(lost) - 1:,} more of rows {rows.start}…{rows.stop - 1}, where one is undefined: "
        "run `heldout score --dense` again"
      )
    examples = np.arange(rows.start, rows.stop)
    if asked.order is None:
      yield examples, block
    else:
      yield asked.order.train[examples], block[:, np.argsort(asked.order.test)]


def _published_order(pairs: IndexedScores) -> np.ndarray:
  """Returns the order of the published pairs: by class, then test example, then training one."""
  train, test = pairs.index.T
  labels = np.zeros_like(test) if pairs.labels is None else pairs.labels[:, 1]
  return np.lexsort((train, test, labels))


def _count_examples(values: np.ndarray) -> str:
  undefined = np.count_nonzero(np.isnan(values))
  return f"{len(values):,} training examples" + (f" ({undefined:,} NaN)" if undefined else "")


if __name__ == "__main__":
  command.execute_module("export", run)
