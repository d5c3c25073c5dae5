"""Convolutions with few outputs for each kernel, of which oneDNN makes slow work, by products.

What an output is computed from is its window of the images. Windows times kernel are the outputs;
windows, transposed, times the gradient of the outputs is that of the kernel. Both are one product
of two matrices, but for windows, which share pixels, and have to be copied apart.
"""

import functools
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# At 4×4 outputs, oneDNN takes 6 times as long as the product for a kernel's gradient and, on
# processors that multiply tiles of 16 rows, 3 times as long for the outputs: it fills a tile with
# what lies in one row of an image. Gradients of strided convolutions are slow up to 16×16 outputs.
_FEW, _FEW_OF_STRIDED = 4 * 4, 16 * 16
# Of smaller kernels the outputs cost little either way; normalisation can fold into convolutions.
_LARGE_KERNEL = 2**20


class Convolution(NamedTuple):
  """What is convolved with what, and how.

  Attributes:
    images: [batch, height, width, channels], all but batch known.
    kernel: [height, width, channels, outputs].
    strides: along height and width.
    padding: "VALID" or "SAME".
  """

  images: tf.Tensor
  kernel: tf.Tensor
  strides: tuple[int, int]
  padding: str

  @property
  def sides(self) -> list[int]:
    """Rows and columns of the outputs."""
    height, width = self._bordered_sides()
    rows, columns = self.kernel.shape[:2]
    return [(height - rows) // self.strides[0] + 1, (width - columns) // self.strides[1] + 1]

  @property
  def is_slow(self) -> bool:
    """Whether `by_windows` is faster than TensorFlow's convolution, which on a GPU is never."""
    large = self.kernel.shape.num_elements() >= _LARGE_KERNEL
    return large and has_tiles() and not _has_gpu() and math.prod(self.sides) <= _FEW

  @property
  def trains_slowly(self) -> bool:
    """Whether `trained_by_windows` is faster than TensorFlow's, which on a GPU is never."""
    few = _FEW if self.strides == (1, 1) else _FEW_OF_STRIDED
    return not _has_gpu() and math.prod(self.sides) <= few

  def by_windows(self) -> tf.Tensor:
    """Returns the outputs, [batch, rows, columns, outputs]."""
    channels = self.kernel.shape[3]
    products = tf.matmul(self._windows(), tf.reshape(self.kernel, (-1, channels)))
    return tf.reshape(products, (-1, *self.sides, channels))

  def trained_by_windows(self) -> tf.Tensor:
    """Returns the outputs, with a gradient of the kernel by windows."""

    @tf.custom_gradient
    def outputs(images: tf.Tensor, kernel: tf.Tensor) -> tuple:
      taken = self._replace(images=images, kernel=kernel)
      return taken.by_windows() if self.is_slow else taken._plain(), taken._gradients

    return outputs(self.images, self.kernel)

  def _plain(self) -> tf.Tensor:
    return tf.nn.conv2d(*self)

  def _gradients(self, of_outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    of_images = tf.nn.conv2d_transpose(
      of_outputs, self.kernel, tf.shape(self.images), self.strides, self.padding
    )
    of_outputs = tf.reshape(of_outputs, (-1, self.kernel.shape[3]))
    of_kernel = tf.matmul(self._windows(), of_outputs, transpose_a=True)
    return of_images, tf.reshape(of_kernel, self.kernel.shape)

  def _windows(self) -> tf.Tensor:
    """Returns a row for each output of each image, of what lies below the kernel's places.

    Gathering copies whole pixels, and takes a tenth of the time of `tf.image.extract_patches`.
    """
    height, width = self._bordered_sides()
    rows, columns, channels, _ = self.kernel.shape
    pixels = np.arange(height * width, dtype=np.int32).reshape(height, width)
    places = np.lib.stride_tricks.sliding_window_view(pixels, (rows, columns))
    places = places[:: self.strides[0], :: self.strides[1]].ravel()
    bordered = tf.pad(self.images, [(0, 0), *self._border(), (0, 0)])
    gathered = tf.gather(tf.reshape(bordered, (-1, pixels.size, channels)), places, axis=1)
    return tf.reshape(gathered, (-1, rows * columns * channels))

  def _bordered_sides(self) -> list[int]:
    sides = zip(self.images.shape[1:3], self._border(), strict=True)
    return [before + side + after for side, (before, after) in sides]

  def _border(self) -> list[tuple[int, int]]:
    """Returns what TensorFlow adds before and after, along height and width."""
    if self.padding == "VALID":
      return [(0, 0), (0, 0)]
    sides = zip(self.images.shape[1:3], self.kernel.shape[:2], self.strides, strict=True)
    added = [
      max((math.ceil(side / stride) - 1) * stride + size - side, 0) for side, size, stride in sides
    ]
    return [(total // 2, total - total // 2) for total in added]


@functools.cache
def has_tiles() -> bool:
  """Whether this processor multiplies bfloat16 matrices by tiles (AMX)."""
  try:
    return "amx_bf16" in Path("/proc/cpuinfo").read_text()
  except OSError:  # not Linux
    return False


def _has_gpu() -> bool:
  return bool(tf.config.list_logical_devices("GPU"))
