"""Any Sonnet architecture, trained one model at a time behind the interface of a stack."""

from collections.abc import Mapping, Sequence

import sonnet as snt
import tensorflow as tf

from models.architecture import Architecture
from models.bfloat16 import round_products
from models.weights import Weights, assign


class LoneModel:
  """A Sonnet module as a stack of one; each call updates its batch-norm moving averages.

  Args:
    architecture: the network's.
    module: has been called before, so that its variables exist; it is changed in place.
    variables: those of `module` by checkpoint key.
    precision: "float32", or "bfloat16" for matrix products, convolutions and activations.

  Attributes:
    trainable: the variables that gradients train, by checkpoint key.
  """

  def __init__(
    self,
    architecture: Architecture,
    module: snt.Module,
    variables: Mapping[str, tf.Variable],
    precision: str,
  ):
    self._architecture = architecture
    self._module = module
    self._variables = variables
    self.trainable = {key: variable for key, variable in variables.items() if variable.trainable}
    self._activations = tf.float32
    if precision == "bfloat16":
      self._activations = round_products(module, architecture.image_shape, is_training=True)

  def __call__(self, images: tf.Tensor) -> tf.Tensor:
    """Returns logits [1, batch, classes] of float32 images [1, batch, h, w, channels]."""
    cast = tf.cast(images[0], self._activations)
    return self._architecture.call(self._module, cast, is_training=True)[tf.newaxis]

  def assign(self, weights: Sequence[Weights]) -> None:
    """Sets the weights of the one model."""
    assign(self._variables, weights[0])

  def read(self) -> list[Weights]:
    """Returns the weights of the one model."""
    return [{key: variable.numpy() for key, variable in self._variables.items()}]
