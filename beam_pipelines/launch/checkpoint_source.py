"""What the commands that evaluate checkpoints share: their flags, and progress."""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from apache_beam.options.pipeline_options import (
  DirectOptions,
  GoogleCloudOptions,
  PipelineOptions,
)

import files
from beam_pipelines.launch import command, dataflow
from beam_pipelines.launch.groups import EVALUATES, READS
from beam_pipelines.launch.parser import Parser
from beam_pipelines.launch.progress import show_progress
from beam_pipelines.storage.runs.judgement import WantedCheckpoint
from files import scratch
from files.errors import UsageError
from image_datasets import Dataset, StreamedDataset

if TYPE_CHECKING:
  from beam_pipelines.transforms.evaluate_checkpoints import EvaluateCheckpoints, Evaluation
  from models import VariableSpec


# Known without the list of all, which comes with TensorFlow.
_DEFAULT_PRECISION = "float32"

# Of a worker on another machine, of which nobody has said more.
_UNKNOWN_MEMORY = 4 * 10**9


_MOST_IMAGES = 2**31 - 1  # as graphs count


def add_flags(parser: Parser, *, model_required: bool = False) -> None:
  """Adds the flags that say how checkpoints are evaluated."""
  add_model(parser, "architecture of the checkpoints", required=model_required)
  add = functools.partial(parser.add, EVALUATES)
  add_checkpoint_flag(parser)
  add("--batch_size", type=int, metavar="N", help="images in a forward pass (default: by device)")
  add(
    "--precision",
    type=_precision,
    default=_DEFAULT_PRECISION,
    metavar="DTYPE",
    help="of forward passes, such as bfloat16",
  )
  add("--xla", action="store_true", help="compile forward passes with XLA")
  add(
    "--resident",
    type=int,
    metavar="N",
    help="checkpoints that share a pass over a streamed data set (default: as many as a quarter of "
    "the device's memory holds)",
  )
  dataflow.add_gpu_flags(parser, "evaluate")


def add_model(parser: Parser, what: str, *, required: bool = False) -> None:
  """Adds the flag that names an architecture."""
  parser.add(READS, "--model", required=required, metavar="NAME", help=what)


def add_checkpoint_flag(parser: Parser) -> None:
  """Adds the flag that chooses one of a run's checkpoints."""
  parser.add(
    EVALUATES,
    "--checkpoint",
    type=_wanted_checkpoint,
    metavar="WHICH",
    suggestions=["latest"],
    help="latest, or an EPOCH, of runs with several checkpoints (default: such runs are skipped)",
  )


def _precision(text: str) -> str:
  if text != _DEFAULT_PRECISION:
    from models.precision import PRECISIONS

    if text not in PRECISIONS:
      raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(PRECISIONS)}")
  return text


def refuse_flags(args: argparse.Namespace) -> None:
  """Makes sure that no flag asks for an evaluation where recorded outcomes are read as they are.

  Raises:
    UsageError: one does.
  """
  defaults = {"precision": _DEFAULT_PRECISION, "xla": False}
  for name in ("model", "gpu", "checkpoint", "batch_size", "resident", *defaults):
    if getattr(args, name) != defaults.get(name):
      raise UsageError(
        f"--{name} needs --source=checkpoints: recorded outcomes are read as they are"
      )


@contextmanager
def scratch_directory(options: PipelineOptions) -> Iterator[str]:
  """Yields a directory for workers to write to, in Beam's --temp_location; it is gone afterwards.

  Without --temp_location it is a local one, which serves workers on this machine.
  """
  location = options.view_as(GoogleCloudOptions).temp_location or tempfile.gettempdir()
  directory = files.join(location, scratch.new_name())
  try:
    yield directory
  finally:
    files.delete_directory(directory)


