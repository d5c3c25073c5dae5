"""Which foreign outcomes are imported: the flags that name their files and say what they are."""

from __future__ import annotations

import argparse
import functools
from typing import get_args

from beam_pipelines.launch import arguments
from beam_pipelines.launch.groups import FOREIGN, READS
from beam_pipelines.launch.parser import Parser
from beam_pipelines.storage.layouts.sources import LAYOUTS, Source, Target
from beam_pipelines.storage.runs.packs import MarginKind
from files.errors import UsageError

_ARRAYS = ("masks", "correct", "test_correct", "margins", "test_margins")
_OF_LAYOUT = {"labels": ("lira",), "num_train": ("dattri",), "target": ("dattri",)}


def add_flags(parser: Parser) -> None:
  """Adds the flags that `asked_source` reads."""
  add = functools.partial(parser.add, READS)
  add(
    "--from",
    dest="layout",
    choices=LAYOUTS,
    required=True,
    metavar="LAYOUT",
    help=f"of the outcomes: {', '.join(LAYOUTS)}",
  )
  add("--source", type=arguments.path, metavar="DIR", help="holds them, of all layouts but arrays")
  for name, what in zip(
    _ARRAYS,
    (
      "of arrays: [runs, training examples], 1 where it saw it",
      "of arrays: 1 where it classifies it correctly",
      "of arrays: the same, [runs, test examples]",
      "of arrays: margins, in place of --correct or beside it",
      "of arrays: margins on test examples",
    ),
    strict=True,
  ):
    add(f"--{name}", type=arguments.path, metavar="FILE", help=what)
  add(
    "--subset_ratio",
    type=arguments.ratio,
    metavar="X",
    help="of the runs (default: as seen)",
  )
  add = functools.partial(parser.add, FOREIGN)
  add(
    "--margin",
    choices=get_args(MarginKind),
    metavar="KIND",
    help="what margins subtract from the label's logit: logsumexp of the others, or their max "
    "(default: what the layout is known for; arrays do not tell)",
  )
  add("--runs_first", action="store_true", help="rows are runs, although a matrix is square")
  add(
    "--labels",
    type=arguments.path,
    metavar="FILE",
    help="of lira: training labels (default: y_train.npy)",
  )
  add(
    "--num_train",
    type=int,
    metavar="N",
    help="of dattri: training examples, which its indices do not tell",
  )
  add(
    "--target",
    choices=get_args(Target),
    metavar="KIND",
    help=f"of dattri: what its target values are, {' or '.join(get_args(Target))} (default: "
    "minus_loss, as it stores them)",
  )


def asked_source(args: argparse.Namespace) -> Source:
  """Returns what the flags name.

  Raises:
    UsageError: flags are missing, or do not go with the layout.
  """
  paths = {name: getattr(args, name) for name in _ARRAYS if getattr(args, name) is not None}
  if args.layout == "arrays":
    _check_arrays(args, paths)
  elif paths:
    raise UsageError(
      f"--{next(iter(paths))} needs --from=arrays: --from={args.layout} has --source"
    )
  elif args.source is None:
    raise UsageError(f"--from={args.layout} needs --source, the directory that holds it")
  for name, layouts in _OF_LAYOUT.items():
    if getattr(args, name) is not None and args.layout not in layouts:
      raise UsageError(f"--{name} needs --from={' or '.join(layouts)}")
  if args.layout == "lira" and args.margin is not None:
    raise UsageError("--margin: scores of LiRA are by logsumexp; leave it out")
  if args.num_train is not None and args.num_train < 1:
    raise UsageError(f"--num_train={args.num_train}: there is at least one")
  if args.layout == "dattri" and args.num_train is None:
    raise UsageError(
      "--from=dattri needs --num_train: indices do not tell how many training examples there are"
    )
  return Source(
    layout=args.layout,
    directory=args.source,
    paths=paths,
    margin=args.margin,
    runs_first=args.runs_first,
    num_train=args.num_train,
    labels=args.labels,
    target=args.target or "minus_loss",
    subset_ratio=args.subset_ratio,
  )


def named_paths(args: argparse.Namespace) -> dict[str, str]:
  """Returns the paths of what is read, by flag."""
  names = ("source", "labels", *_ARRAYS)
  return {f"--{name}": getattr(args, name) for name in names if getattr(args, name) is not None}


def _check_arrays(args: argparse.Namespace, paths: dict[str, str]) -> None:
  if args.source is not None:
    raise UsageError("--from=arrays names each file by its flag, not a --source")
  if "masks" not in paths:
    raise UsageError("--from=arrays needs --masks: which examples each run saw")
  if len(paths) == 1:
    names = ", ".join(f"--{name}" for name in _ARRAYS[1:])
    raise UsageError(f"--from=arrays needs outcomes: one of {names}")
  if {"margins", "test_margins"} & paths.keys() and args.margin is None:
    raise UsageError(
      "--margin=logsumexp or --margin=max must say what was subtracted from the label's logit: the "
      "two look alike"
    )
