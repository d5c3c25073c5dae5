import dataclasses

import numpy as np
import pytest

from image_datasets import DatasetError
from image_datasets.checks import checked_dataset


@pytest.fixture
def splits(real_digits):
  images, labels = real_digits
  return {"train": (images[:60], labels[:60]), "test": (images[60:], labels[60:])}


def with_train(splits, images=None, labels=None):
  old_images, old_labels = splits["train"]
  images = old_images if images is None else images
  labels = old_labels if labels is None else labels
  return {**splits, "train": (images, labels)}


def test_checked_dataset_adds_the_channel_axis_and_the_defaults(splits):
  dataset = checked_dataset("some:spec", **splits)
  assert dataset.spec == "some:spec"
  assert (len(dataset.train), len(dataset.test)) == (60, 40)
  np.testing.assert_array_equal(dataset.train.images[..., 0], splits["train"][0])
  np.testing.assert_array_equal(dataset.test.labels, splits["test"][1])
  assert dataset.image_shape == (8, 8, 1)
  assert dataset.num_classes == 10
  assert dataset.class_names == tuple("0123456789")
  assert dataset.pixel_max == 255.0


def test_checked_dataset_keeps_channels_without_a_copy(splits):
  colour = {name: (np.stack([x, x, x], axis=-1), y) for name, (x, y) in splits.items()}
  dataset = checked_dataset("spec", **colour)
  assert dataset.image_shape == (8, 8, 3)
  assert np.shares_memory(dataset.train.images, colour["train"][0])
  assert not dataset.train.images.flags.writeable
  assert colour["train"][0].flags.writeable


def test_checked_dataset_is_read_only_and_leaves_its_input_alone(splits):
  dataset = checked_dataset("spec", **splits)
  for split in (dataset.train, dataset.test):
    with pytest.raises(ValueError, match="read-only"):
      split.images[0] = 0
    with pytest.raises(ValueError, match="read-only"):
      split.labels[0] = 0
  with pytest.raises(dataclasses.FrozenInstanceError):
    dataset.num_classes = 3
  assert all(array.flags.writeable for split in splits.values() for array in split)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_checked_dataset_makes_labels_int64(splits, dtype):
  labels = splits["train"][1].astype(dtype)
  dataset = checked_dataset("spec", **with_train(splits, labels=labels))
  assert dataset.train.labels.dtype == np.int64
  np.testing.assert_array_equal(dataset.train.labels, labels)


@pytest.mark.parametrize(
  ("convert", "dtype", "recipe"),
  [
    (lambda images: images / 16, "float64", r"np.rint\(images \* 255\).astype\(np.uint8\)"),
    (lambda images: images.astype(np.float32), "float32", r"images.astype\(np.uint8\)"),
    (lambda images: images.astype(np.int64), "int64", r"images.astype\(np.uint8\)"),
    (lambda images: images > 8, "bool", r"images.astype\(np.uint8\)"),
    (lambda images: images / 16 - 0.5, "float64", "whole pixel values from 0 to 255 as uint8"),
    (lambda images: images.astype(np.uint16) * 256, "uint16", "whole pixel values"),
    (lambda images: images * np.nan, "float64", "whole pixel values"),
    (lambda images: images.astype("S2"), r"\|S2", "whole pixel values"),
  ],
)
def test_images_of_another_dtype_are_refused_with_the_recipe(splits, convert, dtype, recipe):
  bad = with_train(splits, images=convert(splits["train"][0]))
  with pytest.raises(
    DatasetError, match=f"^spec: train images are {dtype}, not uint8: store {recipe}"
  ):
    checked_dataset("spec", **bad)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 28, 28), (3, 32, 5), (3, 4, 4), (1, 2, 2)])
def test_images_with_channels_first_are_refused_with_the_recipe(splits, shape):
  first = {name: (np.zeros((len(y), *shape), np.uint8), y) for name, (_, y) in splits.items()}
  with pytest.raises(DatasetError) as raised:
    checked_dataset("spec", **first)
  assert str(raised.value) == (
    f"spec: train images have shape {(60, *shape)} with the {shape[0]} channels on axis 1: "
    "channels come last, store np.moveaxis(images, 1, -1)"
  )
  last = {name: (np.moveaxis(images, 1, -1), y) for name, (images, y) in first.items()}
  assert checked_dataset("spec", **last).image_shape == (*shape[1:], shape[0])


@pytest.mark.parametrize("shape", [(3, 5, 3), (3, 5, 1), (1, 8, 3), (3, 5, 4), (1, 128, 2)])
def test_images_that_may_have_channels_last_are_read_so(splits, shape):
  images = {name: (np.zeros((len(y), *shape), np.uint8), y) for name, (_, y) in splits.items()}
  assert checked_dataset("spec", **images).image_shape == shape


@pytest.mark.parametrize("shape", [(60, 64), (60, 8, 0), (60, 2, 2, 4, 4)])
def test_images_of_other_dimensions_are_refused(splits, shape):
  bad = with_train(splits, images=np.zeros(shape, np.uint8))
  with pytest.raises(DatasetError, match=r"train images have shape \(60, .*: give \[n, height"):
    checked_dataset("spec", **bad)


def test_float_labels_are_refused(splits):
  bad = with_train(splits, labels=splits["train"][1].astype(float))
  with pytest.raises(DatasetError, match=r"train labels are float64 of shape \(60,\): give int"):
    checked_dataset("spec", **bad)


def test_images_in_rows_are_refused_with_the_recipe(splits):
  bad = with_train(splits, images=splits["train"][0].reshape(60, 64))
  with pytest.raises(DatasetError, match=r"channels\], as images.reshape\(-1, 8, 8\) is if they"):
    checked_dataset("spec", **bad)


