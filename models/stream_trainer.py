"""Trains runs on examples that are read when their turn comes, one run at a time."""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

from models.architecture import Architecture
from models.augmentation import augment, crop_seeds, epoch_augmentations
from models.hyper_parameters import HyperParameters
from models.registry import ModelError
from models.run_seed import RunSeed
from models.trained_run import TrainedRun
from models.training_step import TrainingStep, training_loss

OrderedBatches = Callable[
  [int, np.ndarray, np.ndarray | None], Iterable[tuple[np.ndarray, np.ndarray]]
]
"""From a batch size, an order int64 [m] and seeds of random crops, int32 [m, 2] or None, to
batches: examples int64 [b], in that order, and float32 images as the model sees them."""


class StreamTrainer:
  """Trains runs of one architecture on one training set that is streamed.

  A run's subset, initial weights, batch order and augmentation follow from the seed, its subset
  ratio and its id, exactly as those of `Trainer`. Images are decoded in parallel while the step
  before runs. On a given machine a run's weights are the same bits whatever is trained before it.

  Args:
    model_name: one of `model_names()`.
    batches: reads examples in an order that is asked for.
    labels: integers [examples], from 0 to num_classes - 1.
    num_classes: width of the logits.
    image_shape: of what the model sees.
    hyper_parameters: of every run.
    seed: of the experiment.

  Raises:
    ModelError: if an argument makes no sense.
  """

  def __init__(
    self,
    model_name: str,
    batches: OrderedBatches,
    labels: np.ndarray,
    *,
    num_classes: int,
    image_shape: tuple[int, int, int],
    hyper_parameters: HyperParameters,
    seed: int,
  ):
    self._batches = batches
    self._labels = labels.astype(np.int32)
    self._hyper_parameters = hyper_parameters
    self._seed = seed
    architecture = Architecture(model_name, num_classes, image_shape)
    self._step = TrainingStep(architecture, 1, hyper_parameters)
    # The last batch of an epoch has another size, and only that.
    self._train_batch = tf.function(
      self._augment_and_step,
      autograph=False,
      input_signature=[
        tf.TensorSpec((None, *image_shape), tf.float32),
        tf.TensorSpec((None,), tf.int32),
        tf.TensorSpec((None, 3), tf.int32),
        tf.TensorSpec((), tf.float32),
      ],
    )

  def train(self, runs: Sequence[tuple[float, int]]) -> list[TrainedRun]:
    """Trains runs, one after the other.

    Args:
      runs: (subset ratio, run id) of each.

    Raises:
      ModelError: if a ratio or id is out of range.
    """
    return [self._train_run(RunSeed(self._seed, ratio, run)) for ratio, run in runs]

  def _train_run(self, run: RunSeed) -> TrainedRun:
    hyper_parameters = self._hyper_parameters
    subset = run.subset(len(self._labels))
    self._step.start([run])
    steps = math.ceil(len(subset) / hyper_parameters.batch_size)
    rates = hyper_parameters.learning_rates(hyper_parameters.epochs * steps)
    orders = run.epoch_orders(subset)
    crops = crop_seeds(run, len(subset)) if hyper_parameters.resized_crop else None
    augmentations = epoch_augmentations(
      run, len(subset), hyper_parameters.crop, hyper_parameters.flip
    )
    loss = math.nan
    for epoch_rates in np.split(rates, hyper_parameters.epochs):
      order, choices = next(orders), next(augmentations)
      losses, start = 0.0, 0
      batches = self._batches(
        hyper_parameters.batch_size, order, None if crops is None else next(crops)
      )
      for (examples, images), rate in zip(batches, epoch_rates, strict=True):
        stop = start + len(examples)
        sums = self._train_batch(images, self._labels[examples], choices[start:stop], rate)
        losses += float(sums[0])
        start = stop
      if start != len(subset):
        raise ModelError(f"an epoch had {start:,} of {len(subset):,} examples")
      loss = losses / len(subset)
    (weights,) = self._step.read()
    return TrainedRun(
      run.subset_ratio, run.run, subset, weights, len(rates), training_loss(loss, weights)
    )

  def _augment_and_step(
    self, images: tf.Tensor, labels: tf.Tensor, choices: tf.Tensor, rate: tf.Tensor
  ) -> tf.Tensor:
    if self._hyper_parameters.augments:
      images = augment(images, choices, self._hyper_parameters.crop)
    return self._step(images[tf.newaxis], labels[tf.newaxis], rate)
