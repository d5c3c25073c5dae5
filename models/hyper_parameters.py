"""What a training is told besides its data, model and seed."""

import dataclasses
import math

import numpy as np

from models.precision import PRECISIONS
from models.registry import ModelError

SCHEDULES = ("constant", "linear", "cosine")


_MOST = 2**31 - 1  # as graphs count


@dataclasses.dataclass(frozen=True)
class HyperParameters:
  """Hyper-parameters of momentum SGD; the defaults are those of the MNIST demonstration.

  Example:
    >>> HyperParameters(schedule="linear", learning_rate=0.4).learning_rates(4).tolist()
    [0.4000000059604645, 0.30000001192092896, 0.20000000298023224, 0.10000000149011612]

  Args:
    epochs: passes over the subset.
    batch_size: examples per step; the last batch of an epoch may have fewer.
    learning_rate: of the first step.
    schedule: the learning rate stays "constant", or falls to 0 along a line ("linear") or half a
      cosine wave ("cosine", Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts).
    momentum: of the update `m ← momentum · m + gradient; w ← w − learning_rate · m`.
    weight_decay: multiple of the weights that is added to the gradient of matrices and
      convolution kernels; biases and batch normalisation do not decay.
    crop: pixels of black border from which each image is cropped at random; 0 crops nothing.
    flip: mirrors each image left to right with probability ½.
    resized_crop: crops a random window of 0.08 to 1 of each image's area and an aspect of 3/4 to
      4/3 while it is decoded, and resizes it; only of images that are streamed, of many sizes.
    precision: of matrix products and convolutions; weights and updates are always float32.

  Raises:
    ModelError: if a value makes no sense.
  """

  epochs: int = 10
  batch_size: int = 128
  learning_rate: float = 0.1
  schedule: str = "constant"
  momentum: float = 0.9
  weight_decay: float = 0.0
  crop: int = 0
  flip: bool = False
  resized_crop: bool = False
  precision: str = "float32"

  def __post_init__(self) -> None:
    self._require("epochs", 1 <= self.epochs <= _MOST, f"in 1…{_MOST}")
    self._require("batch_size", 1 <= self.batch_size <= _MOST, f"in 1…{_MOST}")
    self._require("learning_rate", 0 < self.learning_rate < math.inf, "positive and finite")
    self._require("schedule", self.schedule in SCHEDULES, "one of " + ", ".join(SCHEDULES))
    self._require("momentum", 0 <= self.momentum < 1, "at least 0 and below 1")
    self._require("weight_decay", 0 <= self.weight_decay < math.inf, "at least 0 and finite")
    self._require("crop", self.crop >= 0, "at least 0")
    self._require("precision", self.precision in PRECISIONS, "one of " + ", ".join(PRECISIONS))

  def _require(self, field: str, holds: bool, rule: str) -> None:
    if not holds:
      raise ModelError(f"hyper-parameter {field} is {getattr(self, field)!r}: it must be {rule}")

  @property
  def augments(self) -> bool:
    """Whether images are changed at all."""
    return self.flip or self.crop > 0

  def learning_rates(self, steps: int) -> np.ndarray:
    """Returns the learning rate of each of a training's `steps` steps, float32 [steps]."""
    progress = np.arange(steps) / steps
    match self.schedule:
      case "linear":
        factor = 1 - progress
      case "cosine":
        factor = (1 + np.cos(np.pi * progress)) / 2
      case _:
        factor = np.ones(steps)
    return (self.learning_rate * factor).astype(np.float32)
