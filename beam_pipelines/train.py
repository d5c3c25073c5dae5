"""`heldout train`: trains subset runs and writes their run directories."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import sys
import textwrap
from collections.abc import Collection, Iterator, Sequence

import apache_beam as beam

import files
from beam_pipelines.launch import arguments, command, datasets
from beam_pipelines.launch.dataflow import add_gpu_flags
from beam_pipelines.launch.engines import prepare_job, print_plan
from beam_pipelines.launch.groups import OPTIMIZES, TRAINS, WRITES
from beam_pipelines.launch.job import Job
from beam_pipelines.launch.parser import Parser
from beam_pipelines.launch.progress import show_progress
from beam_pipelines.launch.terminal import ODD, paint
from beam_pipelines.storage.runs.experiment import Listing, RunDirectory, list_runs
from beam_pipelines.storage.runs.judgement import (
  DivergedRunError,
  UnusableRunError,
  fetch_many,
)
from beam_pipelines.storage.runs.notes import read_note
from beam_pipelines.storage.runs.run_place import RunKey
from beam_pipelines.transforms.train_runs import TrainingTask, TrainRuns
from files.errors import UsageError
from files.printable import printable
from image_datasets import Dataset, StreamedDataset
from models.architecture import Architecture
from models.hyper_parameters import SCHEDULES, HyperParameters
from models.precision import PRECISIONS
from models.registry import ModelError, model_names
from models.trainer import default_stack

TRAINING = "training.json"

_LARGEST = 2**32 - 1  # seed and run id, as random streams take them
_MOST_RUNS = 1_000_000
_SHOWN = 3


def run(argv: Sequence[str]) -> int:
  """Trains the runs that are asked for and not complete yet; returns the exit status."""
  args, options = make_parser().parse(argv)
  accelerator = prepare_job(args, options, {"--experiment": args.experiment})
  dataset = datasets.required_dataset(args)
  command.show_warnings(dataset.warnings)
  task = _task(args, dataset)
  _check_subsets(args.ratios, dataset)
  _check_crops(args, dataset)
  listing = list_runs(args.experiment)
  _check_training(task, listing)
  wanted = [RunKey(ratio, run) for ratio in args.ratios for run in args.runs]
  complete = listing.complete
  missing = [key for key in wanted if key not in complete]
  _check_places(args.experiment, missing, listing)
  plan = _plan(task, wanted, missing, dataset)
  if args.dry_run:
    print_plan(plan, options, accelerator)
    return 0
  print(plan)
  if not missing:
    return 0
  if not files.claim_json(files.join(args.experiment, TRAINING), _describe(task)):
    _check_training(task, listing)  # another command may have been quicker
  chunks = list(_chunks(missing, task.stack))

  def count() -> int:
    return len(_complete(args.experiment, missing))

  job = Job(options)
  with show_progress(count, len(missing), "run"), job as pipeline:
    _ = (
      pipeline
      | "Chunks of runs" >> beam.Create(chunks)
      | "One worker per chunk" >> beam.Reshuffle()
      | "Train runs" >> TrainRuns(task, accelerator)
    )
  if not job.template:
    _conclude(args.experiment, missing)
  return 0


def make_parser() -> Parser:
  """Returns the parser of the command's flags."""
  parser = Parser(
    "train",
    "Trains models on random subsets of a training set and writes one run directory each.\n"
    "Complete runs are kept, so that calling it again finishes what was interrupted.",
    "Example, 200 runs of the embedded digits:\n"
    "  heldout train --experiment=runs --dataset=digits --ratios=0.7 --runs=0:200",
    runs_jobs=True,
  )
  defaults = HyperParameters()
  datasets.add_flags(parser, "data set, such as digits or tfds:mnist", required=True)
  add = functools.partial(parser.add, TRAINS)
  add(
    "--model",
    default="mlp",
    metavar="NAME",
    suggestions=model_names(),
    help="architecture, such as mlp_small",
  )
  add(
    "--ratios",
    type=arguments.ratios,
    default=arguments.DEFAULT_RATIO,
    metavar="X,…",
    help="subset ratios, comma-separated",
  )
  add(
    "--runs",
    type=arguments.run_range,
    required=True,
    metavar="START:STOP",
    help="run ids at each ratio",
  )
  add("--seed", type=int, default=0, metavar="N", help="with ratio and run id it determines a run")
  add("--epochs", type=int, default=defaults.epochs, metavar="N", help="passes over the subset")
  add("--batch_size", type=int, default=defaults.batch_size, metavar="N", help="examples per step")
  add(
    "--learning_rate",
    type=float,
    default=defaults.learning_rate,
    metavar="X",
    help="(peak) learning rate",
  )
  add = functools.partial(parser.add, OPTIMIZES)
  add(
    "--schedule",
    choices=SCHEDULES,
    default=defaults.schedule,
    metavar="KIND",
    help=f"of the learning rate: {', '.join(SCHEDULES)}",
  )
  add("--momentum", type=float, default=defaults.momentum, metavar="X", help="of gradient descent")
  add("--weight_decay", type=float, default=defaults.weight_decay, metavar="X", help="L2 factor")
  add(
    "--crop",
    type=int,
    default=defaults.crop,
    metavar="PIXELS",
    help="random crops: of padding, 0 for none",
  )
  add("--flip", action="store_true", help="random horizontal flips")
  add(
    "--resized_crop",
    action="store_true",
    help="random crops of 0.08 to 1 of the area, resized, of a tfrecord: data set",
  )
  add(
    "--precision",
    choices=PRECISIONS,
    default=defaults.precision,
    metavar="DTYPE",
    help=f"of matrix products: {', '.join(PRECISIONS)}",
  )
  add(
    "--stack",
    type=int,
    metavar="N",
    help="runs trained in one graph (default: by model and data size)",
  )
  add = functools.partial(parser.add, WRITES)
  add(
    "--experiment",
    type=arguments.path,
    required=True,
    metavar="DIR",
    help="directory of run directories",
  )
  add("--no_margins", action="store_true", help="record only which examples are correct")
  add_gpu_flags(parser, "train")
  parser.add_dry_run()
  parser.appendices.append(
    f"Architectures:\n{textwrap.fill(', '.join(model_names()))};\n"
    "or package.module:Network of your own"
  )
  return parser


