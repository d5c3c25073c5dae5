"""From what a model predicts to the outcome of its run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from beam_pipelines.storage.runs.judgement import UnusableRunError
from beam_pipelines.storage.runs.outcome import Margins, RunOutcome
from beam_pipelines.storage.runs.run_place import RunKey

if TYPE_CHECKING:
  from models.evaluator import Predictions


def pack_outcome(key: RunKey, in_subset: np.ndarray, predictions: Predictions) -> RunOutcome:
  """Returns the outcome of a run.

  Args:
    key: the run.
    in_subset: bool [num_train], the training examples that it saw.
    predictions: of the training examples, and behind them the test examples.
  """
  num_train = len(in_subset)
  train_correct, test_correct = np.split(predictions.correct, [num_train])
  margins = predictions.margins
  of_sets = None if margins is None else Margins(*np.split(margins, [num_train]))
  return RunOutcome.pack(key, in_subset, train_correct, test_correct, of_sets)


def require_finite(predictions: Predictions) -> Predictions:
  """Returns predictions that come from numbers.

  Raises:
    UnusableRunError: the logits of some example are none.
  """
  if not predictions.finite:
    raise UnusableRunError("has a network whose logits are not finite on some examples")
  return predictions
