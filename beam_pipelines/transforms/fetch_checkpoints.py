"""Checkpoints brought to this machine, from any file system."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

import files
from beam_pipelines.storage.runs import aux_arrays
from beam_pipelines.storage.runs.experiment import AUX_ARRAYS, CHECKPOINTS, RunDirectory
from models.checkpoint import read_weights
from models.weights import CheckpointError, VariableSpec, Weights


class FetchedRun(NamedTuple):
  """What is needed of a run to evaluate it.

  Attributes:
    in_subset: bool [num_train], the training examples that the run saw.
    weights: the variables of its one checkpoint.
    bytes: how much was read.
    seconds: how long it took.
  """

  in_subset: np.ndarray
  weights: Weights
  bytes: int
  seconds: float


def fetch_run(run: RunDirectory, num_train: int, specs: Mapping[str, VariableSpec]) -> FetchedRun:
  """Reads the subset and the checkpoint of a run; leaves no files behind.

  TensorFlow reads checkpoints from local disks only, so the files are copied to a temporary
  directory first, wherever they are.

  Args:
    run: the run.
    num_train: training examples of the data set.
    specs: what the checkpoint must hold, from `Architecture.specs`.

  Raises:
    AuxArraysError: it is not known which examples the run saw.
    CheckpointError: the run has no checkpoint or several, or its checkpoint cannot be read, is of
      another architecture, or has weights that are not finite.
  """
  started = time.perf_counter()
  name = _only_checkpoint(run)
  in_subset = aux_arrays.read_subset(run, num_train)
  checkpoint = [file for file in run.files if file.name.startswith(f"{CHECKPOINTS}/{name}.")]
  with tempfile.TemporaryDirectory(prefix="heldout-") as directory:
    for file in checkpoint:
      (Path(directory) / Path(file.name).name).write_bytes(_read(run, file.name))
    try:
      weights = read_weights(Path(directory) / name, specs)
    except CheckpointError as error:
      reason = str(error).replace(f"{directory}/", f"{CHECKPOINTS}/")
      raise CheckpointError(reason) from error
  read = sum(file.size for file in run.files if file.name == AUX_ARRAYS or file in checkpoint)
  return FetchedRun(in_subset, weights, read, time.perf_counter() - started)


def _only_checkpoint(run: RunDirectory) -> str:
  names = run.checkpoint_names
  if not names:
    raise CheckpointError(f"has no checkpoint: there is no {CHECKPOINTS}/ckpt-<epoch>.index")
  if len(names) > 1:
    raise CheckpointError(f"has {len(names)} checkpoints, not one: {', '.join(names)}")
  return names[0]


def _read(run: RunDirectory, name: str) -> bytes:
  try:
    return files.read_bytes(files.join(run.path, name))
  except OSError as error:
    raise CheckpointError(f"{name} cannot be read: {error}") from error
