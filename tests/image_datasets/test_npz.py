import gzip
import io
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from image_datasets import DatasetError, load_dataset, npz


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


@pytest.mark.parametrize(
  "names",
  [
    "x_train y_train x_test y_test",  # Keras' mnist.npz
    "train_images train_labels test_images test_labels",  # MedMNIST
    "X_train Y_train X_test Y_test",
    "train_x train_y test_x test_y",
    "images_train labels_train images_test labels_test",
    "mnist.train.data mnist.train.targets mnist.test.data mnist.test.targets",
    "training_image training_label testing_image testing_label",
  ],
)
def test_the_names_of_others_are_understood(path, arrays, names):
  np.savez(path, **dict(zip(names.split(), arrays.values(), strict=True)), notes="")
  dataset = npz.load(str(path))
  np.testing.assert_array_equal(dataset.train.images[..., 0], arrays["train__image"])
  np.testing.assert_array_equal(dataset.test.labels, arrays["test__label"])


def medmnist(arrays):
  """The arrays of a data set of MedMNIST: labels in a column, and a validation split."""
  train, validation = slice(0, 50), slice(50, 60)
  images, labels = arrays["train__image"], arrays["train__label"][:, np.newaxis]
  return {
    "train_images": images[train],
    "train_labels": labels[train],
    "val_images": images[validation],
    "val_labels": labels[validation],
    "test_images": arrays["test__image"],
    "test_labels": arrays["test__label"][:, np.newaxis],
  }


def test_a_validation_split_is_left_out_with_a_warning(path, arrays):
  np.savez(path, **medmnist(arrays), __data_scale=16)
  dataset = npz.load(str(path))
  np.testing.assert_array_equal(dataset.train.images[..., 0], arrays["train__image"][:50])
  np.testing.assert_array_equal(dataset.train.labels, arrays["train__label"][:50])
  assert dataset.warnings == (
    f"npz:{path}: the validation split val_images is left out: examples are counted in the "
    "training split alone; concatenate both and write them again if models are to train on both",
  )


def test_several_labels_each_are_refused_with_the_reason(path, arrays):
  several = {
    name: np.tile(array, (1, 14)) if name.endswith("labels") else array
    for name, array in medmnist(arrays).items()
  }
  np.savez(path, **several)
  with pytest.raises(DatasetError, match=r"labels are int64 of shape \(50, 14\), several for each"):
    npz.load(str(path))


def test_our_own_names_come_first(path, arrays):
  np.savez(path, **arrays, x_train=[0], y_train=[1], x_test=[2], test_labels=[3])
  assert len(npz.load(str(path)).train) == 60


def test_two_names_for_one_array_are_refused(path, arrays):
  np.savez(path, **medmnist(arrays), x_test=arrays["test__image"])
  with pytest.raises(
    DatasetError, match=f"^{path}: both test_images and x_test may be the test images: leave one"
  ):
    npz.load(str(path))


def test_several_data_sets_in_one_archive_are_refused(path, arrays):
  both = {f"{name}_{key}": array for key, array in arrays.items() for name in ("old", "new")}
  np.savez(path, **both)
  with pytest.raises(DatasetError, match=f"^{path}: holds 2 data sets, new, old: write each to a"):
    npz.load(str(path))


def test_images_with_channels_first_are_refused_with_the_recipe(path, arrays):
  first = np.repeat(arrays["train__image"][:, np.newaxis], 3, axis=1)
  np.savez(path, **arrays | {"train__image": first})
  with pytest.raises(
    DatasetError,
    match=rf"^npz:{path}: .* \(60, 3, 8, 8\) .* on axis 1: .* np.moveaxis\(images, 1, -1",
  ):
    npz.load(str(path))


def write_directory(directory, arrays, name, save):
  """Writes a file for each array as KMNIST has them."""
  for (key, array), stem in zip(
    arrays.items(), ("train-imgs", "train-labels", "test-imgs", "test-labels"), strict=True
  ):
    assert key.split("__")[0] == stem.split("-")[0]
    save(directory / f"{name}{stem}", array)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed, np.save])
@pytest.mark.parametrize("name", ["kmnist-", "k49-", ""])
def test_a_directory_of_an_array_each_is_read(tmp_path, arrays, save, name):
  write_directory(tmp_path, arrays, name, save)
  dataset = npz.load(str(tmp_path))
  assert dataset.spec == f"npz:{tmp_path}"
  np.testing.assert_array_equal(dataset.train.images[..., 0], arrays["train__image"])
  np.testing.assert_array_equal(dataset.train.labels, arrays["train__label"])
  np.testing.assert_array_equal(dataset.test.images[..., 0], arrays["test__image"])
  np.testing.assert_array_equal(dataset.test.labels, arrays["test__label"])


def test_arrays_of_several_data_sets_are_chosen_by_name(tmp_path, arrays):
  write_directory(tmp_path, arrays, "kmnist-", np.savez_compressed)
  write_directory(tmp_path, {key: array[:30] for key, array in arrays.items()}, "k49-", np.savez)
  with pytest.raises(
    DatasetError, match=f"data sets; choose one of npz:{tmp_path}/k49, npz:{tmp_path}/kmnist$"
  ):
    npz.load(str(tmp_path))
  assert len(npz.load(f"{tmp_path}/k49").train) == 30
  assert len(npz.load(f"{tmp_path}/kmnist").train) == 60


def test_a_directory_without_them_says_what_was_meant(tmp_path, arrays):
  np.savez(tmp_path / "birds.npz", **arrays)
  with pytest.raises(
    DatasetError, match=rf"holds no train-imgs.npz.*; did you mean npz:{tmp_path}/bi"
  ):
    npz.load(str(tmp_path))


