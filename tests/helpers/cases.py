"""Broken recorded outcomes: one directory for each way in which a run can be unusable."""

import io
from pathlib import Path

import numpy as np

from beam_pipelines.storage.runs import aux_arrays
from tests.helpers.outcomes import make_outcomes


def write_broken_runs(experiment, first_run, subset_ratio=0.5):
  """Writes one broken run of each kind; returns a part of each one's reason by directory."""
  reasons = {}
  for run, (damage, reason) in enumerate(_KINDS, start=first_run):
    (outcome,) = make_outcomes(subset_ratio, [run])
    directory = Path(experiment) / str(subset_ratio) / str(run)
    directory.mkdir(parents=True)
    content = damage(aux_arrays.encode(outcome))
    if content is not None:
      (directory / "aux_arrays.npz").write_bytes(content)
    else:
      (directory / "unfinished").touch()
    reasons[str(directory)] = reason
  return reasons


def _changed(name, change):
  def damage(content):
    with np.load(io.BytesIO(content)) as archive:
      arrays = dict(archive)
    arrays[name] = change(arrays[name])
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()

  return damage


def _replace_first(value):
  return lambda array: np.concatenate([[value], array[1:]])


_KINDS = [
  (lambda content: content[: len(content) // 2], "cannot be read as npz"),
  (lambda content: None, "has no aux_arrays.npz"),
  (_changed("correctness_test", lambda array: array[:-1]), "they must agree"),
  (_changed("index_test", _replace_first(11)), "index_test has 11, which is not in 0…10"),
  (
    _changed("index_train", lambda array: np.concatenate([array[:1], array[:1], array[2:]])),
    "twice",
  ),
  (_changed("correctness_removed", _replace_first(2)), "holds values other than 0 and 1"),
  (_changed("subsample_idx", lambda array: array[1:]), "are different sets"),
  (_changed("index_test", lambda array: array.astype(object)), "cannot be read as npz"),
]
