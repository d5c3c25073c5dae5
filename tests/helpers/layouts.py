"""Other tools' layouts, written to the letter from outcomes that are known."""

import json
from pathlib import Path

import numpy as np

from beam_pipelines.storage.runs.experiment import list_runs
from beam_pipelines.storage.runs.judgement import read_packed


def stack(outcomes):
  """Returns masks, correctness of training and of test examples, bool [runs, examples] each."""
  return [np.array(rows) for rows in zip(*(outcome.unpack() for outcome in outcomes), strict=True)]


def stack_margins(outcomes):
  """Returns margins of training and of test examples, float32 [runs, examples] each."""
  return [np.array(rows) for rows in zip(*(each.margins for each in outcomes), strict=True)]


def read_experiment(experiment, **options):
  """Returns all packed outcomes of an experiment, by run."""
  listing = list_runs(str(experiment))
  assert listing.skipped == ()
  return [found for part in listing.packed for _, found in read_packed(part, **options)]


def write_lira(directory, outcomes, labels, classes=10, *, logits=True, scores=True, seed=0):
  """Writes models as research/mi_lira_2021 does; returns the logits, [runs, n, 2, classes]."""
  directory = Path(directory)
  directory.mkdir(parents=True, exist_ok=True)
  np.save(directory / "x_train.npy", np.zeros((len(labels), 2, 2, 1), np.uint8))
  np.save(directory / "y_train.npy", labels)
  rng = np.random.default_rng(seed)
  everything = []
  for row, outcome in enumerate(outcomes):
    in_subset, correct, _ = outcome.unpack()
    model = directory / f"experiment-{row}_{len(outcomes)}"
    model.mkdir()
    (model / "hparams.json").write_text(json.dumps({"batch": 256}))
    np.save(model / "keep.npy", in_subset)
    (model / "ckpt").mkdir()
    np.savez(model / "ckpt" / f"{100:010d}.npz", w=np.zeros(3))
    values = rng.normal(size=(len(labels), 1, 2, classes))
    shown = np.where(correct, labels, (labels + 1) % classes)
    values[np.arange(len(labels)), :, :, shown] += 20
    everything.append(values)
    for epoch, content in ((50, values[::-1]), (100, values)):
      for kind, wanted in (("logits", logits), ("scores", scores)):
        if wanted:
          (model / kind).mkdir(exist_ok=True)
          kept = content if kind == "logits" else phi(content, labels)
          np.save(model / kind / f"{epoch:010d}.npy", kept)
  return np.array(everything)[:, :, 0]


def write_lira_pytorch(directory, outcomes, labels, classes=10, seed=0):
  """Writes models as lira-pytorch does: one directory each, without labels."""
  rng = np.random.default_rng(seed)
  for row, outcome in enumerate(outcomes):
    in_subset, correct, _ = outcome.unpack()
    model = Path(directory) / str(row)
    model.mkdir(parents=True)
    logits = rng.normal(size=(len(labels), 2, classes)).astype(np.float32)
    logits[np.arange(len(labels)), :, np.where(correct, labels, (labels + 1) % classes)] += 20
    np.save(model / "keep.npy", in_subset)
    np.save(model / "logits.npy", logits)
    np.save(model / "scores.npy", phi(logits[:, None], labels))


def phi(logits, labels):
  """LiRA's scores, float64 [n, augmentations], of logits [n, 1, augmentations, classes]."""
  predictions = logits - logits.max(axis=3, keepdims=True)
  predictions = np.exp(predictions, dtype=np.float64)
  predictions /= predictions.sum(axis=3, keepdims=True)
  rows = np.arange(len(labels))
  of_label = predictions[rows, :, :, labels]
  predictions[rows, :, :, labels] = 0
  return (np.log(of_label + 1e-45) - np.log(predictions.sum(axis=3) + 1e-45))[:, 0]


def write_datamodels(directory, outcomes, *, completed=None, train=False):
  """Writes a datamodels store of memmaps: float16 margins by max, `_completed` 0 or 1."""
  masks, *_ = stack(outcomes)
  of_train, of_test = stack_margins(outcomes)
  done = np.ones(len(masks), bool) if completed is None else completed
  directory = Path(directory)
  directory.mkdir(parents=True)
  _write_memmap(directory / "_completed.npy", done.astype(np.int32))
  _write_memmap(directory / "masks.npy", masks)
  _write_memmap(directory / "margins.npy", of_test.astype(np.float16))
  if train:
    _write_memmap(directory / "train_margins.npy", of_train.astype(np.float16))


def write_released_datamodels(directory, outcomes, percent):
  """Writes the released arrays of datamodels."""
  masks, *_ = stack(outcomes)
  of_train, of_test = stack_margins(outcomes)
  directory = Path(directory)
  directory.mkdir(parents=True, exist_ok=True)
  np.save(directory / f"train_masks_{percent}pct.npy", masks)
  np.save(directory / f"train_margins_{percent}pct.npy", of_train.astype(np.float16))
  np.save(directory / f"test_margins_{percent}pct.npy", of_test.astype(np.float16))
  np.save(directory / f"test_logits_{percent}pct.npy", np.zeros((len(masks), 3, 10), np.float16))


def write_trak(directory, outcomes):
  """Writes the ground truth of TRAK's evaluation."""
  masks, *_ = stack(outcomes)
  directory = Path(directory)
  directory.mkdir(parents=True)
  np.save(directory / "mask.npy", masks)
  np.save(directory / "val_margins.npy", stack_margins(outcomes)[1])


def write_dattri(directory, outcomes):
  """Writes dattri's ground truth, indices of subsets of equal size and minus the test losses."""
  masks, *_ = stack(outcomes)
  margins = stack_margins(outcomes)[1].astype(np.float64)
  directory = Path(directory)
  directory.mkdir(parents=True)
  np.save(directory / "indices.npy", np.array([np.flatnonzero(mask) for mask in masks]))
  np.save(directory / "target_values.npy", -np.logaddexp(0, -margins))


def _write_memmap(path, values):
  written = np.lib.format.open_memmap(path, "w+", values.dtype, values.shape)
  written[:] = values
  written.flush()
