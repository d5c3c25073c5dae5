"""From an encoded image to what models see; TensorFlow is imported when an image is decoded."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
  import tensorflow as tf


class Preprocessing(Protocol):
  """What becomes of an encoded image.

  Attributes:
    crops_resized: whether a seed makes a difference.
  """

  crops_resized: ClassVar[bool]

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of what models see."""

  def decode(self, encoded: "tf.Tensor", seed: "tf.Tensor | None") -> "tf.Tensor":
    """Returns float32 of `image_shape`; with a seed, int32 [2], of a random crop."""


@dataclasses.dataclass(frozen=True)
class ImageNetPreprocessing:
  """Evaluation as ImageNet is evaluated, and random crops for training.

  Without a seed: the central square of 224/256 of the shorter side, cropped while decoding, as
  floats in [0, 1], resized bilinearly, minus the mean, divided by the standard deviation. With a
  seed: a window of 0.08 to 1 of the area, and an aspect of 3/4 to 4/3, in place of the square.

  Attributes:
    size: height and width of what models see, in pixels.
  """

  size: int = 224
  crops_resized: ClassVar[bool] = True

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Of what models see."""
    return (self.size, self.size, 3)

  def decode(self, encoded: "tf.Tensor", seed: "tf.Tensor | None") -> "tf.Tensor":
    """Crops while decoding, resizes, normalises."""
    from image_datasets import decoding

    window = decoding.central_window if seed is None else decoding.random_window(seed)
    return decoding.normalise(decoding.decode_window(encoded, window), self.size)


@dataclasses.dataclass(frozen=True)
class PixelPreprocessing:
  """Images of one shape, whose pixels are divided by 255 and nothing else.

  Attributes:
    image_shape: of every image.
  """

  image_shape: tuple[int, int, int]
  crops_resized: ClassVar[bool] = False

  def decode(self, encoded: "tf.Tensor", seed: "tf.Tensor | None") -> "tf.Tensor":
    """Decodes and divides; there are no random crops."""
    from image_datasets import decoding

    return decoding.decode_pixels(encoded, self.image_shape)