def _task(args: argparse.Namespace, dataset: Dataset) -> TrainingTask:
  fields = [field.name for field in dataclasses.fields(HyperParameters)]
  if args.stack is not None and args.stack < 1:
    raise UsageError(f"--stack={args.stack}: at least one run trains at a time")
  for name, number in (("seed", args.seed), ("runs", args.runs[-1])):
    if not 0 <= number <= _LARGEST:
      raise UsageError(f"--{name}: {number} is not in 0…{_LARGEST}")
  if len(args.runs) * len(args.ratios) > _MOST_RUNS:
    raise UsageError(
      f"--runs: {len(args.runs) * len(args.ratios):,} runs are more than the {_MOST_RUNS:,} that "
      "one call takes; give a part of the range"
    )
  try:
    hyper_parameters = HyperParameters(**{name: getattr(args, name) for name in fields})
  except ModelError as error:
    raise UsageError(str(error)) from error
  return TrainingTask(
    experiment=args.experiment,
    dataset=args.dataset,
    data_dir=args.data_dir,
    model=args.model,
    seed=args.seed,
    stack=_stack(args, dataset),
    hyper_parameters=hyper_parameters,
    margins=not args.no_margins,
  )


def _stack(args: argparse.Namespace, dataset: Dataset) -> int:
  if not isinstance(dataset, StreamedDataset):
    return args.stack or default_stack(_architecture(args.model, dataset))
  if args.stack not in (None, 1):
    raise UsageError(f"--stack={args.stack}: {args.dataset} is streamed, to one run at a time")
  return 1


def _architecture(model: str, dataset: Dataset) -> Architecture:
  return Architecture(model, dataset.num_classes, dataset.image_shape)


def _check_subsets(ratios: Sequence[float], dataset: Dataset) -> None:
  num_train = len(dataset.train)
  for ratio in ratios:
    if not 0 < round(ratio * num_train) < num_train:
      raise UsageError(
        f"--ratios: {ratio} of {num_train:,} training examples leaves one side empty"
      )


def _check_crops(args: argparse.Namespace, dataset: Dataset) -> None:
  crop = args.crop
  height, width, _ = dataset.image_shape
  crops_resized = isinstance(dataset, StreamedDataset) and dataset.crops_resized
  if args.resized_crop and not crops_resized:
    raise UsageError(
      f"--resized_crop: the images of {args.dataset} are all {height}×{width}: use --crop"
    )
  if crop and crops_resized:
    raise UsageError(
      f"--crop={crop}: the images of {args.dataset} have many sizes: use --resized_crop"
    )
  if crop >= min(height, width):
    raise UsageError(
      f"--crop={crop}: of images of {height}×{width} pixels, some crops would be all border; "
      f"choose less than {min(height, width)}"
    )


