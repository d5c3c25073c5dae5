"""Checkpoints brought to this machine, from any file system."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

import files
from beam_pipelines.storage.runs.experiment import RunDirectory
from beam_pipelines.storage.runs.judgement import (
  WantedCheckpoint,
  checkpoint_files,
  choose_checkpoint,
  fetch_arrays,
  read_subset,
)
from beam_pipelines.storage.runs.run_place import AUX_ARRAYS, CHECKPOINTS
from files import scratch
from models.checkpoint import read_weights
from models.weights import CheckpointError, VariableSpec, Weights


class FetchedRun(NamedTuple):
  """What is needed of a run to evaluate it.

  Attributes:
    in_subset: bool [num_train], the training examples that the run saw.
    weights: the variables of its checkpoint.
    bytes: how much was read.
    seconds: how long it took.
  """

  in_subset: np.ndarray
  weights: Weights
  bytes: int
  seconds: float


def fetch_run(
  run: RunDirectory,
  num_train: int,
  specs: Mapping[str, VariableSpec],
  wanted: WantedCheckpoint = None,
) -> FetchedRun:
  """Reads the subset and the checkpoint of a run; leaves no files behind.

  TensorFlow reads checkpoints from local disks only, so the files are copied to a temporary
  directory first, wherever they are.

  Args:
    run: the run.
    num_train: training examples of the data set.
    specs: what the checkpoint must hold, from `Architecture.specs`.
    wanted: which checkpoint, where the run may have several.

  Raises:
    UnusableRunError: it is not known which examples the run saw, the run has diverged, or the
      checkpoint is not there, not whole, or one of several.
    CheckpointError: the checkpoint cannot be read, is of another architecture, or has weights that
      are not finite.
  """
  started = time.perf_counter()
  in_subset = read_subset(fetch_arrays(run), num_train)
  name = choose_checkpoint(run, wanted)
  checkpoint = checkpoint_files(run, name)
  with scratch.local_directory() as directory:
    for file in checkpoint:
      (directory / Path(file.name).name).write_bytes(_read(run, file.name))
    try:
      weights = read_weights(directory / name, specs)
    except CheckpointError as error:
      reason = str(error).replace(f"{directory}/", f"{CHECKPOINTS}/")
      raise CheckpointError(reason) from error
  read = sum(file.size for file in run.files if file.name == AUX_ARRAYS or file in checkpoint)
  return FetchedRun(in_subset, weights, read, time.perf_counter() - started)


def _read(run: RunDirectory, name: str) -> bytes:
  try:
    return files.read_bytes(files.join(run.path, name))
  except OSError as error:
    raise CheckpointError(f"{name} cannot be read: {error}") from error
