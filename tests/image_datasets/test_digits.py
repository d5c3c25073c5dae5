import numpy as np
from sklearn.datasets import load_digits

from image_datasets import digits


def test_digits_are_all_of_scikit_learns_once_in_its_order():
  bunch = load_digits()
  rows = {image.tobytes(): i for i, image in enumerate(bunch.images.astype(np.uint8))}
  assert len(rows) == 1797
  dataset = digits.load()
  positions = {}
  for name, split in (("train", dataset.train), ("test", dataset.test)):
    positions[name] = [rows[image.tobytes()] for image in split.images]
    assert positions[name] == sorted(positions[name])
    np.testing.assert_array_equal(split.labels, bunch.target[positions[name]])
  assert (len(dataset.train), len(dataset.test)) == (1437, 360)
  assert sorted(positions["train"] + positions["test"]) == list(range(1797))


def test_digits_split_is_stratified():
  dataset = digits.load()
  in_test = np.bincount(dataset.test.labels, minlength=10)
  in_all = in_test + np.bincount(dataset.train.labels, minlength=10)
  assert np.all(np.abs(in_test - in_all / 5) <= 1)


def test_digits_description_is_right():
  dataset = digits.load()
  assert dataset.spec == "digits"
  assert dataset.image_shape == (8, 8, 1)
  assert dataset.num_classes == 10
  assert dataset.class_names == tuple("0123456789")
  assert dataset.pixel_max == dataset.train.images.max() == 16


def test_digits_are_the_same_every_time():
  first, second = digits.load(), digits.load()
  np.testing.assert_array_equal(first.train.images, second.train.images)
  np.testing.assert_array_equal(first.test.labels, second.test.labels)


def test_all_examples_are_the_training_examples_and_then_the_test_examples():
  dataset = digits.load()
  examples = dataset.all_examples
  assert len(examples) == len(dataset.train) + len(dataset.test) == 1797
  for name in ("images", "labels"):
    values = getattr(examples, name)
    train, test = np.split(values, [len(dataset.train)])
    np.testing.assert_array_equal(train, getattr(dataset.train, name))
    np.testing.assert_array_equal(test, getattr(dataset.test, name))
    assert not values.flags.writeable