def _check_places(experiment: str, missing: Collection[RunKey], listing: Listing) -> None:
  """Makes sure that no run that is to be trained has something unreadable in its place."""
  directories = {printable(path) for key in missing for path in _places(experiment, key)}
  broken = [(entry.path, entry.reason) for entry in listing.skipped if entry.path in directories]
  wanted = set(missing)
  broken += [
    (files.join(run.path, file.name), file.problem)
    for run in listing.runs
    for file in run.files
    if file.problem and run.key in wanted
  ]
  if broken:
    path, problem = min(broken)
    raise UsageError(f"{path} {problem}: restore what it was, or remove it to train the run anew")


def _places(experiment: str, key: RunKey) -> tuple[str, str]:
  directory = key.directory(experiment)
  return directory, directory.rpartition("/")[0]


def _complete(experiment: str, keys: Collection[RunKey]) -> list[RunDirectory]:
  """Returns those of some runs that are complete, sorted."""
  asked = set(keys)
  return [run for run in list_runs(experiment).runs if run.complete and run.key in asked]


def _conclude(experiment: str, asked: Sequence[RunKey]) -> None:
  """Says what the job has trained, and what came of it.

  Raises:
    UsageError: not all that was to be trained is there.
  """
  trained = _complete(experiment, asked)
  if len(trained) < len(asked):
    first = min(set(asked) - {run.key for run in trained})
    raise UsageError(
      f"{experiment}: {len(asked) - len(trained):,} of {len(asked):,} runs are not there after "
      f"training, such as {first.directory(experiment)}: the same command trains them"
    )
  print(f"trained {len(trained):,} runs in {experiment}")
  diverged = _diverged_paths(trained)
  if diverged:
    shown = ", ".join(diverged[:_SHOWN]) + (", …" if len(diverged) > _SHOWN else "")
    word = paint("warning:", ODD, sys.stderr)
    print(
      f"heldout train: {word} {len(diverged):,} of {len(trained):,} runs have diverged, their "
      f"loss, weights or logits are not finite: {shown}; they are skipped when scoring; train with "
      "a smaller --learning_rate, into another directory",
      file=sys.stderr,
    )


def _describe(task: TrainingTask) -> dict[str, object]:
  """What makes runs of one experiment comparable: two calls must agree on it."""
  return {
    "dataset": task.dataset,
    "model": task.model,
    "seed": task.seed,
    **dataclasses.asdict(task.hyper_parameters),
  }


def _diverged_paths(runs: Sequence[RunDirectory]) -> list[str]:
  paths = []
  for run, fetched in fetch_many(runs):
    if isinstance(fetched, DivergedRunError):
      paths.append(run.path)
    elif isinstance(fetched, UnusableRunError):
      raise UsageError(f"{run.path} {fetched}") from fetched
  return paths


def _check_training(task: TrainingTask, listing: Listing) -> None:
  path = files.join(task.experiment, TRAINING)
  if not files.exists(path):
    if listing.keys:
      raise UsageError(
        f"--experiment={task.experiment} holds runs without {TRAINING}: they were trained "
        "elsewhere; choose another directory"
      )
    return
  now = _describe(task)
  kinds = {name: type(value) for name, value in now.items()}
  former = read_note(path, kinds, defaults={"resized_crop": False})  # it came later than the notes
  differing = [name for name in now if former[name] != now[name]]
  if differing:
    name = differing[0]
    raise UsageError(
      f"--experiment={task.experiment} was trained with --{name}={former[name]}, "
      f"not {now[name]}: use the same or another directory"
    )


def _plan(
  task: TrainingTask, wanted: Sequence[RunKey], missing: Sequence[RunKey], dataset: Dataset
) -> str:
  ratios = ", ".join(str(ratio) for ratio in sorted({key.subset_ratio for key in wanted}))
  parameters = _architecture(task.model, dataset).parameters
  num_examples = len(dataset.train) + len(dataset.test)
  run_bytes = 4 * parameters + (14 if task.margins else 10) * num_examples
  return (
    f"{len(wanted):,} runs of {task.model} ({parameters:,} variables) on {task.dataset} at ratios "
    f"{ratios}: {len(wanted) - len(missing):,} complete, {len(missing):,} to train, "
    f"about {len(missing) * run_bytes / 1e6:,.1f} MB, into {task.experiment}"
  )


def _chunks(keys: Sequence[RunKey], size: int) -> Iterator[tuple[RunKey, ...]]:
  for _, same_ratio in itertools.groupby(keys, key=lambda key: key.subset_ratio):
    remaining = list(same_ratio)
    for start in range(0, len(remaining), size):
      yield tuple(remaining[start : start + size])


if __name__ == "__main__":
  command.execute_module("train", run)
