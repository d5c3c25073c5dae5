"""The multi-layer perceptron of the MNIST demonstration, and a smaller one."""

from collections.abc import Sequence

import sonnet as snt
import tensorflow as tf

from models.stacked_mlp import StackedMLP
from models.weights import Weights


class MLP(snt.Module):
  """Fully connected network with ReLU; 512-256 as in Feldman & Zhang's MNIST demonstration.

  Example:
    >>> logits = MLP(num_classes=10)(tf.zeros([2, 28, 28, 1]), is_training=False)
    >>> tuple(logits.shape)
    (2, 10)

  Args:
    num_classes: width of the output layer.
    hidden: widths of the layers before it.
  """

  def __init__(self, num_classes: int, hidden: Sequence[int] = (512, 256), name: str | None = None):
    super().__init__(name=name)
    self._mlp = snt.nets.MLP([*hidden, num_classes])

  def __call__(self, images: tf.Tensor, is_training: bool) -> tf.Tensor:
    """Returns float32 logits [batch, num_classes] of images [batch, height, width, channels].

    `is_training` is part of every architecture's signature; this one behaves the same either way.
    """
    return self._mlp(snt.flatten(images))

  def stacked(self, built: Weights, stack: int, precision: str) -> StackedMLP:
    """Returns several perceptrons as one; see `models.stackable`."""
    return StackedMLP(built, stack, precision)
