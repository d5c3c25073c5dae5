"""The small Inception network of the released CIFAR checkpoints."""

from collections.abc import Sequence

import sonnet as snt
import tensorflow as tf


class SmallInception(snt.Module):
  """Inception for small images (Zhang et al. 2017, arXiv 1611.03530, figure 3).

  This is the variant behind the published CIFAR scores: a strided convolution alone halves each
  side between stages, and a global maximum precedes the classifier. Attribute names are those of
  the released checkpoints' keys.

  Example:
    >>> logits = SmallInception(num_classes=10)(tf.zeros([2, 32, 32, 3]), is_training=False)
    >>> tuple(logits.shape)
    (2, 10)

  Args:
    num_classes: width of the output layer.
    with_residual: adds each Inception block's input to its output where both have as many
      channels. This adds no variables: checkpoints with and without it have the same keys.
    large_inputs: begins with a 7×7 convolution and a pooling of stride 2 each, for images of
      about 64 pixels a side and more.
  """

  def __init__(
    self,
    num_classes: int,
    with_residual: bool = False,
    large_inputs: bool = False,
    name: str | None = None,
  ):
    super().__init__(name=name)
    self._large_inputs = large_inputs
    self.conv1 = ConvBNReLU(96, kernel=7, stride=2) if large_inputs else ConvBNReLU(96, kernel=3)
    self.stage1 = Stage([(32, 32), (32, 48)], with_residual, downsample=160)
    self.stage2 = Stage([(112, 48), (96, 64), (80, 80), (48, 96)], with_residual, downsample=240)
    self.stage3 = Stage([(176, 160), (176, 160)], with_residual)
    self._pred = snt.Linear(num_classes)

  def __call__(self, images: tf.Tensor, is_training: bool) -> tf.Tensor:
    """Returns float32 logits [batch, num_classes] of images [batch, height, width, channels]."""
    net = self.conv1(images, is_training)
    if self._large_inputs:
      net = tf.nn.max_pool2d(net, ksize=3, strides=2, padding="SAME")
    for stage in (self.stage1, self.stage2, self.stage3):
      net = stage(net, is_training)
    return self._pred(tf.reduce_max(net, axis=[1, 2]))


class Stage(snt.Module):
  """Inception blocks at one resolution, then, with `downsample`, a convolution that halves it.

  Args:
    widths: channels of each block's 1×1 and 3×3 branch.
    with_residual: as in `SmallInception`.
    downsample: channels of the closing convolution; None leaves it out.
  """

  def __init__(
    self,
    widths: Sequence[tuple[int, int]],
    with_residual: bool,
    downsample: int | None = None,
    name: str | None = None,
  ):
    super().__init__(name=name)
    self._body = [InceptionBlock(*branches, with_residual) for branches in widths]
    self._downsample = ConvBNReLU(downsample, kernel=3, stride=2) if downsample else None

  def __call__(self, net: tf.Tensor, is_training: bool) -> tf.Tensor:
    """Returns the stage's output; all shapes are [batch, height, width, channels]."""
    for block in self._body:
      net = block(net, is_training)
    return self._downsample(net, is_training) if self._downsample else net


class InceptionBlock(snt.Module):
  """A 1×1 and a 3×3 convolution side by side, their channels joined in this order."""

  def __init__(
    self, channels_1x1: int, channels_3x3: int, with_residual: bool, name: str | None = None
  ):
    super().__init__(name=name)
    self._with_residual = with_residual
    self.conv1x1 = ConvBNReLU(channels_1x1, kernel=1)
    self.conv3x3 = ConvBNReLU(channels_3x3, kernel=3)

  def __call__(self, net: tf.Tensor, is_training: bool) -> tf.Tensor:
    """Returns both branches' channels at the resolution of `net`."""
    joined = tf.concat([self.conv1x1(net, is_training), self.conv3x3(net, is_training)], axis=-1)
    return joined + net if self._with_residual and joined.shape[-1] == net.shape[-1] else joined


class ConvBNReLU(snt.Module):
  """Convolution without bias, batch normalisation, ReLU."""

  def __init__(self, channels: int, kernel: int, stride: int = 1, name: str | None = None):
    super().__init__(name=name)
    self.conv = snt.Conv2D(channels, kernel, stride, with_bias=False)
    self.bn = snt.BatchNorm(create_scale=True, create_offset=True, decay_rate=0.9)

  def __call__(self, net: tf.Tensor, is_training: bool) -> tf.Tensor:
    """Returns the activations, each side divided by the stride and rounded up."""
    return tf.nn.relu(self.bn(self.conv(net), is_training))
