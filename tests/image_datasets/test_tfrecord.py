import logging
import re

import numpy as np
import pytest
import tensorflow as tf

from files.tfrecord import frame, read_records
from image_datasets import DatasetError, check_images, load_dataset
from image_datasets.example_records import StoredExample, encode_example
from tests.helpers.image_trees import crop_photograph, encode

TRAIN, TEST, CLASSES, SHARDS = 12, 6, 3, 3


def _content(split, example):
  return encode(crop_photograph(example + 50 * (split != "train")), quality=90)


def _label(split, example):
  return (2 * example + (split != "train")) % CLASSES


def _record(split, example, **changed):
  fields = {
    "example": example,
    "label": _label(split, example),
    "synset": f"n{_label(split, example)}",
    "text": f"class {_label(split, example)}",
    "file_name": f"{split}_{example}.JPEG",
    "content": _content(split, example),
    "height": 1,
    "width": 1,
  }
  return encode_example(StoredExample(**fields | changed))


def write_shards(directory, split, records, shards=SHARDS):
  """Writes records in another order than that of their indices."""
  directory.mkdir(exist_ok=True)
  for shard in range(shards):
    content = b"".join(frame(record) for record in records[::-1][shard::shards])
    (directory / f"{split}-{shard:05d}-of-{shards:05d}").write_bytes(content)


