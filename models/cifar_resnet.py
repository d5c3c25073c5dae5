"""Residual networks for small images, with pre-activation blocks."""

from collections.abc import Sequence

import sonnet as snt
import tensorflow as tf


class CifarResNet(snt.Module):
  """ResNet v2 (He et al. 2016, arXiv 1603.05027) whose first layer keeps the resolution.

  Sonnet's `snt.nets.ResNet` quarters each side before the first block; here a 3×3 convolution of
  stride 1 comes first and no pooling follows. Attribute names, those of the checkpoints' keys,
  are Sonnet's.

  Example:
    >>> logits = cifar_resnet18(num_classes=10)(tf.zeros([2, 32, 32, 3]), is_training=False)
    >>> tuple(logits.shape)
    (2, 10)

  Args:
    num_classes: width of the output layer.
    blocks: blocks in each of the four groups; every group but the first halves the resolution.
    channels: output channels of each group's blocks.
    kernels: kernel side of each convolution in a block.
    bottleneck: a block's convolutions have this many times fewer channels, but for its last.
  """

  def __init__(
    self,
    num_classes: int,
    blocks: Sequence[int],
    channels: Sequence[int],
    kernels: Sequence[int],
    bottleneck: int,
    name: str | None = None,
  ):
    super().__init__(name=name)
    self._initial_conv = _conv(64, kernel=3)
    self._block_groups = [
      BlockGroup(count, width, kernels, bottleneck, stride)
      for count, width, stride in zip(blocks, channels, (1, 2, 2, 2), strict=True)
    ]
    self._final_batchnorm = _batch_norm()
    self._logits = snt.Linear(num_classes, w_init=snt.initializers.Zeros())

  def __call__(self, images: tf.Tensor, is_training: bool) -> tf.Tensor:
    """Returns float32 logits [batch, num_classes] of images [batch, height, width, channels]."""
    net = self._initial_conv(images)
    for group in self._block_groups:
      net = group(net, is_training)
    net = tf.nn.relu(self._final_batchnorm(net, is_training))
    return self._logits(tf.reduce_mean(net, axis=[1, 2]))


class BlockGroup(snt.Module):
  """Blocks of one width; the first applies `stride` and projects its shortcut."""

  def __init__(
    self,
    count: int,
    channels: int,
    kernels: Sequence[int],
    bottleneck: int,
    stride: int,
    name: str | None = None,
  ):
    super().__init__(name=name)
    self._blocks = [PreActivationBlock(channels, kernels, bottleneck, stride, projects=True)]
    for _ in range(count - 1):
      self._blocks.append(PreActivationBlock(channels, kernels, bottleneck))

  def __call__(self, net: tf.Tensor, is_training: bool) -> tf.Tensor:
    """Returns the group's output; all shapes are [batch, height, width, channels]."""
    for block in self._blocks:
      net = block(net, is_training)
    return net


class PreActivationBlock(snt.Module):
  """Batch normalisation, ReLU, convolution, as often as there are kernels, plus a shortcut.

  The second convolution carries the stride, as in Sonnet's bottleneck. A projected shortcut
  starts after the first ReLU, an identity shortcut before the first normalisation.
  """

  def __init__(
    self,
    channels: int,
    kernels: Sequence[int],
    bottleneck: int,
    stride: int = 1,
    projects: bool = False,
    name: str | None = None,
  ):
    super().__init__(name=name)
    self._proj_conv = _conv(channels, kernel=1, stride=stride) if projects else None
    self._depth = len(kernels)
    for i, kernel in enumerate(kernels):
      width = channels if i == self._depth - 1 else channels // bottleneck
      setattr(self, f"_bn_{i}", _batch_norm())
      setattr(self, f"_conv_{i}", _conv(width, kernel, stride if i == 1 else 1))

  def __call__(self, net: tf.Tensor, is_training: bool) -> tf.Tensor:
    """Returns the sum of the shortcut and the convolved activations."""
    shortcut = net
    for i in range(self._depth):
      net = tf.nn.relu(getattr(self, f"_bn_{i}")(net, is_training))
      if i == 0 and self._proj_conv:
        shortcut = self._proj_conv(net)
      net = getattr(self, f"_conv_{i}")(net)
    return net + shortcut


def cifar_resnet50(num_classes: int) -> CifarResNet:
  """Returns the 50-layer network: bottlenecks of 1×1, 3×3 and 1×1 convolutions."""
  return CifarResNet(
    num_classes,
    blocks=(3, 4, 6, 3),
    channels=(256, 512, 1024, 2048),
    kernels=(1, 3, 1),
    bottleneck=4,
    name="cifar_resnet50",
  )


def cifar_resnet18(num_classes: int) -> CifarResNet:
  """Returns the 18-layer network: blocks of a 1×1 and a 3×3 convolution of equal width."""
  return CifarResNet(
    num_classes,
    blocks=(2, 2, 2, 2),
    channels=(64, 128, 256, 512),
    kernels=(1, 3),
    bottleneck=1,
    name="cifar_resnet18",
  )


def _conv(channels: int, kernel: int, stride: int = 1) -> snt.Conv2D:
  # Sonnet's `same` pads both sides alike; TensorFlow's "SAME" shifts a strided 3×3 by a pixel.
  return snt.Conv2D(channels, kernel, stride, with_bias=False, padding=snt.pad.same)


def _batch_norm() -> snt.BatchNorm:
  return snt.BatchNorm(create_scale=True, create_offset=True, decay_rate=0.9)
