from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_datasets import DatasetError, load_dataset, pixel_hash
from image_datasets.given import given_examples


class _LikeTorchvision:
  """What can be indexed and has a length, and is not iterable."""

  __iter__ = None

  def __init__(self, examples):
    self.examples = examples

  def __len__(self):
    return len(self.examples)

  def __getitem__(self, number):
    return self.examples[number]


@pytest.fixture
def examples(real_digits):
  images, labels = real_digits
  return [(image, int(label)) for image, label in zip(images[:20], labels[:20], strict=True)]


def _pil(examples):
  return [(Image.fromarray(image), label) for image, label in examples]


@pytest.mark.parametrize(
  "make",
  [
    lambda examples: examples,
    lambda examples: iter(_pil(examples)),
    lambda examples: _LikeTorchvision(_pil(examples)),
    lambda examples: [{"img": image, "fine_label": np.int64(y)} for image, y in _pil(examples)],
    lambda examples: (np.stack([x for x, _ in examples]), [y for _, y in examples]),
    lambda examples: (np.stack([x for x, _ in examples])[..., None], [y for _, y in examples]),
  ],
  ids=["list", "iterator", "torchvision", "hugging face", "arrays", "channels"],
)  # fmt: skip
def test_images_and_labels_of_any_kind(examples, make):
  given = given_examples(make(examples), "train")
  assert len(given) == 20
  assert given.labels.tolist() == [label for _, label in examples]
  assert [h.decode() for h in given.pixel_hashes] == [pixel_hash(image) for image, _ in examples]
  assert given.ids is None


def test_labels_beside_images(examples):
  images = np.stack([image for image, _ in examples])
  assert given_examples(images, "train").labels is None
  labels = np.arange(20, dtype=np.uint8)
  assert given_examples(images, "train", labels).labels.tolist() == list(range(20))
  with pytest.raises(DatasetError, match=r"labels are int64 of shape \(3,\): give 20 integers"):
    given_examples(images, "train", [1, 2, 3])


def test_our_own_data_sets_give_a_split():
  digits = load_dataset("digits")
  for given in (
    given_examples(digits, "test"),
    given_examples("digits", "test"),
    given_examples(digits.test, "train"),
  ):
    assert np.array_equal(given.pixel_hashes, digits.test.pixel_hashes)
    assert np.array_equal(given.labels, digits.test.labels)


def test_names_are_ids():
  names = ["a/b.png", b"a/c.png", Path("d.png")]
  assert given_examples(names, "train").ids.tolist() == ["a/b.png", "a/c.png", "d.png"]
  rows = [{"file_name": "x.jpg", "label": 3}, {"file_name": "y.jpg", "label": 4}]
  given = given_examples(rows, "train")
  assert (given.ids.tolist(), given.labels.tolist()) == (["x.jpg", "y.jpg"], [3, 4])
  assert given.pixel_hashes is None


@pytest.mark.parametrize(
  ("dataset", "message"),
  [
    (7, "int is no data set: give a spec, an array of images, or a sequence of"),
    ([3], "example 0 is of type int: give (image, label), a dict or a file name"),
    ([{"pixels": 1, "y": 2}], "example 0 has the keys pixels, y: give an image (image or"),
    (np.zeros((2, 8, 8)), "image 0 is float64 of shape (8, 8): give uint8 pixels, as the"),
    (np.zeros((2, 3, 8, 8), np.uint8), "image 0 has shape (3, 8, 8), with its channels first"),
    ([(np.zeros((8, 8), np.uint8), "cat")], "the label of example 0 is 'cat': give the class"),
    ([(Image.new("P", (8, 8)), 0)], "image 0 is of PIL's mode P: convert it to L or RGB"),
    (["a", {"id": "b", "label": 0}], "1 of 2 examples have a label: give each one"),
  ],
)  # fmt: skip
def test_what_is_no_data_set_is_refused(dataset, message):
  with pytest.raises(DatasetError, match=r"\A[^\n]+\Z") as raised:
    given_examples(dataset, "train")
  assert message in str(raised.value)