def write_dataset(directory, test="validation", **changed):
  """Writes a data set; `changed` has what differs in some training record, by its number."""
  records = [_record("train", i) for i in range(TRAIN)]
  for number, fields in changed.items():
    example = int(number[1:])
    fields = {"label": _label("train", example), "content": _content("train", example)} | fields
    records[example] = _record("train", **{"example": example} | fields)
  write_shards(directory, "train", records)
  write_shards(directory, test, [_record(test, i) for i in range(TEST)])
  return f"tfrecord:{directory}"


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
  return write_dataset(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def dataset(spec):
  return load_dataset(spec)


def _expected(split, example):
  from image_datasets.preprocessing import ImageNetPreprocessing

  return ImageNetPreprocessing().decode(tf.constant(_content(split, example)), None).numpy()


def test_sizes_labels_and_names_come_by_index(spec, dataset):
  assert dataset.spec == spec
  assert (len(dataset.train), len(dataset.test)) == (TRAIN, TEST)
  assert dataset.train.labels.tolist() == [_label("train", i) for i in range(TRAIN)]
  assert dataset.test.labels.tolist() == [_label("validation", i) for i in range(TEST)]
  assert not dataset.train.labels.flags.writeable
  assert dataset.class_names == ("class 0", "class 1", "class 2")
  assert (dataset.num_classes, dataset.image_shape) == (CLASSES, (224, 224, 3))
  assert dataset.train.ids.tolist() == [f"train_{i}.JPEG" for i in range(TRAIN)]
  assert dataset.warnings == ()


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_a_pass_has_every_example_once_under_its_index(dataset, batch_size):
  batches = list(dataset.train.batches(batch_size))
  assert all(len(batch.examples) == batch_size for batch in batches[:-1])
  examples = np.concatenate([batch.examples for batch in batches])
  assert sorted(examples) == list(range(TRAIN))
  assert examples.tolist() != list(range(TRAIN))  # they come as they lie
  for batch in batches:
    for example, image in zip(batch.examples, batch.images, strict=True):
      np.testing.assert_array_equal(image, _expected("train", example))


def test_an_order_that_is_asked_for_is_kept(dataset):
  order = np.array([3, 1, 3, 11, 0])
  (batch,) = dataset.train.batches(8, order)
  np.testing.assert_array_equal(batch.examples, order)
  for example, image in zip(order, batch.images, strict=True):
    np.testing.assert_array_equal(image, _expected("train", example))


def test_random_crops_follow_from_their_seeds(dataset):
  order = np.array([3, 1, 3, 3])
  seeds = np.array([[1, 2], [1, 2], [1, 2], [2, 1]], np.int32)
  (batch,) = dataset.train.batches(8, order, seeds)
  np.testing.assert_array_equal(batch.images[0], batch.images[2])
  assert np.abs(batch.images[0] - batch.images[3]).max() > 0.1
  assert np.abs(batch.images[0] - _expected("train", 3)).max() > 0.1


def test_pictures_are_whole_images_and_read_nothing_else(tmp_path):
  dataset = load_dataset(write_dataset(tmp_path / "records"))
  (shard,) = {dataset.train.where(example).split(": ")[0] for example in (5, 2)}
  for path in (tmp_path / "records").glob("*-of-*"):
    if str(path) != shard:
      path.unlink()
  pictures = dataset.train.pictures([5, 2])
  for picture, example in zip(pictures, [5, 2], strict=True):
    content = _content("train", example)
    expected = tf.io.decode_jpeg(content, dct_method="INTEGER_ACCURATE")
    np.testing.assert_array_equal(picture, expected)


def test_the_size_of_what_models_see_can_be_chosen(spec):
  dataset = load_dataset(f"{spec},size=64")
  assert dataset.image_shape == (64, 64, 3)
  assert next(dataset.test.batches(2)).images.shape == (2, 64, 64, 3)


def test_reading_all_records_once_leaves_an_index_behind(tmp_path, caplog):
  spec = write_dataset(tmp_path / "records")
  with caplog.at_level(logging.WARNING):
    first = load_dataset(spec)
  assert caplog.text.count("reading all of") == 2
  caplog.clear()
  again = load_dataset(spec)
  assert not caplog.text
  np.testing.assert_array_equal(again.train.labels, first.train.labels)
  assert again.class_names == first.class_names
  write_shards(tmp_path / "records", "train", [_record("train", i) for i in range(TRAIN - 1)])
  assert len(load_dataset(spec).train) == TRAIN - 1  # other files: read anew


def test_a_pattern_chooses_among_files(tmp_path):
  directory = tmp_path / "records"
  write_dataset(directory)
  for path in list(directory.glob("*-of-*")):
    path.rename(directory / f"birds-{path.name}.tfrecord")
  write_shards(directory, "train", [_record("train", 0)])
  dataset = load_dataset(f"tfrecord:{directory}/birds-*")
  assert len(dataset.train) == TRAIN


def test_features_have_the_names_that_are_given(tmp_path):
  def feature(value):
    if isinstance(value, bytes):
      return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

  for split, count in (("train", TRAIN), ("test", TEST)):
    with tf.io.TFRecordWriter(f"{tmp_path}/{split}-0-of-1") as writer:
      for i in reversed(range(count)):
        image = encode(crop_photograph(i), kind="PNG" if i % 2 else "JPEG")
        values = {"i": feature(i), "y": feature(i % CLASSES), "x": feature(image)}
        example = tf.train.Example(features=tf.train.Features(feature=values))
        writer.write(example.SerializeToString())
  spec = f"tfrecord:{tmp_path},index=i,label=y,image=x,first_label=0"
  dataset = load_dataset(spec)
  assert dataset.train.labels.tolist() == [i % CLASSES for i in range(TRAIN)]
  assert dataset.class_names == ("0", "1", "2")
  assert sum(len(batch.examples) for batch in dataset.train.batches(5)) == TRAIN
  assert len(list(check_images(dataset))) == TRAIN + TEST
  with pytest.raises(DatasetError, match="has no feature index, only i, x, y: name it"):
    load_dataset(f"tfrecord:{tmp_path}")
  with pytest.raises(DatasetError, match="has index 9 and label 0: indices count from 0, and lab"):
    load_dataset(spec.replace("first_label=0", "first_label=1"))
  with pytest.raises(DatasetError, match="feature x is not one integer: name another"):
    load_dataset(spec.replace("label=y", "label=x"))


def test_a_test_set_comes_before_a_validation_set(tmp_path):
  spec = write_dataset(tmp_path / "records", test="test")
  write_shards(tmp_path / "records", "validation", [_record("validation", 0)])
  dataset = load_dataset(spec)
  assert len(dataset.test) == TEST
  (warning,) = dataset.warnings
  assert "the validation split validation is left out" in warning


@pytest.mark.parametrize(
  ("changed", "message"),
  [
    ({"_4": {"example": 5}}, "index 5 is there twice, in train-0000[0-2]-of-00003 and train-0"),
    ({"_4": {"example": 30}}, r"of 31 train examples, these are in no file: 4, 12, 13, 14, 15, …"),
    ({"_4": {"example": 1 << 40}}, "index 1,099,511,627,776 among 12 examples: these are no n"),
    (
      {"_4": {"label": -1}},
      "has index 4 and label 0: indices count from 0, and labels here from 1",
    ),
  ],
)
def test_indices_and_labels_are_looked_at_before_anything_else(tmp_path, changed, message):
  spec = write_dataset(tmp_path / "records", **changed)
  with pytest.raises(DatasetError, match=f"^{tmp_path}/records.*{message}"):
    load_dataset(spec)


def _unlink(name):
  return lambda directory: (directory / name).unlink()


def _cut(directory):
  path = directory / "train-00001-of-00003"
  path.write_bytes(path.read_bytes()[:-10])


def _compress(directory):
  (directory / "train-00001-of-00003").write_bytes(b"\x1f\x8b" + bytes(100))


def _empty(directory):
  for path in directory.glob("train-*"):
    path.write_bytes(b"")


@pytest.mark.parametrize(
  ("damage", "message"),
  [
    (_unlink("train-00001-of-00003"), "of 3 train files, 1 are missing, such as number 1: fetch"),
    (lambda path: [file.unlink() for file in path.glob("v*")], "has no files named validation-0"),
    (
      lambda path: write_shards(path, "train", [_record("train", 0)], 2),
      "has train files of several cuts, into 2 and 3: choose one by a pattern",
    ),
    (_cut, "train-00001-of-00003: is cut short within the record at byte .*: fetch or build it"),
    (_compress, "train-00001-of-00003: is no TFRecord file, is compressed, or is damaged"),
    (_empty, "its files train-00000-of-00003, … hold no examples"),
  ],
)
def test_files_that_make_no_data_set_are_refused(tmp_path, damage, message):
  spec = write_dataset(tmp_path / "records")
  damage(tmp_path / "records")
  with pytest.raises(DatasetError, match=f"^{tmp_path}/records.*{message}"):
    load_dataset(spec)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (",size=7", "size=7: give a whole number from 8 to 2048"),
    (",size=big", "size=big: give a whole number"),
    (",first_label=-1", "first_label=-1: give a whole number"),
    (",index=", "index= names no feature: write index=NAME"),
  ],
)
def test_wrong_options_are_refused(spec, options, message):
  with pytest.raises(DatasetError, match=f"^{re.escape(spec + options)}: {message}"):
    load_dataset(spec + options)


