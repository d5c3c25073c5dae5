import numpy as np
import pytest

from image_datasets import load_dataset

DIGITS = load_dataset("digits")


@pytest.mark.parametrize("batch_size", [1, 100, 1437, 5000])
def test_batches_hold_every_example_once_as_models_see_it(batch_size):
  batches = list(DIGITS.train.batches(batch_size))
  assert all(len(batch.examples) == batch_size for batch in batches[:-1])
  examples = np.concatenate([batch.examples for batch in batches])
  images = np.concatenate([batch.images for batch in batches])
  np.testing.assert_array_equal(examples, np.arange(1437))
  assert images.dtype == np.float32
  np.testing.assert_array_equal(images, DIGITS.train.images / np.float32(16))


def test_pictures_come_in_the_order_asked_for():
  pictures = DIGITS.test.pictures([7, 3, 7])
  assert len(pictures) == 3
  for picture, example in zip(pictures, [7, 3, 7], strict=True):
    np.testing.assert_array_equal(picture, DIGITS.test.images[example])
