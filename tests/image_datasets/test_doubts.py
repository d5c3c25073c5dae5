import numpy as np
import pytest

from image_datasets.checks import checked_dataset


@pytest.fixture
def splits(real_digits):
  images, labels = real_digits
  return {"train": (images[:60], labels[:60]), "test": (images[60:], labels[60:])}


def doubts(splits, **options):
  dataset = checked_dataset("spec", **splits, **{"pixel_max": 16, **options})
  assert all(text.startswith("spec: ") and "\n" not in text for text in dataset.warnings)
  return [text.removeprefix("spec: ") for text in dataset.warnings]


def replaced(splits, **labels_or_images):
  """Replaces `train_labels` and the like."""
  result = {}
  for name, (images, labels) in splits.items():
    result[name] = (
      labels_or_images.get(f"{name}_images", images),
      labels_or_images.get(f"{name}_labels", labels),
    )
  return result


def test_nothing_is_wrong_with_real_digits(splits):
  assert doubts(splits) == []


@pytest.mark.parametrize("channels", [2, 4, 64])
def test_images_that_no_picture_shows(splits, channels):
  shown = {
    name: (np.repeat(x[..., np.newaxis], channels, axis=-1), y) for name, (x, y) in splits.items()
  }
  (text,) = doubts(shown)
  assert text.startswith(f"images of shape (8, 8, {channels}) have {channels} channels: models")


def test_classes_without_any_example(splits):
  (text,) = doubts(splits, num_classes=20)
  assert text.startswith(
    "of 20 classes, these have no training example: 10, 11, 12, 13, 14, … (10 in all); no model"
  )


def test_a_class_in_the_test_split_alone(splits):
  images, labels = splits["train"]
  kept = (labels != 3) & (labels != 7)
  (text,) = doubts(replaced(splits, train_images=images[kept], train_labels=labels[kept]))
  assert text.startswith("of 10 classes, these have no training example: 3, 7; no model can learn")


def test_a_class_in_the_training_split_alone(splits):
  images, labels = splits["test"]
  (text,) = doubts(
    replaced(splits, test_images=images[labels != 3], test_labels=labels[labels != 3])
  )
  assert text.startswith("of 10 classes, these have no test example: 3; nothing in them can be")


def test_labels_that_count_from_one(splits):
  shifted = {name: (images, labels + 1) for name, (images, labels) in splits.items()}
  (text,) = doubts(shifted)
  assert text.startswith("no label is 0: if they count from 1, subtract 1")


def test_one_class(splits):
  (text,) = doubts({name: (images, 0 * labels) for name, (images, labels) in splits.items()})
  assert text.startswith("all labels are 0: there is one class only")


def test_labels_that_number_the_examples(splits):
  texts = doubts(replaced(splits, train_labels=np.arange(60), test_labels=np.arange(40)))
  assert any("no two training examples share a class" in text for text in texts)


@pytest.mark.parametrize(("scale", "brightest"), [(1 / 16, 1), (1, 16), (0, 0)])
def test_pixels_far_below_the_one_that_means_1(splits, scale, brightest):
  dark = {
    name: (np.floor(images * scale).astype(np.uint8), y) for name, (images, y) in splits.items()
  }
  texts = doubts(dark, pixel_max=255)
  assert texts[0].startswith(f"no pixel exceeds {brightest} where 255 normalises to 1, so models")


@pytest.mark.parametrize(("name", "called"), [("train", "training"), ("test", "test")])
def test_pixels_of_one_split_far_below_those_of_the_other(splits, name, called):
  text, *_ = doubts(replaced(splits, **{f"{name}_images": splits[name][0] // 16}))
  assert text.startswith(f"no {called} pixel exceeds 1 where 16 normalises to 1, so models see")


def test_pixels_above_the_one_that_means_1(splits):
  (text,) = doubts(splits, pixel_max=1)
  assert text.startswith("pixels reach 16 where 1 normalises to 1: check the pixel value that")


def test_images_of_one_value(splits):
  images = splits["train"][0].copy()
  images[[3, 50]] = [[[0]], [[9]]]
  (text,) = doubts(replaced(splits, train_images=images))
  assert text.startswith("training images of one value throughout, at 3, 50: are they missing")


def test_a_copied_training_set(splits):
  images, labels = splits["train"]
  (text,) = doubts(
    replaced(splits, train_images=np.tile(images, (2, 1, 1)), train_labels=np.tile(labels, 2))
  )
  assert text.startswith("120 training images are only 60 different ones: what has a copy is not")


@pytest.mark.parametrize("shared", [40, 20])
def test_a_test_set_out_of_the_training_set(splits, shared):
  images, labels = splits["test"]
  images, labels = images.copy(), labels.copy()
  images[:shared], labels[:shared] = splits["train"][0][:shared], splits["train"][1][:shared]
  texts = doubts(replaced(splits, test_images=images, test_labels=labels))
  assert texts[-1].startswith(f"{shared} of 40 test images are training images too: test accuracy")


def test_a_few_test_images_in_the_training_set_are_usual(splits):
  images = splits["test"][0].copy()
  images[:5] = splits["train"][0][:5]
  assert doubts(replaced(splits, test_images=images)) == []


def test_images_are_examined_in_pieces(splits, monkeypatch):
  monkeypatch.setattr("image_datasets.doubts._CHUNK", 7)
  images = splits["train"][0].copy()
  images[[3, 50]] = 5
  (text,) = doubts(replaced(splits, train_images=images))
  assert "at 3, 50:" in text
