"""Random crops and flips: what to do is drawn per run, and done in the training graph."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from models.run_seed import RunSeed, Stream


def epoch_augmentations(run: RunSeed, examples: int, crop: int, flip: bool) -> Iterator[np.ndarray]:
  """Yields what is done to each image of each successive epoch, without end.

  Args:
    run: what its random numbers follow from.
    examples: images per epoch.
    crop: pixels of border; the crop's corner is uniform over its 2 · crop + 1 places a side.
    flip: whether images are mirrored with probability ½, or never.

  Returns:
    An iterator of int32 [examples, 3]: the crop's first row and first column in the bordered
    image, and 1 where the image is mirrored, else 0.
  """
  generator = run.stream(Stream.AUGMENTATION)
  bounds = (2 * crop + 1, 2 * crop + 1, 2 if flip else 1)
  while True:
    yield generator.integers(bounds, size=(examples, 3), dtype=np.int32)


def crop_seeds(run: RunSeed, examples: int) -> Iterator[np.ndarray]:
  """Yields the seeds of the random resized crops of each successive epoch, without end.

  Args:
    run: what its random numbers follow from.
    examples: images per epoch.

  Returns:
    An iterator of int32 [examples, 2].
  """
  generator = run.stream(Stream.RESIZED_CROP)
  while True:
    yield generator.integers(2**31, size=(examples, 2), dtype=np.int32)


def augment(images: tf.Tensor, choices: tf.Tensor, crop: int) -> tf.Tensor:
  """Crops and mirrors images.

  Args:
    images: [batch, height, width, channels].
    choices: int32 [batch, 3], as from `epoch_augmentations`.
    crop: pixels of zeros around each image before it is cropped to its own size again.

  Returns:
    Images of the same shape and dtype.
  """
  _, height, width, _ = images.shape
  bordered = tf.pad(images, [(0, 0), (crop, crop), (crop, crop), (0, 0)])
  first_row, first_column, mirrored = (choices[:, i, tf.newaxis] for i in range(3))
  rows = first_row + tf.range(height)
  columns = first_column + tf.where(mirrored == 1, tf.range(width)[::-1], tf.range(width))
  cropped = tf.gather(bordered, rows, axis=1, batch_dims=1)
  return tf.gather(cropped, columns, axis=2, batch_dims=1)
