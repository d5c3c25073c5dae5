"""Networks that train side by side: what one must offer for it."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import tensorflow as tf

from models.weights import Weights


class StackedModel(Protocol):
  """Several networks of one architecture as one: `models/stacked_mlp.py` is an example."""

  @property
  def trainable(self) -> Mapping[str, tf.Variable]:
    """Variables [stack, …] that gradients train, by checkpoint key."""

  def __call__(self, images: tf.Tensor) -> tf.Tensor:
    """Returns logits [stack, batch, classes] of float32 images [stack, batch, h, w, channels].

    Those of a network must not depend on its place in the stack, nor on the others.
    """

  def assign(self, weights: Sequence[Weights]) -> None:
    """Sets the weights of every network of the stack."""

  def read(self) -> list[Weights]:
    """Returns the weights of every network of the stack."""


@runtime_checkable
class Stackable(Protocol):
  """An architecture that can train several runs in one graph; others train one at a time."""

  def stacked(self, built: Weights, stack: int, precision: str) -> StackedModel:
    """Returns several networks of this architecture as one.

    Args:
      built: initial values of one network by checkpoint key.
      stack: how many networks.
      precision: "float32", or "bfloat16" for matrix products and activations; logits are float32.
    """
