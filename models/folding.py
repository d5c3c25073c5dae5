"""Batch normalisation in evaluation, folded into the convolution before it."""

import sonnet as snt
import tensorflow as tf


def fold_batch_norms(module: snt.Module) -> None:
  """Makes a module's batch normalisations fold themselves, in graphs that are traced from now on.

  In evaluation, what follows a convolution of kernel w without a bias is s · (conv(x, w) − m) + o,
  which is conv(x, s · w) + (o − s · m), with s = scale / √(variance + ε). Convolution, bias and
  ReLU are then one kernel of the backend, and s · w is rounded once. Normalisations that follow
  something else stay what they are, and so does every other layer; no architecture need know.

  Args:
    module: has been called before, so that its variables exist; it is changed in place.
  """
  for part in module.submodules:
    if type(part) is snt.BatchNorm:
      part.__class__ = _FoldedBatchNorm


class _FoldedBatchNorm(snt.BatchNorm):
  def __call__(self, inputs: tf.Tensor, is_training: bool, **options: object) -> tf.Tensor:
    normalised = super().__call__(inputs, is_training, **options)
    return _folded(normalised) if _folds(normalised) else normalised


def _folds(normalised: tf.Tensor) -> bool:
  normalisation = normalised.op
  return (
    normalisation.type.startswith("FusedBatchNorm")
    and not normalisation.get_attr("is_training")
    and normalisation.inputs[0].op.type == "Conv2D"
  )


def _folded(normalised: tf.Tensor) -> tf.Tensor:
  """Returns the same values by one convolution; the graph drops those that nobody needs."""
  outputs, scale, offset, mean, variance = normalised.op.inputs
  convolution = outputs.op
  images, kernel = convolution.inputs
  if kernel.op.type == "Cast":  # what it was before it was rounded
    kernel = kernel.op.inputs[0]
  scale *= tf.math.rsqrt(variance + normalised.op.get_attr("epsilon"))
  convolved = tf.nn.conv2d(
    images,
    tf.cast(kernel * scale, images.dtype),
    strides=convolution.get_attr("strides"),
    padding=convolution.get_attr("padding").decode(),
    dilations=convolution.get_attr("dilations"),
  )
  return tf.nn.bias_add(convolved, tf.cast(offset - scale * mean, images.dtype))
