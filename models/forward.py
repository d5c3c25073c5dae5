"""A module's forward pass in evaluation, in one of the precisions."""

import functools
import threading
from collections.abc import Callable, Sequence

import tensorflow as tf

from models.architecture import Architecture
from models.bfloat16 import round_products
from models.folding import fold_batch_norms
from models.split import split
from models.weights import Weights, assign, check_weights


class Forward:
  """From float32 images [batch, height, width, channels] to float32 logits [batch, classes].

  A checkpoint's weights are prepared once, outside of the graph that runs on batches: in bfloat16,
  batch normalisation is folded into the kernels of the convolutions that it follows, and weights
  are rounded, which would otherwise be done for every batch.

  Example:
    >>> forward = Forward(Architecture("mlp", 10, (28, 28, 1)), 100, "bfloat16")
    >>> logits = forward.bound(forward.prepare(weights))(images)

  Args:
    architecture: the network's.
    batch_size: images in one pass.
    precision: "float32", or "bfloat16" for matrix products and convolutions on bfloat16 weights and
      activations (normalisation statistics and logits stay float32).

  Raises:
    ModelError: if the architecture does not exist or its number of classes is below 2.
  """

  def __init__(self, architecture: Architecture, batch_size: int, precision: str):
    self._architecture = architecture
    self._module, self._variables = architecture.build()
    self._activations = tf.float32
    self._split = None
    if precision == "bfloat16":
      shape = architecture.image_shape
      self._activations = round_products(self._module, shape, is_training=False)
      fold_batch_norms(self._module)
      self._split = split(self._logits, tf.TensorSpec((batch_size, *shape), tf.float32))
    self._lock = threading.Lock()

  @property
  def prepared_specs(self) -> list[tf.TensorSpec]:
    """Shapes and dtypes of what `prepare` returns."""
    if self._split:
      return self._split.prepared_specs
    return [tf.TensorSpec(variable.shape, variable.dtype) for variable in self._variables.values()]

  def prepare(self, weights: Weights) -> list[tf.Tensor]:
    """Returns a checkpoint's weights as `bound` takes them, on the device.

    Args:
      weights: every variable of the architecture by checkpoint key, from `read_weights`.

    Raises:
      CheckpointError: if keys, shapes or dtypes of `weights` are not the architecture's.
    """
    if not self._split:
      check_weights(self._variables, weights)
      return [tf.constant(weights[key]) for key in self._variables]
    with self._lock:
      assign(self._variables, weights)
      return self._split.prepare()

  def bound(self, prepared: Sequence[tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function from images to logits for a checkpoint's prepared weights.

    In a graph it must be used up before another checkpoint's is asked for.
    """
    if self._split:
      return functools.partial(self._split, prepared=prepared)
    # A variable takes over the tensor that it is given: nothing is copied.
    for variable, value in zip(self._variables.values(), prepared, strict=True):
      variable.assign(value)
    return self._logits

  def _logits(self, images: tf.Tensor) -> tf.Tensor:
    cast = tf.cast(images, self._activations)
    return self._architecture.call(self._module, cast, is_training=False)
