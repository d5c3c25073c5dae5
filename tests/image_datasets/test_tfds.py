import logging

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from image_datasets import DatasetError, load_dataset

SHARDS = 3
IMAGE = tfds.features.Image(shape=(8, 8, 1))
LABEL = tfds.features.ClassLabel(names=[f"digit {i}" for i in range(10)])


def prepare(data_dir, splits, name="tiny_digits", version="1.0.0", **features):
  """Prepares a data set as TFDS itself does, so that only its files are left to load."""
  features = features or {"image": IMAGE, "label": LABEL}
  return tfds.dataset_builders.store_as_tfds_dataset(
    name=name,
    version=version,
    features=tfds.features.FeaturesDict(features),
    split_datasets={
      split: [(i, dict(zip(features, example, strict=True))) for i, example in enumerate(examples)]
      for split, examples in splits.items()
    },
    data_dir=data_dir,
    download_config=tfds.download.DownloadConfig(num_shards=SHARDS),
  )


@pytest.fixture(scope="module")
def splits(real_digits):
  examples = [(image[..., np.newaxis], label) for image, label in zip(*real_digits, strict=True)]
  return {"train": examples[:70], "test": examples[70:]}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory, splits):
  directory = tmp_path_factory.mktemp("tfds")
  prepare(directory, splits)
  return directory


def read_shards(data_dir, split):
  """Reads a split's shards one after another, without TFDS."""
  images, labels = [], []
  for path in sorted(map(str, data_dir.glob(f"tiny_digits/1.0.0/*-{split}.tfrecord-*"))):
    for record in tf.data.TFRecordDataset(path):
      feature = tf.train.Example.FromString(record.numpy()).features.feature
      images.append(tf.io.decode_png(feature["image"].bytes_list.value[0]).numpy())
      labels.append(feature["label"].int64_list.value[0])
  return np.array(images), np.array(labels)


@pytest.mark.parametrize("spec", ["tfds:tiny_digits", "tfds:tiny_digits:1.0.0"])
def test_a_prepared_data_dir_loads_in_the_order_of_its_shards(data_dir, splits, spec):
  dataset = load_dataset(spec, data_dir=str(data_dir))
  assert dataset.spec == spec
  for name, split in (("train", dataset.train), ("test", dataset.test)):
    images, labels = read_shards(data_dir, name)
    np.testing.assert_array_equal(split.images, images)
    np.testing.assert_array_equal(split.labels, labels)
    original = sorted((int(label), image.tobytes()) for image, label in splits[name])
    assert sorted((int(y), x.tobytes()) for x, y in zip(images, labels, strict=True)) == original
  assert len(list(data_dir.glob("*/*/*-train.tfrecord-*"))) == SHARDS


def test_tfds_order_is_not_the_original_order(data_dir, splits):
  dataset = load_dataset("tfds:tiny_digits", data_dir=str(data_dir))
  assert dataset.train.labels.tolist() != [label for _, label in splits["train"]]


def test_a_data_set_that_tfds_has_code_for_loads_offline(tmp_path, splits):
  padding = ((10, 10), (10, 10), (0, 0))
  padded = {
    name: [(np.pad(image, padding), label) for image, label in examples]
    for name, examples in splits.items()
  }
  features = {
    "image": tfds.features.Image(shape=(28, 28, 1)),
    "label": tfds.features.ClassLabel(num_classes=10),
  }
  prepare(tmp_path, padded, name="mnist", version="3.0.1", **features)
  dataset = load_dataset("tfds:mnist", data_dir=str(tmp_path))
  expected = sorted((int(label), image.tobytes()) for image, label in padded["test"])
  pairs = zip(dataset.test.images, dataset.test.labels, strict=True)
  assert sorted((int(label), image.tobytes()) for image, label in pairs) == expected
  assert len(dataset.train) == len(padded["train"])


def test_ids_of_examples_are_kept(tmp_path, splits, data_dir):
  named = {
    name: [(*example, f"{name}_{number}") for number, example in enumerate(examples)]
    for name, examples in splits.items()
  }
  prepare(tmp_path, named, image=IMAGE, label=LABEL, id=tfds.features.Text())
  dataset = load_dataset("tfds:tiny_digits", data_dir=str(tmp_path))
  for name, split in (("train", dataset.train), ("test", dataset.test)):
    assert sorted(split.ids) == sorted(f"{name}_{number}" for number in range(len(split)))
    for image, label, id_ in zip(split.images, split.labels, split.ids, strict=True):
      original, original_label = splits[name][int(id_.removeprefix(f"{name}_"))]
      assert (label, image.tobytes()) == (original_label, original.tobytes())
  assert load_dataset("tfds:tiny_digits", data_dir=str(data_dir)).train.ids is None


def test_classes_come_with_their_names(data_dir):
  dataset = load_dataset("tfds:tiny_digits", data_dir=str(data_dir))
  assert dataset.num_classes == 10
  assert dataset.class_names == tuple(LABEL.names)
  assert (dataset.image_shape, dataset.pixel_max) == ((8, 8, 1), 255.0)