def asked_evaluation(
  args: argparse.Namespace,
  options: PipelineOptions,
  dataset: Dataset | None,
  *,
  with_margins: bool = False,
) -> Evaluation:
  """Returns the evaluation that the flags ask for.

  Args:
    args: those of `add_flags` and of the data set.
    options: those of the job, which say where it evaluates.
    dataset: the data set, if there is one.
    with_margins: whether margins are needed, too.

  Raises:
    UsageError: there is no data set or architecture, or they do not go together.
  """
  if dataset is None or args.model is None:
    raise UsageError("evaluating checkpoints needs --dataset and --model")
  if args.batch_size is not None and not 1 <= args.batch_size <= _MOST_IMAGES:
    raise UsageError(f"--batch_size={args.batch_size}: 1 to {_MOST_IMAGES} images are in a batch")
  describe_weights(args.model, dataset)
  from beam_pipelines.transforms.evaluate_checkpoints import Evaluation

  return Evaluation(
    args.dataset,
    args.data_dir,
    args.model,
    args.precision,
    args.xla,
    args.batch_size,
    args.checkpoint,
    resident=_resident(args, options, dataset),
    margins=with_margins,
  )


def _resident(args: argparse.Namespace, options: PipelineOptions, dataset: Dataset) -> int | None:
  """Returns how many checkpoints share a pass; None for a data set in memory."""
  if not isinstance(dataset, StreamedDataset):
    if args.resident is not None:
      raise UsageError(
        f"--resident={args.resident}: {args.dataset} is held in memory, not streamed"
      )
    return None
  if args.resident is not None:
    if args.resident < 1:
      raise UsageError(f"--resident={args.resident}: at least one checkpoint is in a pass")
    return args.resident
  from models import Architecture, default_resident

  architecture = Architecture(args.model, dataset.num_classes, dataset.image_shape)
  return default_resident(architecture, _evaluating_memory(args, options))


def _evaluating_memory(args: argparse.Namespace, options: PipelineOptions) -> int:
  """Returns the bytes that a process which evaluates has on its device."""
  if args.gpu:
    return args.gpu.gigabytes * 10**9
  if not command.is_in_process(options):
    return _UNKNOWN_MEMORY
  from models import device_memory

  direct = options.view_as(DirectOptions)
  processes = direct.direct_num_workers or os.cpu_count() or 1
  if direct.direct_running_mode != "multi_processing":
    processes = 1
  return device_memory() // processes


def describe_weights(model: str, dataset: Dataset) -> Mapping[str, VariableSpec]:
  """Returns what checkpoints of an architecture for a data set hold, by key.

  Raises:
    UsageError: there is no such architecture, or it does not go with the data set.
  """
  # TensorFlow is imported by whoever evaluates, and by nobody else.
  from models import Architecture, ModelError

  try:
    return Architecture(model, dataset.num_classes, dataset.image_shape).specs
  except ModelError as error:
    raise UsageError(f"--model={model}: {error}") from error


@contextmanager
def evaluating(
  evaluation: Evaluation, accelerator: str | None, options: PipelineOptions, num_runs: int
) -> Iterator[EvaluateCheckpoints]:
  """Yields the transform that evaluates; the body runs it, and progress is shown.

  Args:
    evaluation: from `asked_evaluation`.
    accelerator: Beam's resource hint for it, or None.
    options: those of the pipeline that the body runs.
    num_runs: how many runs it evaluates.
  """
  from beam_pipelines.transforms.evaluate_checkpoints import EvaluateCheckpoints

  with scratch_directory(options) as scratch:
    evaluated = files.join(scratch, "evaluated")
    with show_progress(lambda: len(files.list_files(evaluated)), num_runs, "checkpoint"):
      shown = evaluated if sys.stderr.isatty() else None
      yield EvaluateCheckpoints(evaluation, accelerator, shown)


def _wanted_checkpoint(text: str) -> WantedCheckpoint:
  if text == "latest":
    return "latest"
  if not text.isdecimal():
    raise argparse.ArgumentTypeError(f"{text!r} is no checkpoint: write latest, or an epoch")
  return int(text)
