"""Sonnet's layers with matrix products and convolutions in bfloat16, variables as they are."""

import numpy as np
import sonnet as snt
import tensorflow as tf

from models.few_outputs import Convolution


def round_products(
  module: snt.Module, image_shape: tuple[int, int, int], is_training: bool
) -> tf.DType:
  """Makes a module's layers compute products in bfloat16, in graphs that are traced from now on.

  Statistics of normalisation stay float32. What a layer returns has the type of what it is given:
  between the layers, too, bfloat16 halves what goes through memory.

  Args:
    module: has been called before, so that its variables exist; it is changed in place.
    image_shape: (height, width, channels).
    is_training: how it will be called.

  Returns:
    The type of images to call it with: bfloat16, or float32 if the network mixes what it is given
    with float32 of its own, such as variables of a layer that is not Sonnet's.
  """
  layers = _TRAINED if is_training else _EVALUATED
  for part in module.submodules:
    # Sonnet's own mixed precision patches whole classes, also under modules that other threads run.
    if type(part) in layers:
      part.__class__ = layers[type(part)]
  images = tf.TensorSpec((1, *image_shape), tf.bfloat16)
  trial = tf.function(lambda images: module(images, is_training=is_training), autograph=False)
  try:
    trial.get_concrete_function(images)
  except (TypeError, ValueError, tf.errors.InvalidArgumentError):
    return tf.float32
  return tf.bfloat16


class _Bfloat16Linear(snt.Linear):
  def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
    outputs = tf.cast(tf.matmul(_bfloat16(inputs), _bfloat16(self.w)), inputs.dtype)
    return outputs + tf.cast(self.b, inputs.dtype) if self.with_bias else outputs


class _Bfloat16Conv2D(snt.Conv2D):
  def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
    padded, padding = inputs, self.conv_padding
    if self.padding_func is snt.pad.same and self.stride in (1, (1, 1)):
      padding = "SAME"  # which is the same there, and spares the gradients their border
    elif self.padding_func:
      padded = tf.pad(inputs, self._border())
    outputs = self._convolve(_bfloat16(padded), _bfloat16(self.w), padding)
    outputs = tf.cast(outputs, inputs.dtype)
    if not self.with_bias:
      return outputs
    return tf.nn.bias_add(outputs, tf.cast(self.b, inputs.dtype), self.data_format)

  def _convolve(self, images: tf.Tensor, kernel: tf.Tensor, padding: str) -> tf.Tensor:
    if self.data_format == "NHWC" and np.all(np.equal(self.rate, 1)):
      rows, columns = np.broadcast_to(self.stride, 2).tolist()
      return self._convolve_plainly(Convolution(images, kernel, (rows, columns), padding))
    return tf.nn.convolution(
      images,
      kernel,
      strides=self.stride,
      padding=padding,
      dilations=self.rate,
      data_format=self.data_format,
    )

  def _convolve_plainly(self, convolution: Convolution) -> tf.Tensor:
    return convolution.by_windows() if convolution.is_slow else tf.nn.conv2d(*convolution)

  def _border(self) -> list[list[int]]:
    channels = 1 if self.data_format.startswith("NC") else -1
    return snt.pad.create(self.padding_func, self.kernel_shape, self.rate, 2, channels)


class _TrainedConv2D(_Bfloat16Conv2D):
  def _convolve_plainly(self, convolution: Convolution) -> tf.Tensor:
    if convolution.trains_slowly:
      return convolution.trained_by_windows()
    return tf.nn.conv2d(*convolution)


_EVALUATED = {snt.Linear: _Bfloat16Linear, snt.Conv2D: _Bfloat16Conv2D}
_TRAINED = {snt.Linear: _Bfloat16Linear, snt.Conv2D: _TrainedConv2D}


def _bfloat16(values: tf.Tensor | tf.Variable) -> tf.Tensor:
  return tf.cast(values, tf.bfloat16)
