"""Any Sonnet architecture, trained one model at a time behind the interface of a stack."""

from collections.abc import Mapping, Sequence

import sonnet as snt
import tensorflow as tf

from models.weights import Weights, assign


class LoneModel:
  """A Sonnet module as a stack of one; each call updates its batch-norm moving averages.

  Args:
    module: has been called before, so that its variables exist; it is changed in place.
    variables: those of `module` by checkpoint key.
    precision: "float32", or "bfloat16" for matrix products and convolutions.

  Attributes:
    trainable: the variables that gradients train, by checkpoint key.
  """

  def __init__(self, module: snt.Module, variables: Mapping[str, tf.Variable], precision: str):
    self._module = module
    self._variables = variables
    self.trainable = {key: variable for key, variable in variables.items() if variable.trainable}
    if precision == "bfloat16":
      for part in module.submodules:
        if type(part) in _BFLOAT16:
          part.__class__ = _BFLOAT16[type(part)]

  def __call__(self, images: tf.Tensor) -> tf.Tensor:
    """Returns logits [1, batch, classes] of float32 images [1, batch, h, w, channels]."""
    return self._module(images[0], is_training=True)[tf.newaxis]

  def assign(self, weights: Sequence[Weights]) -> None:
    """Sets the weights of the one model."""
    assign(self._variables, weights[0])

  def read(self) -> list[Weights]:
    """Returns the weights of the one model."""
    return [{key: variable.numpy() for key, variable in self._variables.items()}]


class _Bfloat16Linear(snt.Linear):
  def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
    outputs = tf.cast(tf.matmul(_bfloat16(inputs), _bfloat16(self.w)), inputs.dtype)
    return outputs + self.b if self.with_bias else outputs


class _Bfloat16Conv2D(snt.Conv2D):
  def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
    padded = tf.pad(inputs, self._padding) if self.padding_func else inputs
    outputs = tf.nn.convolution(
      _bfloat16(padded),
      _bfloat16(self.w),
      strides=self.stride,
      padding=self.conv_padding,
      dilations=self.rate,
      data_format=self.data_format,
    )
    outputs = tf.cast(outputs, inputs.dtype)
    return tf.nn.bias_add(outputs, self.b, self.data_format) if self.with_bias else outputs


# Sonnet's own mixed precision patches whole classes, also under modules that other threads run.
_BFLOAT16 = {snt.Linear: _Bfloat16Linear, snt.Conv2D: _Bfloat16Conv2D}


def _bfloat16(values: tf.Tensor | tf.Variable) -> tf.Tensor:
  return tf.cast(values, tf.bfloat16)
