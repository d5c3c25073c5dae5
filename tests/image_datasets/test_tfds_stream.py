import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from files.tfrecord import frame, read_records
from image_datasets import DatasetError, ImageDataset, StreamedDataset, check_images, load_dataset
from tests.helpers.image_trees import crop_photograph
from tests.image_datasets.test_tfds import LABEL, prepare


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory, real_digits):
  directory = tmp_path_factory.mktemp("tfds")
  tall = [
    (np.repeat(x[..., np.newaxis], 200, axis=0), y) for x, y in zip(*real_digits, strict=True)
  ]
  image = tfds.features.Image(shape=(1600, 8, 1))
  prepare(directory, {"train": tall[:70], "test": tall[70:]}, image=image, label=LABEL)
  crops = [(crop_photograph(i), i % 10) for i in range(12)]
  image = tfds.features.Image(shape=(None, None, 3))
  splits = {"train": crops[:8], "validation": crops[8:]}
  prepare(directory, splits, "photographs", image=image, label=LABEL)
  return str(directory)


def test_what_exceeds_the_memory_is_streamed_as_it_would_be_held(data_dir):
  held = load_dataset("tfds:tiny_digits", data_dir)
  streamed = load_dataset("tfds:tiny_digits,memory=1MB", data_dir)
  assert isinstance(held, ImageDataset)
  assert isinstance(streamed, StreamedDataset)
  assert streamed.class_names == held.class_names
  assert streamed.image_shape == held.image_shape == (1600, 8, 1)
  for split in ("train", "test"):
    ours, theirs = getattr(streamed, split), getattr(held, split)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    for batch, expected in zip(ours.batches(20), theirs.batches(20), strict=True):
      np.testing.assert_array_equal(batch.examples, expected.examples)
      np.testing.assert_array_equal(batch.images, expected.images)
  assert len(list(check_images(streamed))) == 100


def test_images_of_many_sizes_are_preprocessed_as_imagenet(data_dir):
  dataset = load_dataset("tfds:photographs,test=validation", data_dir)
  assert (len(dataset.train), len(dataset.test)) == (8, 4)
  assert dataset.image_shape == (224, 224, 3)
  assert dataset.crops_resized
  shapes = {picture.shape for picture in dataset.train.pictures(range(8))}
  assert shapes == {crop_photograph(i).shape for i in range(8)}


def test_ids_are_those_that_it_would_have_in_memory(tmp_path, real_digits):
  examples = [
    (image[..., np.newaxis], label, f"train_{number}")
    for number, (image, label) in enumerate(zip(*real_digits, strict=True))
  ]
  image = tfds.features.Image(shape=(8, 8, 1))
  splits = {"train": examples[:30], "test": examples[30:50]}
  prepare(tmp_path, splits, image=image, label=LABEL, id=tfds.features.Text())
  held = load_dataset("tfds:tiny_digits", str(tmp_path))
  streamed = load_dataset("tfds:tiny_digits,memory=0MB", str(tmp_path))
  assert isinstance(streamed, StreamedDataset)
  for split in ("train", "test"):
    ids = getattr(streamed, split).ids
    assert ids.tolist() == getattr(held, split).ids.tolist()
    assert sorted(ids) != ids.tolist()


@pytest.mark.parametrize("damage", ["label", "image"])
def test_unsound_records_are_named(tmp_path, damage):
  crops = [(crop_photograph(i), i % 10) for i in range(12)]
  splits = {"train": crops[:8], "test": crops[8:]}
  image = tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
  prepare(tmp_path, splits, image=image, label=LABEL)
  assert len(list(check_images(load_dataset("tfds:tiny_digits", str(tmp_path))))) == 12
  path = next(tmp_path.glob("tiny_digits/1.0.0/*-train.tfrecord-00000-*"))
  content, *others = [record.content for record in read_records(str(path))]
  example = tf.train.Example.FromString(content)
  if damage == "label":
    example.features.feature["label"].int64_list.value[0] = 10
  else:
    encoded = example.features.feature["image"].bytes_list
    encoded.value[0] = encoded.value[0][:-500]
  records = [example.SerializeToString(), *others]
  path.write_bytes(b"".join(map(frame, records)))
  message = {
    "label": f"{path}: example 0: its label is 10, not what the index beside it says",
    "image": f"{path}: example 0: cannot be decoded",
  }[damage]
  with pytest.raises(DatasetError, match=message):
    list(check_images(load_dataset("tfds:tiny_digits", str(tmp_path))))
  if damage == "label":
    path.with_name("train-index.npz").unlink()
    message = "tfds:tiny_digits: train label 10 of example 0 is outside 0..9: correct the labels"
    with pytest.raises(DatasetError, match=message):
      load_dataset("tfds:tiny_digits", str(tmp_path))


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("tfds:photographs", r"has no split test, only .*or write tfds:photographs,test=SPLIT"),
    ("tfds:tiny_digits,memory=much", "memory=much is no amount of memory: write 500MB or 4GB"),
  ],
)
def test_what_is_missing_is_said(data_dir, spec, message):
  with pytest.raises(DatasetError, match=f"^{spec}: {message}"):
    load_dataset(spec, data_dir)


def test_files_of_another_format_cannot_be_streamed(tmp_path, real_digits):
  examples = [(x[..., np.newaxis], y) for x, y in zip(*real_digits, strict=True)]
  features = {"image": tfds.features.Image(shape=(8, 8, 1)), "label": LABEL}
  tfds.dataset_builders.store_as_tfds_dataset(
    name="tiny_digits",
    version="1.0.0",
    features=tfds.features.FeaturesDict(features),
    split_datasets={
      split: [(i, dict(zip(features, x, strict=True))) for i, x in enumerate(examples[:20])]
      for split in ("train", "test")
    },
    data_dir=tmp_path,
    file_format="array_record",
    download_config=tfds.download.DownloadConfig(num_shards=1),
  )
  with pytest.raises(DatasetError, match="its files are array_record, which cannot be streamed"):
    load_dataset("tfds:tiny_digits,memory=0MB", str(tmp_path))
