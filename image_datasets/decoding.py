"""Images out of records as models see them, in TensorFlow's graph and threads.

Imported only where images are streamed: TensorFlow takes seconds.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from image_datasets.interface import Batch
from image_datasets.preprocessing import Preprocessing

# Of ImageNet's pixels in [0, 1], by channel.
MEAN = (0.485, 0.456, 0.406)
STANDARD_DEVIATION = (0.229, 0.224, 0.225)

MOST_PIXELS = 89_478_485
"""Of an image; Pillow takes a larger one for a bomb. TensorFlow decodes six times as many."""

_DRAWN_AT_ONCE = 32  # records
_PREFETCHED = 2  # batches
_PNG = b"\x89PNG"
_PNG_SIZE = (16, 8)  # where width and height stand, and their bytes
_GIF = b"GIF8"
_GIF_SIZE = (6, 4)  # of the canvas, which is what is decoded, however small the frames
_ATTEMPTS = 10
_DCT = "INTEGER_ACCURATE"  # as Pillow decodes; the default is up to 18 grey levels away from it
_AREAS = (0.08, 1.0)
_ASPECTS = (3 / 4, 4 / 3)

# From an image's height and width to the top, left, height and width of a window in it.
Window = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]]


class RawRecord(NamedTuple):
  """A record to decode: the example's index, its content, and the seed of its random crop."""

  example: int
  content: bytes
  seed: np.ndarray  # int32 [2]