def test_images_along_the_last_axis_are_refused_with_the_recipe(splits):
  bad = with_train(splits, images=np.moveaxis(splits["train"][0], 0, -1))
  with pytest.raises(
    DatasetError, match=r"\(8, 8, 60\) with the 60 examples on the last axis: store np.moveaxis\(im"
  ):
    checked_dataset("spec", **bad)


@pytest.mark.parametrize("dtype", [np.int64, np.float32, bool])
def test_one_hot_labels_are_refused_with_the_recipe(splits, dtype):
  bad = with_train(splits, labels=np.eye(10, dtype=dtype)[splits["train"][1]])
  with pytest.raises(
    DatasetError,
    match=r"train labels are \w+ of shape \(60, 10\), one column for each class: "
    r"store labels.argmax\(axis=1\)",
  ):
    checked_dataset("spec", **bad)


def test_several_labels_each_are_refused_with_the_reason(splits):
  bad = with_train(splits, labels=np.tile([0, 1, 1, 0, 1], (60, 1)))
  with pytest.raises(
    DatasetError,
    match=r"train labels are int64 of shape \(60, 5\), several for each example: scores need one",
  ):
    checked_dataset("spec", **bad)


def test_labels_in_a_column_are_the_same_as_in_a_row(splits):
  dataset = checked_dataset("spec", **with_train(splits, labels=splits["train"][1][:, np.newaxis]))
  np.testing.assert_array_equal(dataset.train.labels, splits["train"][1])


def test_labels_in_a_row_of_a_matrix_are_refused_with_the_recipe(splits):
  bad = with_train(splits, labels=splits["train"][1][np.newaxis])
  with pytest.raises(DatasetError, match=r"\(1, 60\), all in one row: store labels\[0\]$"):
    checked_dataset("spec", **bad)


def test_names_as_labels_are_refused_with_the_recipe(splits):
  bad = with_train(splits, labels=np.array(["cat", "dog"] * 30))
  with pytest.raises(
    DatasetError, match=r"labels are <U3 of shape \(60,\): give integers of shape \[n\]; np.unique"
  ):
    checked_dataset("spec", **bad)


@pytest.mark.parametrize("label", [10**6, 2**62, 2**63 + 5])
def test_labels_that_count_no_classes_are_refused_before_each_gets_a_name(splits, label):
  labels = splits["train"][1].astype(np.uint64)
  labels[7] = label
  with pytest.raises(DatasetError, match=f"train label {label} of example 7 is no number of a cl"):
    checked_dataset("spec", **with_train(splits, labels=labels))


@pytest.mark.parametrize("number", [10**12, 0, -3])
def test_a_number_of_classes_beyond_reason_is_refused(splits, number):
  with pytest.raises(DatasetError, match=f"^spec: {number} classes: give 1 to 1,000,000$"):
    checked_dataset("spec", **splits, num_classes=number)


def test_warnings_of_the_reader_come_first(splits):
  dataset = checked_dataset("spec", **splits, num_classes=11, pixel_max=16, warnings=["spec: old"])
  assert dataset.warnings[0] == "spec: old"
  assert [text.startswith("spec: of 11 classes") for text in dataset.warnings] == [False, True]


def test_counts_that_differ_are_refused(splits):
  bad = with_train(splits, labels=splits["train"][1][:-1])
  with pytest.raises(
    DatasetError, match=r"^spec: train has 60 images but 59 labels: give one each"
  ):
    checked_dataset("spec", **bad)


def test_an_empty_split_is_refused(splits):
  images, labels = splits["test"]
  with pytest.raises(DatasetError, match=r"^spec: test has no examples: give at least one"):
    checked_dataset("spec", train=splits["train"], test=(images[:0], labels[:0]))


def test_splits_of_different_shapes_are_refused(splits):
  bad = with_train(splits, images=splits["train"][0][:, :7])
  with pytest.raises(DatasetError, match=r"images are \(7, 8, 1\), test images \(8, 8, 1\)"):
    checked_dataset("spec", **bad)


@pytest.mark.parametrize("label", [-1, 10])
def test_labels_outside_the_classes_are_refused(splits, label):
  labels = splits["train"][1].copy()
  labels[[7, 9]] = label
  with pytest.raises(DatasetError, match=f"train label {label} of example 7 is outside 0..9"):
    checked_dataset("spec", **with_train(splits, labels=labels), num_classes=10)


@pytest.mark.parametrize("pixel_max", [0, -1, np.nan, np.inf])
def test_a_pixel_max_that_is_not_positive_is_refused(splits, pixel_max):
  with pytest.raises(DatasetError, match=f"means 1 is {pixel_max}: give a positive one"):
    checked_dataset("spec", **splits, pixel_max=pixel_max)


def test_class_names_that_do_not_fit_are_refused(splits):
  with pytest.raises(DatasetError, match="2 class names for 10 classes: name each one"):
    checked_dataset("spec", **splits, class_names=["odd", "even"])


def test_examples_may_have_ids(splits):
  names = [f"test_{number}" for number in range(40)]
  dataset = checked_dataset("spec", **splits, test_ids=names)
  assert dataset.train.ids is None
  assert dataset.test.ids.tolist() == names
  assert not dataset.test.ids.flags.writeable


@pytest.mark.parametrize(
  ("ids", "message"),
  [
    (["a"] * 3, "spec: test has 3 ids for 40 examples: give one each"),
    ([*map(str, range(39)), "7"], "spec: test has the id 7 more than once: name each"),
  ],
)
def test_ids_that_name_no_one_example_are_refused(splits, ids, message):
  with pytest.raises(DatasetError) as raised:
    checked_dataset("spec", **splits, test_ids=ids)
  assert str(raised.value) == message
