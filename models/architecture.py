"""An architecture as it is built: for one number of classes, and images of one shape."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import sonnet as snt
import tensorflow as tf

from files.plugins import contained, describe_error, is_plugin
from models.registry import ModelError, build_model
from models.weights import VariableSpec, spec_of, variables_by_key


@dataclasses.dataclass(frozen=True)
class Architecture:
  """What decides which variables a model has.

  Example:
    >>> Architecture("mlp", num_classes=10, image_shape=(28, 28, 1)).parameters
    535818

  Attributes:
    name: one of `model_names()`.
    num_classes: width of the logits, at least 2.
    image_shape: (height, width, channels).
  """

  name: str
  num_classes: int
  image_shape: tuple[int, int, int]

  def build(self) -> tuple[snt.Module, dict[str, tf.Variable]]:
    """Builds a fresh module, creates its variables, and returns both, these by checkpoint key.

    Raises:
      ModelError: if the name is unknown, `num_classes` is below 2, or a module of somebody's own
        makes no such logits of images.
    """
    module = build_model(self.name, self.num_classes)
    if is_plugin(self.name):
      self._check_call(module)
    else:
      module(tf.zeros((1, *self.image_shape)), is_training=False)
    return module, variables_by_key(module)

  def _check_call(self, module: snt.Module) -> None:
    """Calls a user's module for the first time, and makes sure of what comes of it."""
    images = tf.zeros((2, *self.image_shape))  # of one, logits might be those of no example
    try:
      with contained():
        logits = module(images, is_training=False)
    except Exception as error:  # whatever the user's code raises
      raise ModelError(
        f"model {self.name} fails on images of shape {tuple(images.shape)} "
        f"({describe_error(error)}): it must take images and is_training"
      ) from error
    self._check_logits(logits, tf.TensorSpec((len(images), self.num_classes), tf.float32))
    if not variables_by_key(module):
      raise ModelError(f"model {self.name} has no variables: there is nothing to train")

  def call(self, module: snt.Module, images: tf.Tensor, *, is_training: bool) -> tf.Tensor:
    """Returns a module's logits, float32 [batch, classes]; to be traced.

    Args:
      module: of this architecture, which has been called before.
      images: floats [batch, height, width, channels], of one shape.
      is_training: see `build_model`.

    Raises:
      ModelError: a module of somebody's own makes something else of them than of the first ones.
    """
    with contained():
      logits = module(images, is_training=is_training)
    dtype = logits.dtype if tf.is_tensor(logits) else tf.float32  # which follows from the images'
    self._check_logits(logits, tf.TensorSpec((images.shape[0], self.num_classes), dtype))
    return tf.cast(logits, tf.float32)

  def _check_logits(self, logits: Any, expected: tf.TensorSpec) -> None:
    if tf.is_tensor(logits) and expected.is_compatible_with(logits):
      return
    found = (
      f"{logits.dtype.name} of shape {tuple(logits.shape)}"
      if tf.is_tensor(logits)
      else f"a {type(logits).__name__}"
    )
    raise ModelError(
      f"model {self.name} makes {found} of {expected.shape[0] or 'a batch of'} images: it must "
      f"make logits, float32 of shape {tuple(expected.shape)}"
    )

  @property
  def specs(self) -> Mapping[str, VariableSpec]:
    """What a checkpoint must hold, by key. The module is built at the first call for it.

    Raises:
      ModelError: as `build` does.
    """
    return _built(self).specs

  @property
  def convolves(self) -> bool:
    """Whether the model has two-dimensional convolutions, told as `specs` are.

    Raises:
      ModelError: as `build` does.
    """
    return _built(self).convolves

  @property
  def parameters(self) -> int:
    """How many numbers all variables hold, moving averages and the like among them.

    Raises:
      ModelError: as `build` does.
    """
    return sum(math.prod(spec.shape) for spec in self.specs.values())


class _Built(NamedTuple):
  specs: Mapping[str, VariableSpec]
  convolves: bool


@functools.cache
def _built(architecture: Architecture) -> _Built:
  module, variables = architecture.build()
  specs = {key: spec_of(variable) for key, variable in variables.items()}
  return _Built(
    MappingProxyType(specs), any(isinstance(part, snt.Conv2D) for part in module.submodules)
  )
