import gzip
import io
import zipfile

import numpy as np
import pytest

from image_datasets import DatasetError, npz


@pytest.fixture
def arrays(real_digits):
  images, labels = real_digits
  return {
    "train__image": images[:60],
    "train__label": labels[:60],
    "test__image": images[60:],
    "test__label": labels[60:],
  }


@pytest.fixture
def path(tmp_path):
  return tmp_path / "data.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_load_reads_the_arrays_and_the_defaults(path, arrays, save):
  save(path, **arrays)
  dataset = npz.load(str(path))
  assert dataset.spec == f"npz:{path}"
  np.testing.assert_array_equal(dataset.train.images[..., 0], arrays["train__image"])
  np.testing.assert_array_equal(dataset.train.labels, arrays["train__label"])
  np.testing.assert_array_equal(dataset.test.images[..., 0], arrays["test__image"])
  np.testing.assert_array_equal(dataset.test.labels, arrays["test__label"])
  assert (dataset.num_classes, dataset.pixel_max) == (10, 255.0)


def test_load_reads_the_numbers(path, arrays):
  np.savez(path, **arrays, __num_classes=12, __data_scale=16.0, note="more")
  dataset = npz.load(str(path))
  assert (dataset.num_classes, dataset.pixel_max) == (12, 16.0)
  assert dataset.class_names[-1] == "11"


def test_a_missing_array_is_named(path, arrays):
  del arrays["test__label"], arrays["train__image"]
  np.savez(path, **arrays)
  with pytest.raises(
    DatasetError,
    match=f"^{path}: has no train__image, test__label, only train__label, test__image: name",
  ):
    npz.load(str(path))


def test_an_empty_archive_is_refused(path):
  np.savez(path)
  with pytest.raises(DatasetError, match="test__label, only nothing: name the arrays"):
    npz.load(str(path))


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_an_archive_cut_short_is_refused(path, arrays, part):
  np.savez(path, **arrays)
  content = path.read_bytes()[: int(part * path.stat().st_size)]
  path.write_bytes(content)
  with pytest.raises(
    DatasetError, match=rf"^{path}: no complete .npz archive in its {len(content)} bytes: write"
  ):
    npz.load(str(path))


def test_a_single_array_is_refused(path, arrays):
  with path.open("wb") as file:
    np.save(file, arrays["train__image"])
  with pytest.raises(DatasetError, match=f"^{path}: no complete .npz archive"):
    npz.load(str(path))


def test_a_damaged_array_is_named(path, arrays):
  np.savez(path, **arrays)
  content = bytearray(path.read_bytes())
  content[content.index(arrays["test__image"].tobytes()) + 100] ^= 0xFF
  path.write_bytes(content)
  with pytest.raises(DatasetError, match=f"^{path}: test__image: Bad CRC-32.*; store plain"):
    npz.load(str(path))


def test_pickled_objects_are_never_read(path, arrays):
  np.savez(path, **arrays | {"train__label": np.array([object()] * 60)})
  with pytest.raises(DatasetError, match=f"^{path}: train__label: Object arrays cannot.*; store"):
    npz.load(str(path))


def test_a_member_that_is_no_array_is_refused(path, arrays):
  np.savez(path, **{key: array for key, array in arrays.items() if key != "train__image"})
  with zipfile.ZipFile(path, "a") as archive:
    archive.writestr("train__image", b"pixels")
  with pytest.raises(DatasetError, match=r"train images are \|S6, not uint8"):
    npz.load(str(path))


def test_float_images_are_refused_with_the_way_out(path, arrays):
  np.savez(path, **arrays | {"train__image": arrays["train__image"] / np.float32(16)})
  with pytest.raises(
    DatasetError, match=f"^npz:{path}: train images are float32, not uint8: .* as __data_scale"
  ):
    npz.load(str(path))


def test_labels_outside_the_classes_are_refused(path, arrays):
  np.savez(path, **arrays, __num_classes=5)
  with pytest.raises(DatasetError, match=r"train label 5 of example 5 is outside 0\.\.4"):
    npz.load(str(path))


@pytest.mark.parametrize(
  ("key", "value", "message"),
  [
    ("__num_classes", 10.0, r"__num_classes is float64 of shape \(\): store one integer"),
    ("__num_classes", [5, 5], r"__num_classes is int64 of shape \(2,\): store one integer"),
    ("__data_scale", "255", r"__data_scale is <U3 of shape \(\): store one number"),
    ("__data_scale", 0, "the pixel value that means 1 is 0: give a positive one"),
  ],
)
def test_numbers_of_another_kind_are_refused(path, arrays, key, value, message):
  np.savez(path, **arrays, **{key: value})
  with pytest.raises(DatasetError, match=message):
    npz.load(str(path))


def test_a_gzipped_archive_is_unpacked(tmp_path, arrays):
  buffer = io.BytesIO()
  np.savez(buffer, **arrays)
  path = tmp_path / "data.npz.gz"
  path.write_bytes(gzip.compress(buffer.getvalue()))
  assert len(npz.load(str(path)).train) == 60