def test_a_directory_of_arrays_is_meant_where_mnists_files_are_asked_for(tmp_path, arrays):
  write_directory(tmp_path, arrays, "kmnist-", np.savez)
  with pytest.raises(DatasetError, match=rf"; did you mean npz:{tmp_path}\?$"):
    load_dataset(f"idx:{tmp_path}")


def test_a_file_of_several_arrays_where_one_is_expected_is_refused(tmp_path, arrays):
  write_directory(tmp_path, arrays, "", np.savez)
  np.savez(tmp_path / "test-labels.npz", arrays["test__label"], more=1)
  with pytest.raises(DatasetError, match=f"^{tmp_path}/test-labels.npz: holds 2 arrays where one"):
    npz.load(str(tmp_path))


def test_an_archive_may_have_any_name(tmp_path, arrays):
  path = tmp_path / "data.npz"
  np.savez(path, **arrays)
  path = path.rename(tmp_path / "data")
  assert len(npz.load(str(path)).train) == 60


def test_a_missing_archive_is_named(path):
  with pytest.raises(DatasetError, match=f"^{path}: .*[Nn]o such file.*; check the path and your"):
    npz.load(str(path))


def test_a_bomb_is_refused_before_it_goes_off(path, arrays):
  np.savez_compressed(path, **arrays)
  zeros = bytes(1 << 24)
  with (
    zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
    archive.open("x_train.npy", "w", force_zip64=True) as member,
  ):
    np.lib.format.write_array_header_1_0(
      member, {"descr": "|u1", "fortran_order": False, "shape": (1 << 20, 32, 32)}
    )
    for _ in range(64):
      member.write(zeros)
  assert len(npz.load(str(path)).train) == 60  # it is not even looked at
  content = path.read_bytes().replace(b"train__image.npy", b"unused__some.npy")
  path.write_bytes(content)
  tracemalloc.start()
  with pytest.raises(DatasetError, match=f"^{path}: array x_train has 1,073,.* bytes, where all"):
    npz.load(str(path))
  assert tracemalloc.get_traced_memory()[1] < 50e6
  tracemalloc.stop()


def test_a_missing_array_is_named(path, arrays):
  del arrays["test__label"], arrays["train__image"]
  np.savez(path, **arrays)
  with pytest.raises(
    DatasetError,
    match=f"^{path}: has no train__image, test__label, only train__label, test__image: name",
  ):
    npz.load(str(path))


def test_names_that_are_many_and_unprintable_are_shown_in_one_short_line(path):
  np.savez(path, **{f"a\n\x1b[31m{i}" + 100 * "x": i for i in range(100)})
  with pytest.raises(DatasetError) as raised:
    npz.load(str(path))
  message = str(raised.value)
  assert message.isprintable()
  assert len(message) < 1000


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


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (
      pickle.dumps({"data": 1}, 2),
      "a Python pickle, which may run anything: for CIFAR's, write ci",
    ),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file: read it with h5py and write numpy.savez_compressed"),
    (b"MATLAB 5.0 MAT-file, ", "a MATLAB file: read it with scipy.io.loadmat and write numpy.sav"),
  ],
)
def test_other_formats_are_refused_with_the_recipe(path, content, message):
  path.write_bytes(content)
  with pytest.raises(DatasetError, match=f"^{path}: is {message}"):
    npz.load(str(path))


def test_a_single_array_is_refused(path, arrays):
  with path.open("wb") as file:
    np.save(file, arrays["train__image"])
  with pytest.raises(DatasetError, match=f"^{path}: is a single array: put four into one archive"):
    npz.load(str(path))


def test_a_damaged_array_is_named(path, arrays):
  np.savez(path, **arrays)
  content = bytearray(path.read_bytes())
  content[content.index(arrays["test__image"].tobytes()) + 100] ^= 0xFF
  path.write_bytes(content)
  with pytest.raises(DatasetError, match=f"^{path}: array test__image is damaged: .*; store plain"):
    npz.load(str(path))


def test_pickled_objects_are_never_read(path, arrays):
  np.savez(path, **arrays | {"train__label": np.array([object()] * 60)})
  with pytest.raises(
    DatasetError, match=f"^{path}: array train__label is of Python objects; store"
  ):
    npz.load(str(path))


def test_a_member_that_is_no_array_is_refused(path, arrays):
  np.savez(path, **{key: array for key, array in arrays.items() if key != "train__image"})
  with zipfile.ZipFile(path, "a") as archive:
    archive.writestr("train__image", b"pixels")
  with pytest.raises(DatasetError, match=f"^{path}: array train__image is no array in NumPy's for"):
    npz.load(str(path))


def test_float_images_are_refused_with_the_way_out(path, arrays):
  np.savez(path, **arrays | {"train__image": arrays["train__image"] / np.float32(16)})
  with pytest.raises(
    DatasetError,
    match=rf"^npz:{path}: train images are float32, not uint8: store np.rint.* as __data_scale",
  ):
    npz.load(str(path))


def test_labels_outside_the_classes_are_refused(path, arrays):
  np.savez(path, **arrays, __num_classes=5)
  with pytest.raises(DatasetError, match=r"train label 5 of example 5 is outside 0\.\.4"):
    npz.load(str(path))


@pytest.mark.parametrize(
  ("key", "value", "message"),
  [
    ("__num_classes", None, "array __num_classes is of Python objects; store plain"),
    ("__data_scale", np.array({"scale": 1}), "array __data_scale is of Python objects; store"),
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
