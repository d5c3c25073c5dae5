"""What the commands that evaluate checkpoints share: their flags, and progress."""

from __future__ import annotations

import argparse
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from beam_pipelines.errors import UsageError
from beam_pipelines.progress import show_progress
from beam_pipelines.storage import files
from image_datasets import ImageDataset

if TYPE_CHECKING:
  from beam_pipelines.transforms.evaluate_checkpoints import EvaluateCheckpoints


def add_flags(parser: argparse.ArgumentParser, *, model_required: bool = False) -> None:
  """Adds the flags that say how checkpoints are evaluated."""
  add = parser.add_argument
  add("--model", required=model_required, help="architecture of the checkpoints")
  add("--batch_size", type=int, help="most images in one forward pass (default: by device)")
  add("--precision", choices=("float32", "bfloat16"), default="float32", help="of forward passes")
  add("--xla", action="store_true", help="compile forward passes with XLA")
  add(
    "--accelerator",
    help="resource hint of the evaluation alone, "
    "such as type:nvidia-l4;count:1;install-nvidia-driver",
  )


@contextmanager
def scratch_directory(options: PipelineOptions) -> Iterator[str]:
  """Yields a directory for workers to write to, in Beam's --temp_location; it is gone afterwards.

  Without --temp_location it is a local one, which serves workers on this machine.
  """
  location = options.view_as(GoogleCloudOptions).temp_location or tempfile.gettempdir()
  directory = files.join(location, f"heldout-{uuid.uuid4().hex}")
  try:
    yield directory
  finally:
    files.delete_directory(directory)


@contextmanager
def evaluating(
  args: argparse.Namespace, dataset: ImageDataset | None, options: PipelineOptions, num_runs: int
) -> Iterator[EvaluateCheckpoints]:
  """Yields the transform that the flags ask for; the body runs it, and progress is shown.

  Raises:
    UsageError: there is no data set or architecture, or they do not go together.
  """
  if dataset is None or args.model is None:
    raise UsageError("evaluating checkpoints needs --dataset and --model")
  if args.batch_size is not None and args.batch_size < 1:
    raise UsageError(f"--batch_size={args.batch_size}: at least one image is in a batch")
  # TensorFlow is imported by whoever evaluates, and by nobody else.
  from beam_pipelines.transforms.evaluate_checkpoints import EvaluateCheckpoints, Evaluation
  from models import ModelError, variable_specs

  try:
    variable_specs(args.model, dataset.num_classes, dataset.image_shape)
  except ModelError as error:
    raise UsageError(f"--model={args.model}: {error}") from error
  evaluation = Evaluation(
    args.dataset, args.data_dir, args.model, args.precision, args.xla, args.batch_size
  )
  with scratch_directory(options) as scratch:
    evaluated = files.join(scratch, "evaluated")
    with show_progress(lambda: len(files.list_files(evaluated)), num_runs, "checkpoint"):
      shown = evaluated if sys.stderr.isatty() else None
      yield EvaluateCheckpoints(evaluation, args.accelerator, shown)
