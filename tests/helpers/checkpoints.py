"""Experiments with checkpoints of random weights, good ones and broken ones."""

import functools
from pathlib import Path

import numpy as np

from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.runs.run_place import RunKey
from image_datasets import load_dataset
from models import Architecture, CheckpointWriter, Evaluator
from tests.helpers.outcomes import write_experiment

DIGITS = load_dataset("digits")
NUM_TRAIN = len(DIGITS.train)


def draw_weights(seed, model="mlp", num_classes=10):
  """Draws weights whose predictions are no better than chance, and differ from seed to seed."""
  rng = np.random.default_rng(seed)
  specs = Architecture(model, num_classes, DIGITS.image_shape).specs
  return {
    key: np.asarray(0.1 * rng.standard_normal(spec.shape)).astype(spec.dtype)
    for key, spec in specs.items()
  }


def write_run(experiment, outcome, weights, loss=None, *, model="mlp", num_classes=10):
  """Writes a complete run directory and returns it."""
  write_experiment(experiment, [outcome], loss)
  directory = Path(outcome.key.directory(str(experiment)))
  _writer(model, num_classes).write(directory / "checkpoints", weights, epoch=3, global_step=30)
  return directory


def write_digits_experiment(experiment, runs, subset_ratio=0.7):
  """Writes runs of the MLP on the digits and returns their outcomes, one evaluated at a time."""
  outcomes = []
  for run in runs:
    weights = draw_weights(run)
    in_subset = np.random.default_rng(run).random(NUM_TRAIN) < subset_ratio
    correct = np.split(_evaluator().correct(weights), [NUM_TRAIN])
    outcome = RunOutcome.pack(RunKey(subset_ratio, run), in_subset, *correct)
    write_run(experiment, outcome, weights)
    outcomes.append(outcome)
  return outcomes


def write_broken_digits_runs(experiment, outcome, first_run):
  """Writes one unusable run of each kind; returns a part of each one's reason by directory."""
  reasons = {}

  def add(reason, damage=lambda directory: None, weights=None, loss=None, **architecture):
    key = RunKey(outcome.key.subset_ratio, first_run + len(reasons))
    moved = RunOutcome(key, *list(vars(outcome).values())[1:])
    weights = draw_weights(0, **architecture) if weights is None else weights
    directory = write_run(experiment, moved, weights, loss, **architecture)
    damage(directory)
    reasons[str(directory)] = reason

  index, data = (f"checkpoints/ckpt-3.{part}" for part in ("index", "data-00000-of-00001"))
  no_index = "has no checkpoint: there is no checkpoints/ckpt-<epoch>.index"
  unreadable = "checkpoints/ckpt-3: unreadable checkpoint: "
  add(no_index, lambda directory: (directory / index).unlink())
  add(no_index, lambda directory: [(directory / part).unlink() for part in (index, data)])
  add(
    "has 2 checkpoints, not one: ckpt-3, ckpt-4; --checkpoint=latest or --checkpoint=EPOCH chooses",
    lambda directory: (directory / "checkpoints" / "ckpt-4.index").touch(),
  )
  add(unreadable, lambda directory: _truncate(directory / index))
  add(unreadable, lambda directory: _truncate(directory / data))
  no_data = f"checkpoints/ckpt-3 is not whole: there is no {data}"
  add(no_data, lambda directory: (directory / data).unlink())
  add(
    "checkpoints/ckpt-3 is not whole: there is no checkpoints/ckpt-3.data-00001-of-00002",
    lambda directory: (directory / data).rename(
      directory / "checkpoints/ckpt-3.data-00000-of-00002"
    ),
  )
  add(
    "/ckpt-3: another architecture: there is no model/_mlp/_layers/0/w, float32 (64, 512)",
    model="small_inception",
  )
  add("model/_mlp/_layers/2/w is float32 (256, 7), not float32 (256, 10)", num_classes=7)
  infinite = draw_weights(0)
  infinite["model/_mlp/_layers/1/w"][3, 4] = np.nan
  add("checkpoints/ckpt-3: weights that are not finite in model/_mlp/_layers/1/w", weights=infinite)
  add(
    "has diverged in training: training_loss in aux_arrays.npz is nan",
    weights=infinite,
    loss=np.nan,
  )
  aux_arrays = "aux_arrays.npz"
  add("has no aux_arrays.npz", lambda directory: (directory / aux_arrays).unlink())
  add("aux_arrays.npz cannot be read as npz", lambda directory: _truncate(directory / aux_arrays))
  add(
    "aux_arrays.npz subsample_idx has 1437, which is not in 0…1436",
    lambda directory: np.savez(directory / aux_arrays, subsample_idx=np.array([2, 1437])),
  )
  return reasons


@functools.cache
def _writer(model, num_classes):
  return CheckpointWriter(Architecture(model, num_classes, DIGITS.image_shape))


@functools.cache
def _evaluator():
  return Evaluator(
    "mlp",
    DIGITS.all_examples.images,
    DIGITS.all_examples.labels,
    num_classes=DIGITS.num_classes,
    pixel_max=DIGITS.pixel_max,
  )


def _truncate(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
