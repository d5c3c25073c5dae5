import itertools

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from models.augmentation import augment, epoch_augmentations
from models.run_seed import RunSeed

IMAGES = load_digits().images[:6, :, :7, np.newaxis].astype(np.uint8)


@settings(deadline=None, max_examples=30)
@given(st.data(), st.integers(0, 3))
def test_images_are_cropped_from_a_black_border_and_mirrored(data, crop):
  corner = st.integers(0, 2 * crop)
  choices = [data.draw(st.tuples(corner, corner, st.integers(0, 1))) for _ in IMAGES]
  ours = augment(tf.constant(IMAGES), tf.constant(choices, tf.int32), crop).numpy()
  assert ours.dtype == np.uint8
  for image, (row, column, mirrored), cropped in zip(IMAGES, choices, ours, strict=True):
    bordered = np.pad(image, [(crop, crop), (crop, crop), (0, 0)])
    window = bordered[row : row + 8, column : column + 7]
    np.testing.assert_array_equal(cropped, window[:, ::-1] if mirrored else window)


def test_every_place_and_both_directions_are_drawn_equally_often():
  choices = next(epoch_augmentations(RunSeed(0, 0.7, 1), 20_000, crop=1, flip=True))
  assert choices.dtype == np.int32
  places, counts = np.unique(choices, axis=0, return_counts=True)
  assert places.tolist() == [list(each) for each in itertools.product(range(3), range(3), range(2))]
  # Six standard deviations of a count of 20,000 / 18.
  assert np.abs(counts - 20_000 / 18).max() < 6 * np.sqrt(20_000 / 18)


def test_nothing_is_done_unless_asked_for():
  cropped_only = next(epoch_augmentations(RunSeed(0, 0.7, 1), 100, crop=2, flip=False))
  assert not cropped_only[:, 2].any()
  assert cropped_only[:, :2].any()
  flipped_only = next(epoch_augmentations(RunSeed(0, 0.7, 1), 100, crop=0, flip=True))
  assert not flipped_only[:, :2].any()
  assert flipped_only[:, 2].any()


def test_augmentations_follow_from_the_run_and_differ_between_epochs():
  first, second = itertools.islice(epoch_augmentations(RunSeed(0, 0.7, 1), 100, 4, True), 2)
  assert not np.array_equal(first, second)
  np.testing.assert_array_equal(next(epoch_augmentations(RunSeed(0, 0.7, 1), 100, 4, True)), first)
  assert not np.array_equal(next(epoch_augmentations(RunSeed(0, 0.7, 2), 100, 4, True)), first)