def test_loading_prints_and_logs_nothing(data_dir, capsys, caplog):
  level = logging.getLogger("absl").level
  load_dataset("tfds:tiny_digits", data_dir=str(data_dir))
  assert capsys.readouterr() == ("", "")
  assert caplog.records == []
  assert logging.getLogger("absl").level == level


def test_an_unknown_name_is_refused(tmp_path):
  with pytest.raises(DatasetError, match=f"^tfds:mnits in {tmp_path}: .* not found; see https://"):
    load_dataset("tfds:mnits", data_dir=str(tmp_path))


def test_an_unknown_version_of_what_tfds_has_code_for_is_refused(tmp_path):
  with pytest.raises(
    DatasetError,
    match=rf"^tfds:mnist:9.9.9 in {tmp_path}: has no version 9\.9\.9, only 3\.0\.1: "
    r"write tfds:mnist:3\.0\.1$",
  ):
    load_dataset("tfds:mnist:9.9.9", data_dir=str(tmp_path))


def test_an_unknown_version_of_what_is_prepared_is_refused(tmp_path, splits):
  for version in ("1.0.0", "1.2.0"):
    prepare(tmp_path, splits, version=version)
  with pytest.raises(
    DatasetError,
    match=rf"^tfds:tiny_digits:2.0.0 in {tmp_path}: has no version 2\.0\.0, only 1\.0\.0, 1\.2\.0: "
    r"write tfds:tiny_digits:1\.2\.0$",
  ):
    load_dataset("tfds:tiny_digits:2.0.0", data_dir=str(tmp_path))
  assert len(load_dataset("tfds:tiny_digits:1.0.0", data_dir=str(tmp_path)).train) == 70


def test_an_unknown_name_with_a_version_is_refused(tmp_path):
  with pytest.raises(DatasetError, match=f"^tfds:mnits:1.0.0 in {tmp_path}: .* not found; see htt"):
    load_dataset("tfds:mnits:1.0.0", data_dir=str(tmp_path))


def test_data_that_cannot_be_prepared_is_announced_and_refused(tmp_path, caplog):
  # TFDS cannot fetch ImageNet, network or not: it wants the archives put there by hand.
  directory = tmp_path / "imagenet2012" / "5.1.0"
  with pytest.raises(DatasetError) as raised:
    load_dataset("tfds:imagenet2012:5.1.0", data_dir=str(tmp_path))
  message = str(raised.value)
  assert message.startswith(
    f"tfds:imagenet2012:5.1.0 could not be downloaded and prepared in {directory}: Manual directory"
  )
  assert message.endswith(
    "run `tfds build imagenet2012:5.1.0` where the network is open and give "
    "its directory as data_dir"
  )
  assert "\n" not in message
  assert [record.getMessage() for record in caplog.records] == [
    f"tfds:imagenet2012:5.1.0 is not in {directory} yet: downloading it "
    "(without a network TFDS gives up after 3 to 4 minutes; to avoid that, run "
    "`tfds build imagenet2012:5.1.0` where the network is open and copy its directory)"
  ]


def test_a_validation_split_is_left_out_with_a_warning(tmp_path, splits):
  prepare(tmp_path, {**splits, "validation": splits["test"]})
  dataset = load_dataset("tfds:tiny_digits", data_dir=str(tmp_path))
  assert len(dataset.train) == 70
  assert dataset.warnings[0].startswith(
    "tfds:tiny_digits: the validation split validation is left out: examples are counted in"
  )


def test_a_missing_split_is_named(tmp_path, splits):
  prepare(tmp_path, {"train": splits["train"], "validation": splits["test"]})
  with pytest.raises(DatasetError, match="has no split test, only train, validation: choose"):
    load_dataset("tfds:tiny_digits", data_dir=str(tmp_path))


@pytest.mark.parametrize(
  "features",
  [
    {"image": IMAGE, "digit": LABEL},
    {"image": IMAGE, "label": tfds.features.Scalar(np.int64)},
    {"image": tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint8), "label": LABEL},
  ],
)
def test_features_of_another_kind_are_refused(tmp_path, splits, features):
  prepare(tmp_path, splits, **features)
  with pytest.raises(
    DatasetError, match=f"has the features {', '.join(sorted(features))}: choose a data set with an"
  ):
    load_dataset("tfds:tiny_digits", data_dir=str(tmp_path))


def test_images_of_more_than_8_bits_are_refused(tmp_path, splits):
  deep = {
    name: [(image.astype(np.uint16), label) for image, label in examples]
    for name, examples in splits.items()
  }
  prepare(tmp_path, deep, image=tfds.features.Image(shape=(8, 8, 1), dtype=np.uint16), label=LABEL)
  with pytest.raises(DatasetError, match=r"^tfds:tiny_digits: train images are uint16, not uint8"):
    load_dataset("tfds:tiny_digits", data_dir=str(tmp_path))


def test_a_damaged_shard_is_refused(tmp_path, splits):
  builder = prepare(tmp_path, splits)
  shard = min(tmp_path.glob("*/*/*-test.tfrecord-*"))
  shard.write_bytes(shard.read_bytes()[:-10])
  with pytest.raises(
    DatasetError, match=f"^tfds:tiny_digits in {builder.data_dir}: .*; delete that directory and"
  ):
    load_dataset("tfds:tiny_digits", data_dir=str(tmp_path))