def test_a_directory_that_is_not_there_is_said(tmp_path):
  with pytest.raises(DatasetError, match="has no files named train-00000-of-00004: give the dir"):
    load_dataset(f"tfrecord:{tmp_path}/absent")


def test_an_image_that_cannot_be_decoded_is_named(tmp_path):
  cut = _content("train", 4)[:-2000]
  spec = write_dataset(tmp_path / "records", _4={"content": cut}, _7={"content": b"no image"})
  dataset = load_dataset(spec)
  name = rf"{tmp_path}/records/train-0000\d-of-00003: example %d \(train_%d.JPEG\): cannot be decod"
  with pytest.raises(DatasetError, match=f"^{name % (4, 4)}|{name % (7, 7)}") as raised:
    list(dataset.train.batches(2))
  assert "\n" not in str(raised.value)
  seen = []
  with pytest.raises(DatasetError) as raised:
    seen.extend(check_images(dataset))
  for example in (4, 7):
    assert re.search(name % (example, example), str(raised.value))
  assert len(list(check_images(load_dataset(write_dataset(tmp_path / "sound"))))) == TRAIN + TEST


def test_a_record_that_its_index_contradicts_is_found(tmp_path):
  spec = write_dataset(tmp_path / "records")
  dataset = load_dataset(spec)
  number = int(dataset.train.where(4)[-len("0-of-00003: example 4 (train_4.JPEG)")])
  path = tmp_path / "records" / f"train-{number:05d}-of-00003"
  records = [record.content for record in read_records(str(path))]
  four = _record("train", 4)
  changed = [_record("train", 4, label=0) if record == four else record for record in records]
  assert changed != records
  path.write_bytes(b"".join(map(frame, changed)))
  with pytest.raises(DatasetError, match=r"example 4 .*: its label is 1, not what the index besid"):
    list(check_images(load_dataset(spec)))


def test_files_that_change_under_the_index_are_noticed(tmp_path):
  dataset = load_dataset(write_dataset(tmp_path / "records"))
  write_shards(tmp_path / "records", "train", [_record("train", i) for i in range(4)])
  with pytest.raises(DatasetError, match=r"is not the file that its index|has no record"):
    list(dataset.train.batches(2))
  with pytest.raises(DatasetError, match="has no record of"):
    list(dataset.train.batches(2, np.arange(TRAIN)))


def test_what_may_not_be_written_is_read_all_the_same(tmp_path, monkeypatch, caplog):
  import files

  spec = write_dataset(tmp_path / "records")

  def refuse(path, content):
    raise PermissionError(13, "Permission denied", path)

  monkeypatch.setattr(files, "write_bytes", refuse)
  with caplog.at_level(logging.WARNING):
    assert len(load_dataset(spec).train) == TRAIN
  assert "train-index.npz cannot be written, so each process reads all records" in caplog.text
