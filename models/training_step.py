"""One step of momentum SGD for a stack of models, in a graph."""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from models.architecture import Architecture
from models.hyper_parameters import HyperParameters
from models.initial_weights import draw_weights
from models.lone_model import LoneModel
from models.registry import ModelError
from models.run_seed import RunSeed
from models.stack_invariant import cross_entropies
from models.stackable import Stackable, StackedModel
from models.weights import Weights


class TrainingStep:
  """Models, their momenta, and what a batch does to both.

  Args:
    architecture: of every model.
    stack: how many models; only what is `Stackable` stacks.
    hyper_parameters: of every run.

  Raises:
    ModelError: if the architecture does not exist or does not stack.
  """

  def __init__(self, architecture: Architecture, stack: int, hyper_parameters: HyperParameters):
    module, variables = architecture.build()
    self._built = {key: variable.numpy() for key, variable in variables.items()}
    self._hyper_parameters = hyper_parameters
    self._model: StackedModel
    if isinstance(module, Stackable):
      self._model = module.stacked(self._built, stack, hyper_parameters.precision)
    elif stack == 1:
      self._model = LoneModel(architecture, module, variables, hyper_parameters.precision)
    else:
      raise ModelError(f"stack is {stack}: model {architecture.name!r} trains one run at a time")
    self._momenta = {
      key: tf.Variable(tf.zeros_like(variable), trainable=False)
      for key, variable in self._model.trainable.items()
    }

  def start(self, runs: Sequence[RunSeed]) -> None:
    """Sets the initial weights of each run of the stack; nothing moves yet."""
    self._model.assign([draw_weights(run, self._built) for run in runs])
    for momentum in self._momenta.values():
      momentum.assign(tf.zeros_like(momentum))

  def read(self) -> list[Weights]:
    """Returns the weights of each model of the stack."""
    return self._model.read()

  def __call__(self, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
    """Updates every model on its batch.

    Args:
      images: float32 [stack, batch, height, width, channels].
      labels: int32 [stack, batch].
      rate: the learning rate.

    Returns:
      Summed losses, float32 [stack], each example's before the update.
    """
    with tf.GradientTape() as tape:
      losses = cross_entropies(labels, self._model(images))
      mean_losses = tf.reduce_mean(losses, axis=1)
    trainable = self._model.trainable
    gradients = tape.gradient(mean_losses, trainable)
    # Updates wait for the whole backward pass: one that began while a variable is still being
    # read would copy the variable first.
    with tf.control_dependencies(gradients.values()):
      for key, variable in trainable.items():
        gradient = gradients[key]
        if self._hyper_parameters.weight_decay and key.endswith("/w"):
          gradient += self._hyper_parameters.weight_decay * variable
        tf.raw_ops.ResourceApplyMomentum(
          var=variable.handle,
          accum=self._momenta[key].handle,
          lr=rate,
          grad=gradient,
          momentum=self._hyper_parameters.momentum,
        )
    return tf.reduce_sum(losses, axis=1)


def training_loss(loss: float, weights: Weights) -> float:
  """Returns the loss of a trained run, NaN if its weights are not finite.

  The last steps come after the losses: only the weights tell how they went.
  """
  finite = all(np.isfinite(values).all() for values in weights.values())
  return float(loss) if finite else math.nan
