"""Several multi-layer perceptrons as one: small models wait on dispatch, not on arithmetic."""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from models.stack_invariant import add_bias
from models.weights import Weights


class StackedMLP:
  """Perceptrons of one architecture side by side, their weights stacked as [stack, …].

  A layer of all of them is one batched matrix product, ReLU between layers. What one perceptron
  computes depends neither on its place in the stack nor on the weights and images of the others.

  Args:
    built: initial values of one perceptron by checkpoint key, `…/w` [in, out] and `…/b` [out] of
      each layer, layers in order.
    stack: how many perceptrons.
    precision: "float32", or "bfloat16" for matrix products and activations; logits are float32.

  Attributes:
    trainable: the stacked variables by checkpoint key.
  """

  def __init__(self, built: Weights, stack: int, precision: str):
    self._shapes = {key: value.shape for key, value in built.items()}
    self._compute = tf.as_dtype(precision)
    # A bias keeps an axis of length 1, which broadcasts over the batch.
    self.trainable = {
      key: tf.Variable(tf.zeros((stack, *shape) if len(shape) > 1 else (stack, 1, *shape)))
      for key, shape in self._shapes.items()
    }
    self._layers = [
      (variable, self.trainable[key.removesuffix("w") + "b"])
      for key, variable in self.trainable.items()
      if key.endswith("/w")
    ]

  def __call__(self, images: tf.Tensor) -> tf.Tensor:
    """Returns logits [stack, batch, classes] of float32 images [stack, batch, h, w, channels]."""
    stack, _, *pixels = images.shape
    net = tf.cast(tf.reshape(images, (stack, -1, math.prod(pixels))), self._compute)
    for weight, bias in self._layers[:-1]:
      net = tf.nn.relu(add_bias(self._product(net, weight), tf.cast(bias, self._compute)))
    weight, bias = self._layers[-1]
    return add_bias(tf.cast(self._product(net, weight), tf.float32), bias)

  def _product(self, net: tf.Tensor, weight: tf.Variable) -> tf.Tensor:
    return tf.matmul(net, tf.cast(weight, self._compute))

  def assign(self, weights: Sequence[Weights]) -> None:
    """Sets the weights of every perceptron of the stack."""
    for key, variable in self.trainable.items():
      stacked = np.stack([each[key] for each in weights])
      variable.assign(stacked.reshape(variable.shape))

  def read(self) -> list[Weights]:
    """Returns the weights of every perceptron of the stack."""
    stacked = {
      key: variable.numpy().reshape(-1, *self._shapes[key])
      for key, variable in self.trainable.items()
    }
    stack = len(next(iter(stacked.values())))
    return [{key: value[i] for key, value in stacked.items()} for i in range(stack)]
