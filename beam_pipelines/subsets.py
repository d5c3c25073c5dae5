"""`heldout subsets`: writes the subsets that runs would have, for training elsewhere."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence

import numpy as np

from beam_pipelines.launch import arguments, command, datasets
from beam_pipelines.launch.groups import COMPUTES, READS, WRITES
from beam_pipelines.launch.parser import Parser
from files.errors import UsageError
from files.npy_rows import create_rows
from image_datasets import load_dataset
from models.registry import ModelError
from models.run_seed import RunSeed

_FORMATS = ("masks", "indices")


def run(argv: Sequence[str]) -> int:
  """Writes one array, a run a row, and says what is in it; returns the exit status."""
  args, _ = make_parser().parse(argv)
  num_train = _count_training(args)
  size = round(args.subset_ratio * num_train)
  if not 0 < size < num_train:
    raise UsageError(
      f"--subset_ratio: {args.subset_ratio} of {num_train:,} training examples leaves one side "
      "empty"
    )
  _draw(args, args.runs[-1], num_train)  # which is refused before anything is written
  width, dtype = (num_train, np.bool_) if args.format == "masks" else (size, np.int64)
  with create_rows(args.output, np.dtype(dtype), (len(args.runs), width)) as write:
    for run_id in args.runs:
      write(_row(args.format, _draw(args, run_id, num_train), num_train))
  print(
    f"{args.format} of {len(args.runs):,} runs, {size:,} of {num_train:,} training examples each, "
    f"into {args.output}"
  )
  return 0


def _file(text: str) -> str:
  if text == "-":
    raise argparse.ArgumentTypeError("rows are written one by one: give the path of a file")
  return arguments.path(text)


def make_parser() -> Parser:
  """Returns the parser of the command's flags."""
  parser = Parser(
    "subsets",
    "Writes the random subsets that runs have which `heldout train` trains: the same seed, ratio\n"
    "and run id give the same subset. Train on them elsewhere, and `heldout import-outcomes`.",
    "Example:\n  heldout subsets --dataset=digits --runs=0:200 --output=masks.npy",
  )
  datasets.add_flags(parser, "data set whose training examples are drawn", check=False)
  add = functools.partial(parser.add, READS)
  add("--num_train", type=int, metavar="N", help="training examples, in place of a data set")
  add = functools.partial(parser.add, COMPUTES)
  add(
    "--subset_ratio",
    type=arguments.ratio,
    default=float(arguments.DEFAULT_RATIO),
    metavar="X",
    help="of the runs",
  )
  add("--runs", type=arguments.run_range, required=True, metavar="START:STOP", help="run ids")
  add("--seed", type=int, default=0, metavar="N", help="of `heldout train`")
  add = functools.partial(parser.add, WRITES)
  add(
    "--format",
    choices=_FORMATS,
    default="masks",
    metavar="FORMAT",
    help="masks: bool [runs, training examples]; or indices: int64 [runs, subset size]",
  )
  add("--output", type=_file, required=True, metavar="FILE", help=".npy file to write")
  return parser


def _count_training(args: argparse.Namespace) -> int:
  if (args.dataset is None) == (args.num_train is None):
    raise UsageError("give --dataset or --num_train: subsets are of one or the other")
  if args.dataset:
    return len(load_dataset(args.dataset, args.data_dir).train)
  if args.num_train < 2:
    raise UsageError(f"--num_train={args.num_train}: a subset and its rest need two examples")
  return int(args.num_train)


def _draw(args: argparse.Namespace, run_id: int, num_train: int) -> np.ndarray:
  try:
    return RunSeed(args.seed, args.subset_ratio, run_id).subset(num_train)
  except ModelError as error:
    raise UsageError(str(error)) from error


def _row(format_name: str, subset: np.ndarray, num_train: int) -> np.ndarray:
  if format_name == "indices":
    return subset
  mask = np.zeros(num_train, bool)
  mask[subset] = True
  return mask


if __name__ == "__main__":
  command.execute_module("subsets", run)
