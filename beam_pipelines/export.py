"""`heldout export`: writes scores as the papers published theirs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import zarr

from beam_pipelines.launch import arguments, command
from beam_pipelines.storage.scores import directory as scores
from beam_pipelines.storage.scores import published
from beam_pipelines.storage.scores.columns import (
  choose_ratio,
  read_cscores,
  read_influence,
  read_memorization,
)
from beam_pipelines.storage.scores.dense import read_dense, row_blocks
from estimators.agreement import IndexedScores
from files.errors import UsageError
from image_datasets import ImageDataset, describe_specs, load_dataset


class _Export(NamedTuple):
  arrays: dict[str, np.ndarray]
  what: str


def run(argv: Sequence[str]) -> int:
  """Writes one published file and says what is in it; returns the exit status."""
  args, _ = _parser().parse(argv)
  scores.read_manifest(args.scores)
  export = _EXPORTS[args.format](args)
  published.write(args.output, args.format, export.arrays)
  print(f"{args.format}: {export.what}, into {args.output}")
  return 0


def _parser() -> command.Parser:
  parser = command.Parser(
    "export",
    "Writes scores as .npz files, key for key as the papers published theirs. Undefined scores,\n"
    "null in the tables, are NaN. docs/published_formats.md says what each format holds.",
    "Example:\n"
    "  heldout export --scores=scores --format=cscores --output=cscores.npz\n\n"
    f"Data sets:\n{describe_specs()}",
  )
  add = parser.add_argument
  add("--scores", type=arguments.path, required=True, help="directory of score tables")
  add("--format", choices=published.FORMATS, required=True, help="what to write")
  add("--output", type=arguments.path, required=True, help="file to write")
  add(
    "--ratio",
    type=float,
    help="subset ratio (default: the one with the most runs); C-scores average all of them",
  )
  arguments.add_dataset(parser, "data set of the labels in influence_matrix")
  return parser


def _cscores(args: argparse.Namespace) -> _Export:
  if args.ratio is not None:
    raise UsageError("--ratio: C-scores average all subset ratios; leave it out")
  cscores = read_cscores(args.scores)
  if cscores.labels is None:
    raise UsageError(
      f"--scores={args.scores} has no labels, which {args.format} needs: "
      "run `heldout score` with --dataset"
    )
  arrays = {"labels": cscores.labels[:, 0], "scores": cscores.scores}
  return _Export(arrays, _count_examples(cscores.scores))


def _high_influence_pairs(args: argparse.Namespace) -> _Export:
  ratio = choose_ratio(args.scores, args.ratio)
  pairs = read_influence(args.scores, ratio)
  if not len(pairs):
    raise UsageError(
      f"--scores={args.scores} holds no influence pairs at ratio {ratio}: "
      "run `heldout score` with lower --min_influence or --min_memorization"
    )
  pairs = pairs.take(_published_order(pairs))
  train, test = pairs.index.T
  arrays = {
    "tr_idx": train,
    "tt_idx": test,
    "infl": pairs.scores,
    "mem": read_memorization(args.scores, ratio).scores[train],
  }
  what = (
    f"{len(pairs):,} pairs of {len(np.unique(train)):,} training and {len(np.unique(test)):,} "
    f"test examples at ratio {ratio}"
  )
  return _Export(arrays, what)


def _influence_matrix(args: argparse.Namespace) -> _Export:
  if not args.dataset:
    raise UsageError(f"--format={args.format} needs labels: give --dataset")
  ratio = choose_ratio(args.scores, args.ratio)
  matrix = read_dense(args.scores, ratio)
  memorization = read_memorization(args.scores, ratio)
  dataset = load_dataset(args.dataset, args.data_dir)
  _check_dataset(args, dataset, matrix, memorization)
  train_labels, test_labels = dataset.train.labels, dataset.test.labels
  arrays = {"tr_labels": train_labels, "tt_labels": test_labels, "tr_mem": memorization.scores}
  for label in range(dataset.num_classes):
    train, test = np.flatnonzero(train_labels == label), np.flatnonzero(test_labels == label)
    arrays[f"tr_classidx_{label}"], arrays[f"tt_classidx_{label}"] = train, test
    arrays[f"infl_matrix_class{label}"] = np.empty((len(train), len(test)))
  for rows, block in row_blocks(args.scores, matrix):
    for label in np.unique(train_labels[rows]):
      train, test = arrays[f"tr_classidx_{label}"], arrays[f"tt_classidx_{label}"]
      within = slice(*np.searchsorted(train, [rows.start, rows.stop]))
      of_class = arrays[f"infl_matrix_class{label}"]
      of_class[within] = block[np.ix_(train[within] - rows.start, test)]
  what = f"{dataset.num_classes} classes, {_count_examples(memorization.scores)} at ratio {ratio}"
  return _Export(arrays, what)


def _infl_mem(args: argparse.Namespace) -> _Export:
  ratio = choose_ratio(args.scores, args.ratio)
  matrix = read_dense(args.scores, ratio)
  memorization = read_memorization(args.scores, ratio).scores
  influence = np.empty(matrix.shape[::-1], np.float32)
  for rows, block in row_blocks(args.scores, matrix):
    influence[:, rows] = block.T
  what = f"{_count_examples(memorization)} × {len(influence):,} test examples at ratio {ratio}"
  return _Export({"memorization": memorization, "influence": influence}, what)


_EXPORTS = {
  "cscores": _cscores,
  "high_influence_pairs": _high_influence_pairs,
  "influence_matrix": _influence_matrix,
  "infl_mem": _infl_mem,
}


def _published_order(pairs: IndexedScores) -> np.ndarray:
  """Returns the order of the published pairs: by class, then test example, then training one."""
  train, test = pairs.index.T
  labels = np.zeros_like(test) if pairs.labels is None else pairs.labels[:, 1]
  return np.lexsort((train, test, labels))


def _check_dataset(
  args: argparse.Namespace,
  dataset: ImageDataset,
  matrix: zarr.Array,
  memorization: IndexedScores,
) -> None:
  what = f"--scores={args.scores} with --dataset={args.dataset}"
  sizes = (len(dataset.train), len(dataset.test))
  if sizes != matrix.shape:
    raise UsageError(
      f"{what}: the data set has {sizes[0]:,} training and {sizes[1]:,} test examples, "
      f"the scores {matrix.shape[0]:,} and {matrix.shape[1]:,}; give the one that was scored"
    )
  if memorization.labels is not None:
    differing = np.flatnonzero(memorization.labels[:, 0] != dataset.train.labels)
    if len(differing):
      example = differing[0]
      raise UsageError(
        f"{what}: training example {example} is of class {dataset.train.labels[example]} in the "
        f"data set, {memorization.labels[example, 0]} in the scores; give the one that was scored"
      )


def _count_examples(values: np.ndarray) -> str:
  undefined = np.count_nonzero(np.isnan(values))
  return f"{len(values):,} training examples" + (f" ({undefined:,} NaN)" if undefined else "")


if __name__ == "__main__":
  sys.exit(command.execute("export", run))