def central_window(
  height: tf.Tensor, width: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
  """The central square of 224/256 of the shorter side."""
  side = tf.maximum(tf.minimum(height, width) * 224 // 256, 1)
  return (height - side + 1) // 2, (width - side + 1) // 2, side, side


def random_window(seed: tf.Tensor) -> Window:
  """Returns a window as Szegedy et al. 2015 (arXiv 1409.4842, section 6) draw it for training.

  Its share of the area is uniform in 0.08 … 1, its aspect log-uniform in 3/4 … 4/3, its place
  uniform. Of ten attempts the first that fits is taken; if none does, the largest central window
  whose aspect is allowed.

  Args:
    seed: int32 [2]; equal seeds give equal windows of images of one size, on any device.
  """

  def window(
    height: tf.Tensor, width: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    area_draw, aspect_draw, top_draw, left_draw = tf.unstack(
      tf.random.stateless_uniform((4, _ATTEMPTS), seed)
    )
    rows, columns = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    area = rows * columns * (_AREAS[0] + area_draw * (_AREAS[1] - _AREAS[0]))
    low, high = map(math.log, _ASPECTS)
    aspect = tf.exp(low + aspect_draw * (high - low))
    heights = tf.maximum(tf.cast(tf.round(tf.sqrt(area / aspect)), tf.int32), 1)
    widths = tf.maximum(tf.cast(tf.round(tf.sqrt(area * aspect)), tf.int32), 1)
    fits = (heights <= height) & (widths <= width)
    first = tf.argmax(tf.cast(fits, tf.int32))
    tops = tf.cast(top_draw * tf.cast(height - heights + 1, tf.float32), tf.int32)
    lefts = tf.cast(left_draw * tf.cast(width - widths + 1, tf.float32), tf.int32)
    drawn = tf.stack([tops[first], lefts[first], heights[first], widths[first]])
    tall = tf.minimum(height, tf.cast(tf.round(columns / _ASPECTS[0]), tf.int32))
    wide = tf.minimum(width, tf.cast(tf.round(rows * _ASPECTS[1]), tf.int32))
    central = tf.stack([(height - tall) // 2, (width - wide) // 2, tall, wide])
    top, left, crop_height, crop_width = tf.unstack(tf.where(tf.reduce_any(fits), drawn, central))
    return top, left, crop_height, crop_width

  return window


def decoded_batches(
  records: Callable[[], Iterable[RawRecord]],
  feature: str,
  preprocessing: Preprocessing,
  batch_size: int,
  *,
  crop: bool,
) -> Iterator[Batch]:
  """Yields records decoded by TensorFlow's threads, in their order, some batches ahead.

  Args:
    records: makes an iterator of the records, which is drawn from in another thread.
    feature: the one that holds the image.
    preprocessing: what becomes of it.
    batch_size: the last batch may have fewer.
    crop: whether to crop at random, by the records' seeds.

  Raises:
    tf.errors.OpError: an image cannot be decoded, or `records` has raised an error.
  """

  def decode(
    example: tf.Tensor, content: tf.Tensor, seed: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    return example, decode_record(content, feature, preprocessing, seed if crop else None)

  def draw() -> Iterator[tuple[list[int], list[bytes], list[np.ndarray]]]:
    """Hands over several records at a time, because each time Python is called costs a while."""
    drawn = iter(records())
    while some := list(itertools.islice(drawn, _DRAWN_AT_ONCE)):
      yield (
        [record.example for record in some],
        [record.content for record in some],
        [record.seed for record in some],
      )

  signature = (
    tf.TensorSpec((None,), tf.int64),
    tf.TensorSpec((None,), tf.string),
    tf.TensorSpec((None, 2), tf.int32),
  )
  dataset = tf.data.Dataset.from_generator(draw, output_signature=signature).unbatch()
  dataset = dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
  for examples, images in dataset.batch(batch_size).prefetch(_PREFETCHED):
    yield Batch(examples.numpy(), images.numpy())


def decode_record(
  content: tf.Tensor, feature: str, preprocessing: Preprocessing, seed: tf.Tensor | None = None
) -> tf.Tensor:
  """Returns the image in a record as models see it, float32."""
  parsed = tf.io.parse_single_example(content, {feature: tf.io.FixedLenFeature((), tf.string)})
  return preprocessing.decode(parsed[feature], seed)


def decode_window(encoded: tf.Tensor, window: Window) -> tf.Tensor:
  """Decodes a window of an image: uint8 [height, width, 3]. JPEGs decode little else."""
  encoded = _small_by_header(encoded)

  def decode_jpeg() -> tf.Tensor:
    height, width, _ = tf.unstack(tf.image.extract_jpeg_shape(encoded))
    return tf.image.decode_and_crop_jpeg(
      encoded, tf.stack(window(height, width)), channels=3, dct_method=_DCT
    )

  def decode_other() -> tf.Tensor:
    pixels = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    height, width, _ = tf.unstack(tf.shape(pixels))
    pixels = _small(pixels, height, width)
    top, left, crop_height, crop_width = window(height, width)
    return pixels[top : top + crop_height, left : left + crop_width]

  return tf.ensure_shape(
    tf.cond(tf.image.is_jpeg(encoded), decode_jpeg, decode_other), (None, None, 3)
  )


def normalise(pixels: tf.Tensor, size: int) -> tf.Tensor:
  """Returns uint8 [height, width, 3] as float32 [size, size, 3] of mean 0 and deviation 1."""
  unit = tf.image.convert_image_dtype(pixels, tf.float32)
  resized = tf.image.resize(unit, (size, size), tf.image.ResizeMethod.BILINEAR)
  return (resized - tf.constant(MEAN)) / tf.constant(STANDARD_DEVIATION)


def decode_pixels(encoded: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
  """Returns an image of a shape that is known, its pixels divided by 255, float32."""
  pixels = tf.io.decode_image(_small_by_header(encoded), image_shape[-1], expand_animations=False)
  return tf.cast(tf.ensure_shape(pixels, image_shape), tf.float32) / tf.constant(255.0)


def _small_by_header(encoded: tf.Tensor) -> tf.Tensor:
  """Returns an encoded image; a JPEG, PNG or GIF must not be too large by its header."""

  def of_jpeg() -> tf.Tensor:
    return tf.image.extract_jpeg_shape(encoded)[:2]

  def of_png() -> tf.Tensor:
    text = tf.strings.substr(encoded, *_PNG_SIZE)
    return tf.ensure_shape(tf.io.decode_raw(text, tf.int32, little_endian=False), (2,))

  def of_gif() -> tf.Tensor:
    text = tf.strings.substr(encoded, *_GIF_SIZE)
    return tf.cast(tf.ensure_shape(tf.io.decode_raw(text, tf.uint16), (2,)), tf.int32)

  is_gif = tf.strings.substr(encoded, 0, len(_GIF)) == _GIF
  is_png = tf.strings.substr(encoded, 0, len(_PNG)) == _PNG
  cases = [(tf.image.is_jpeg(encoded), of_jpeg), (is_png, of_png), (is_gif, of_gif)]
  size = tf.case(cases, default=lambda: tf.zeros(2, tf.int32))
  return _small(encoded, *tf.unstack(size))


def _small(value: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
  """Returns a value that there is only of an image of not too many pixels."""
  pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
  most = tf.constant(MOST_PIXELS, tf.int64)
  checked = tf.debugging.assert_less_equal(pixels, most, f"it has more than {MOST_PIXELS:,} pixels")
  with tf.control_dependencies([checked] if checked is not None else []):
    return tf.identity(value)
