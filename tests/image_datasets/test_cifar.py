import pickle
import pickletools

import numpy as np
import pytest

from image_datasets import DatasetError, cifar, load_dataset
from tests.helpers.cifar import BATCHES, NAMES, planes, splits, write_python
from tests.helpers.python2 import python2_pickle

FINE = [f"fine_{i}" for i in range(100)]


@pytest.fixture(scope="module")
def images():
  """Twelve images of random pixels: ten for training, two to a batch, and two for testing."""
  return np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def labels():
  return np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8])


def write_binary(directory, images, labels):
  for name, some, their in splits(images, labels, [*BATCHES, "test_batch"]):
    records = np.concatenate([their.astype(np.uint8)[:, np.newaxis], planes(some)], axis=1)
    (directory / f"{name}.bin").write_bytes(records.tobytes())
  (directory / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")


def write_python_100(directory, images, labels, dump=python2_pickle):
  for name, some, their in splits(images, labels, ["train", "test"]):
    batch = {
      "fine_labels": (their * 10).tolist(),
      "coarse_labels": their.tolist(),
      "data": planes(some),
    }
    (directory / name).write_bytes(dump(batch))
  meta = {"fine_label_names": FINE, "coarse_label_names": NAMES}
  (directory / "meta").write_bytes(dump(meta))


def write_binary_100(directory, images, labels):
  for name, some, their in splits(images, labels, ["train", "test"]):
    both = np.stack([their, their * 10], axis=1).astype(np.uint8)
    records = np.concatenate([both, planes(some)], axis=1)
    (directory / f"{name}.bin").write_bytes(records.tobytes())
  (directory / "fine_label_names.txt").write_text("\n".join(FINE))
  (directory / "coarse_label_names.txt").write_text("\n".join(NAMES))


VERSIONS = {
  "cifar-10-batches-py": (write_python, 1, NAMES),
  "cifar-10-batches-bin": (write_binary, 1, NAMES),
  "cifar-100-python": (write_python_100, 10, FINE),
  "cifar-100-binary": (write_binary_100, 10, FINE),
}


@pytest.mark.parametrize("name", VERSIONS)
@pytest.mark.parametrize("is_above", [False, True])
def test_every_published_version_is_read(tmp_path, images, labels, name, is_above):
  write, factor, names = VERSIONS[name]
  directory = tmp_path / name
  directory.mkdir()
  write(directory, images, labels)
  given = tmp_path if is_above else directory
  dataset = cifar.load(str(given))
  assert dataset.spec == f"cifar:{given}"
  np.testing.assert_array_equal(dataset.train.images, images[:10])
  np.testing.assert_array_equal(dataset.test.images, images[10:])
  np.testing.assert_array_equal(dataset.train.labels, labels[:10] * factor)
  np.testing.assert_array_equal(dataset.test.labels, labels[10:] * factor)
  assert dataset.class_names == tuple(names)
  assert (dataset.num_classes, dataset.pixel_max) == (len(names), 255.0)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("keys", [str, str.encode])
def test_pickles_that_were_written_again_are_read(tmp_path, images, labels, protocol, keys):
  def dump(value):
    return pickle.dumps({keys(key): item for key, item in value.items()}, protocol)

  write_python(tmp_path, images, labels, dump)
  if keys is not str and protocol < 3:  # bytes are calls of codecs there
    with pytest.raises(DatasetError, match="a dictionary by other keys than short strings"):
      cifar.load(str(tmp_path))
  else:
    dataset = cifar.load(str(tmp_path))
    np.testing.assert_array_equal(dataset.train.images, images[:10])
    np.testing.assert_array_equal(dataset.train.labels, labels[:10])


def test_classes_without_a_file_of_names_are_numbers(tmp_path, images, labels):
  write_python(tmp_path, images, labels)
  (tmp_path / "batches.meta").unlink()
  assert cifar.load(str(tmp_path)).class_names == tuple("0123456789")


def test_several_versions_are_to_choose_from(tmp_path, images, labels):
  for name in ("cifar-10-batches-bin", "cifar-100-python"):
    (tmp_path / name).mkdir()
    VERSIONS[name][0](tmp_path / name, images, labels)
  with pytest.raises(
    DatasetError,
    match=f"^{tmp_path}: holds 2 versions of CIFAR; choose one of "
    f"cifar:{tmp_path}/cifar-10-batches-bin, cifar:{tmp_path}/cifar-100-python$",
  ):
    cifar.load(str(tmp_path))


def test_a_directory_without_any_is_refused(tmp_path):
  (tmp_path / "notes").touch()
  with pytest.raises(
    DatasetError, match=f"^{tmp_path}: is and holds none of cifar-10-batches-py, .*; check the path"
  ):
    cifar.load(str(tmp_path))


def test_a_single_file_is_refused(tmp_path, images, labels):
  write_python(tmp_path, images, labels)
  with pytest.raises(
    DatasetError, match="data_batch_1: is a file, or empty: give the directory th"
  ):
    cifar.load(f"{tmp_path}/data_batch_1")


def test_an_archive_in_the_directory_is_to_be_unpacked(tmp_path):
  (tmp_path / "cifar-10-python.tar.gz").touch()
  with pytest.raises(
    DatasetError, match=f"^{tmp_path}: holds the archive cifar-10-python.tar.gz: unpack it with"
  ):
    cifar.load(str(tmp_path))


@pytest.mark.parametrize("name", VERSIONS)
@pytest.mark.parametrize("kind", ["idx", "npz"])
def test_cifar_is_meant_where_other_files_are_asked_for(tmp_path, images, labels, name, kind):
  VERSIONS[name][0](tmp_path, images, labels)
  with pytest.raises(DatasetError, match=rf"; did you mean cifar:{tmp_path}\?$"):
    load_dataset(f"{kind}:{tmp_path}")


def test_an_archive_is_to_be_unpacked():
  with pytest.raises(DatasetError, match=r"^x/cifar-10-python.tar.gz: is an archive: unpack it"):
    cifar.load("x/cifar-10-python.tar.gz")


@pytest.mark.parametrize("name", ["data_batch_3", "data_batch_3.bin"])
def test_a_missing_batch_is_named(tmp_path, images, labels, name):
  (write_binary if name.endswith(".bin") else write_python)(tmp_path, images, labels)
  (tmp_path / name).unlink()
  with pytest.raises(DatasetError, match=f"^{tmp_path}/{name}: .*; check the path and your access"):
    cifar.load(str(tmp_path))


@pytest.mark.parametrize(
  ("batch", "reason"),
  [
    (["labels"], "a pickle without a dictionary"),
    ({"data": np.zeros((2, 3072), np.uint8)}, "a pickle without data and labels, only data"),
    ({"labels": [1, 2]}, "a pickle without data and labels, only labels"),
    ({"labels": [1, "\n"], "data": []}, "labels that are no numbers of classes"),
    ({"labels": [1, 256], "data": []}, "labels that are no numbers of classes"),
    ({"labels": [1, 2], "data": [0, 1]}, "no NumPy array where one is expected"),
    (
      {"labels": [1, 2], "data": np.zeros((2, 3071), np.uint8)},
      r"pixels of shape \(2, 3071\), expected \(n, 3072\)",
    ),
    (
      {"labels": [1, 2], "data": np.zeros(6144, np.uint8)},
      r"pixels of shape \(6144,\), expected .*",
    ),
  ],
)
def test_batches_of_anything_else_are_refused(tmp_path, images, labels, batch, reason):
  write_python(tmp_path, images, labels)
  (tmp_path / "data_batch_2").write_bytes(python2_pickle(batch))
  with pytest.raises(
    DatasetError, match=f"^{tmp_path}/data_batch_2: {reason}; the file is damaged"
  ):
    cifar.load(str(tmp_path))


def test_fewer_labels_than_images_are_refused(tmp_path, images, labels):
  write_python_100(tmp_path, images, labels)
  batch = {"data": planes(images), "fine_labels": [1, 2]}
  (tmp_path / "train").write_bytes(python2_pickle(batch))
  with pytest.raises(DatasetError, match=f"^cifar:{tmp_path}: train has 12 images but 2 labels"):
    cifar.load(str(tmp_path))


def test_a_label_beyond_the_classes_is_refused(tmp_path, images, labels):
  write_binary(tmp_path, images, labels + 5)
  with pytest.raises(DatasetError, match=r"train label 10 of example 4 is outside 0\.\.9"):
    cifar.load(str(tmp_path))


@pytest.mark.parametrize("name", ["cifar-10-batches-bin", "cifar-100-binary"])
def test_a_binary_file_cut_short_is_refused(tmp_path, images, labels, name):
  VERSIONS[name][0](tmp_path, images, labels)
  path = min(tmp_path.glob("*test*.bin"))
  content = path.read_bytes()[:-1]
  path.write_bytes(content)
  with pytest.raises(
    DatasetError, match=f"^{path}: {len(content)} bytes are no multiple of 307[34], those of an im"
  ):
    cifar.load(str(tmp_path))


def test_names_of_anything_else_are_refused(tmp_path, images, labels):
  write_python(tmp_path, images, labels)
  path = tmp_path / "batches.meta"
  for meta in ({"names": NAMES}, {"label_names": [1, 2]}):
    path.write_bytes(python2_pickle(meta))
    with pytest.raises(DatasetError, match=f"^{path}: a pickle without label_names; the file is"):
      cifar.load(str(tmp_path))
  path.write_bytes(python2_pickle({"label_names": NAMES[:9]}))
  with pytest.raises(DatasetError, match="9 class names for 10 classes"):
    cifar.load(str(tmp_path))


def test_whatever_a_pickle_says_the_outcome_is_a_data_set_or_one_line(tmp_path, images, labels):
  """Changes a batch instruction by instruction: left out, doubled, swapped, or another one."""
  random = np.random.default_rng(0)
  write_python(tmp_path, images, labels)
  path = tmp_path / "data_batch_1"
  whole = path.read_bytes()
  starts = [position for _, _, position in pickletools.genops(whole)]
  instructions = [whole[i:j] for i, j in zip(starts, [*starts[1:], len(whole)], strict=True)]
  codes = [instruction.code.encode("latin-1") for instruction in pickletools.opcodes]
  read, messages = 0, []
  for _ in range(600):
    changed = list(instructions)
    for _ in range(random.integers(1, 3)):
      i, j = random.integers(len(changed), size=2)
      match random.integers(4):
        case 0:
          del changed[i]
        case 1:
          changed.insert(j, changed[i])
        case 2:
          changed[i], changed[j] = changed[j], changed[i]
        case _:
          changed[i] = codes[random.integers(len(codes))] + changed[i][1:]
    path.write_bytes(b"".join(changed))
    try:
      cifar.load(str(tmp_path))
      read += 1
    except DatasetError as error:
      messages.append(str(error))
  assert 0 < read < 300
  assert all(str(tmp_path) in text and text.isprintable() for text in messages)
