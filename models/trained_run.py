"""What comes out of training."""

import dataclasses

import numpy as np

from models.weights import Weights


@dataclasses.dataclass(frozen=True)
class TrainedRun:
  """A trained model.

  Attributes:
    subset_ratio: share of the training set that the run saw.
    run: its id.
    subset: the examples that it saw, sorted, int64 [round(subset_ratio · examples)].
    weights: arrays by checkpoint key.
    global_step: steps taken.
    training_loss: mean cross-entropy in nats over the last epoch's examples, each before its step;
      NaN if any of `weights` is not finite. A run whose training loss is not finite has diverged.
  """

  subset_ratio: float
  run: int
  subset: np.ndarray
  weights: Weights
  global_step: int
  training_loss: float
