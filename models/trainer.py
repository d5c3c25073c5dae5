"""Trains runs, each on its own random subset of one training set."""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from models.architecture import Architecture
from models.augmentation import augment, epoch_augmentations
from models.hyper_parameters import HyperParameters
from models.registry import ModelError, build_model
from models.run_seed import RunSeed
from models.stackable import Stackable
from models.trained_run import TrainedRun
from models.training_step import TrainingStep, training_loss

# Stacking amortises dispatch until the stack's weights, momenta and gradients outgrow the caches.
_STACK_PARAMETERS = 2**21


def default_stack(architecture: Architecture) -> int:
  """Returns how many runs of an architecture train best side by side, a power of two.

  Only what is `Stackable` stacks.

  Raises:
    ModelError: if the architecture does not exist or its number of classes is below 2.
  """
  if not isinstance(build_model(architecture.name, architecture.num_classes), Stackable):
    return 1
  return 2 ** max(0, round(math.log2(_STACK_PARAMETERS / architecture.parameters)))


class Trainer:
  """Trains runs of one architecture on one data set, `stack` of them in one graph.

  The graph is traced once, at the first call of `train`; it runs a whole epoch per call, whatever
  the subset ratio, on pixels that stay uint8 in memory. A run's subset, initial weights, batch
  order and augmentation follow from the seed, its subset ratio and its id. For a given stack size
  on a given machine its weights are the same bits wherever it stands in the stack and whatever is
  trained beside it. A trainer serves one thread at a time.

  Example:
    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits()
    >>> images = digits.images.astype(np.uint8)[..., np.newaxis]
    >>> trainer = Trainer("mlp", images, digits.target, num_classes=10, pixel_max=16.0,
    ...                   hyper_parameters=HyperParameters(), seed=0)
    >>> [run.subset.size for run in trainer.train([(0.7, 0), (0.7, 1)])]
    [1258, 1258]

  Args:
    model_name: one of `model_names()`.
    images: the training set's, uint8 [examples, height, width, channels].
    labels: integers [examples], from 0 to num_classes - 1.
    num_classes: width of the logits.
    pixel_max: pixel value that becomes 1.0.
    hyper_parameters: of every run.
    seed: of the experiment.
    stack: runs per graph, by default `default_stack`; a call with fewer costs as much as a full
      one. Only what is `Stackable` stacks, such as perceptrons.

  Raises:
    ModelError: if an argument makes no sense.
  """

  def __init__(
    self,
    model_name: str,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    pixel_max: float,
    hyper_parameters: HyperParameters,
    seed: int,
    stack: int | None = None,
  ):
    _check_examples(images, labels, num_classes)
    if not pixel_max > 0:
      raise ModelError(f"pixel_max is {pixel_max}: it must be positive")
    _, *image_shape = images.shape
    architecture = Architecture(model_name, num_classes, tuple(image_shape))
    self.stack = default_stack(architecture) if stack is None else stack
    if self.stack < 1:
      raise ModelError(f"stack is {stack}: it must be at least 1")
    self._step = TrainingStep(architecture, self.stack, hyper_parameters)
    self._hyper_parameters = hyper_parameters
    self._seed = seed
    self._pixel_scale = 1 / pixel_max
    self._images = tf.constant(images)
    self._labels = tf.constant(labels, tf.int32)
    self._train_epoch = tf.function(
      self._epoch,
      autograph=False,
      input_signature=[
        tf.TensorSpec((self.stack, None), tf.int32),
        tf.TensorSpec((self.stack, None, 3), tf.int32),
        tf.TensorSpec((None,), tf.float32),
      ],
    )

  def train(self, runs: Sequence[tuple[float, int]]) -> list[TrainedRun]:
    """Trains runs of one subset ratio.

    Args:
      runs: (subset ratio, run id) of 1 to `stack` runs.

    Returns:
      The trained runs, in the order of `runs`.

    Raises:
      ModelError: if there are no runs, too many or several ratios, or one is out of range.
    """
    if not 1 <= len(runs) <= self.stack or len({ratio for ratio, _ in runs}) > 1:
      raise ModelError(
        f"cannot train {len(runs)} runs of subset ratios {sorted({r for r, _ in runs})} together: "
        f"give 1 to {self.stack} runs of one ratio"
      )
    # Kernels may round differently for another stack size: idle places repeat the first run.
    filled = [*runs, *[runs[0]] * (self.stack - len(runs))]
    stacked = [RunSeed(self._seed, ratio, run) for ratio, run in filled]
    subsets = [run.subset(len(self._images)) for run in stacked]
    self._step.start(stacked)
    losses, global_step = self._train_epochs(stacked, subsets)
    return [
      TrainedRun(ratio, run, subset, weights, global_step, training_loss(loss, weights))
      for (ratio, run), subset, weights, loss in zip(
        runs, subsets, self._step.read(), losses, strict=False
      )
    ]

  def _train_epochs(
    self, stacked: Sequence[RunSeed], subsets: Sequence[np.ndarray]
  ) -> tuple[np.ndarray, int]:
    """Trains the assigned weights; returns the last epoch's losses [stack] and the steps taken."""
    hyper_parameters = self._hyper_parameters
    examples = len(subsets[0])
    steps = math.ceil(examples / hyper_parameters.batch_size)
    rates = hyper_parameters.learning_rates(hyper_parameters.epochs * steps)
    orders = [
      run.epoch_orders(subset.astype(np.int32))
      for run, subset in zip(stacked, subsets, strict=True)
    ]
    augmentations = [
      epoch_augmentations(run, examples, hyper_parameters.crop, hyper_parameters.flip)
      for run in stacked
    ]
    for epoch_rates in np.split(rates, hyper_parameters.epochs):
      losses = self._train_epoch(
        np.stack([next(order) for order in orders]),
        np.stack([next(augmentation) for augmentation in augmentations]),
        epoch_rates,
      )
    return losses.numpy(), len(rates)

  def _epoch(self, orders: tf.Tensor, augmentations: tf.Tensor, rates: tf.Tensor) -> tf.Tensor:
    """Takes one step per learning rate; returns each run's mean loss, float32 [stack]."""
    batch_size = self._hyper_parameters.batch_size

    def step(index: tf.Tensor, loss_sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
      batch = slice(index * batch_size, (index + 1) * batch_size)
      examples = orders[:, batch]
      images = self._normalised(examples, augmentations[:, batch])
      losses = self._step(images, tf.gather(self._labels, examples), rates[index])
      return index + 1, loss_sums + losses

    _, loss_sums = tf.while_loop(
      lambda index, _: index < tf.size(rates), step, (0, tf.zeros(self.stack))
    )
    return loss_sums / tf.cast(tf.shape(orders)[1], tf.float32)

  def _normalised(self, examples: tf.Tensor, augmentations: tf.Tensor) -> tf.Tensor:
    """Returns examples [stack, batch] as float32 [stack, batch, height, width, channels]."""
    images = tf.gather(self._images, examples)
    if self._hyper_parameters.augments:
      shape = tf.shape(images)
      flat = augment(
        tf.reshape(images, (-1, *self._images.shape[1:])),
        tf.reshape(augmentations, (-1, 3)),
        self._hyper_parameters.crop,
      )
      images = tf.reshape(flat, shape)
    images = tf.ensure_shape(images, (self.stack, None, *self._images.shape[1:]))
    return tf.cast(images, tf.float32) * self._pixel_scale


def _check_examples(images: np.ndarray, labels: np.ndarray, num_classes: int) -> None:
  if images.dtype != np.uint8 or images.ndim != 4:
    raise ModelError(
      f"images are {images.dtype} {list(images.shape)}: "
      "they must be uint8 [examples, height, width, channels]"
    )
  if labels.shape != images.shape[:1]:
    raise ModelError(f"labels are {list(labels.shape)} for {len(images)} images: give one each")
  if not 0 <= labels.min() <= labels.max() < num_classes:
    raise ModelError(
      f"labels are {labels.min()} to {labels.max()}: "
      f"they must be from 0 to {num_classes - 1} for {num_classes} classes"
    )
