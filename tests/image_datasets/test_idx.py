import gzip
import struct

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from image_datasets import DatasetError, idx


def to_idx(array):
  header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
  return header + array.astype(np.uint8).tobytes()


def write(directory, arrays, pattern="{}-idx{}-ubyte"):
  for stem, array in arrays.items():
    name = pattern.format(stem, array.ndim)
    content = to_idx(array)
    (directory / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


@pytest.fixture
def arrays(real_digits):
  images, labels = real_digits
  return {
    "train-images": images[:60],
    "train-labels": labels[:60],
    "t10k-images": images[60:],
    "t10k-labels": labels[60:],
  }


@pytest.mark.parametrize(
  "pattern",
  ["{}-idx{}-ubyte", "{}.idx{}-ubyte", "{}-idx{}-ubyte.gz", "{}.idx{}-ubyte.gz"],
)
def test_load_reads_every_usual_name(tmp_path, arrays, pattern):
  write(tmp_path, arrays, pattern)
  dataset = idx.load(str(tmp_path))
  assert dataset.spec == f"idx:{tmp_path}"
  np.testing.assert_array_equal(dataset.train.images[..., 0], arrays["train-images"])
  np.testing.assert_array_equal(dataset.train.labels, arrays["train-labels"])
  np.testing.assert_array_equal(dataset.test.images[..., 0], arrays["t10k-images"])
  np.testing.assert_array_equal(dataset.test.labels, arrays["t10k-labels"])
  assert (dataset.image_shape, dataset.num_classes, dataset.pixel_max) == ((8, 8, 1), 10, 255.0)


def test_load_reads_images_with_channels(tmp_path, arrays):
  for stem in ("train-images", "t10k-images"):
    grey = arrays[stem]
    arrays[stem] = np.stack([grey, grey // 2, grey // 3], axis=-1)
  write(tmp_path, arrays)
  dataset = idx.load(str(tmp_path))
  assert dataset.image_shape == (8, 8, 3)
  np.testing.assert_array_equal(dataset.test.images, arrays["t10k-images"])


@pytest.mark.parametrize("stem", ["train-images", "train-labels", "t10k-images", "t10k-labels"])
def test_a_missing_file_is_named(tmp_path, arrays, stem):
  del arrays[stem]
  write(tmp_path, arrays)
  with pytest.raises(DatasetError, match=rf"^{tmp_path}: holds none of {stem}-idx\d-ubyte"):
    idx.load(str(tmp_path))


@pytest.mark.parametrize("pattern", ["{}-idx{}-ubyte", "{}-idx{}-ubyte.gz"])
def test_a_file_cut_short_is_named_with_both_lengths(tmp_path, arrays, pattern):
  write(tmp_path, arrays, pattern)
  path = tmp_path / pattern.format("t10k-images", 3)
  whole = path.read_bytes()
  path.write_bytes(whole[: len(whole) // 2])
  with pytest.raises(DatasetError) as raised:
    idx.load(str(tmp_path))
  found = int(str(raised.value).split("found ")[1].split(":")[0])
  expected = 16 + arrays["t10k-images"].size
  assert str(raised.value) == (
    f"{path}: expected {expected} bytes for shape (40, 8, 8), found {found}: "
    "the file is damaged, fetch it again"
  )
  assert 16 <= found < expected


def test_images_in_the_place_of_labels_are_refused(tmp_path, arrays):
  write(tmp_path, arrays)
  path = tmp_path / "train-labels-idx1-ubyte"
  path.write_bytes(to_idx(arrays["train-images"]))
  with pytest.raises(
    DatasetError, match=f"^{path}: starts with 0x00000803, expected the magic number 0x00000801: "
  ):
    idx.load(str(tmp_path))


def test_a_gzipped_file_without_gz_in_its_name_is_refused(tmp_path, arrays):
  write(tmp_path, arrays)
  path = tmp_path / "train-images-idx3-ubyte"
  path.write_bytes(gzip.compress(path.read_bytes()))
  with pytest.raises(
    DatasetError,
    match=f"^{path}: starts with 0x1f8b.*, expected .* 0x00000803 or 0x00000804: .* named .gz",
  ):
    idx.load(str(tmp_path))


def test_labels_of_another_count_are_refused(tmp_path, arrays):
  arrays["train-labels"] = arrays["train-labels"][:59]
  write(tmp_path, arrays)
  with pytest.raises(DatasetError, match=f"^idx:{tmp_path}: train has 60 images but 59 labels"):
    idx.load(str(tmp_path))


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0)))
def test_parse_idx_gives_back_what_was_written(array):
  parsed = idx.parse_idx(to_idx(array), "path", dimensions=(1, 2, 3, 4))
  np.testing.assert_array_equal(parsed, array)
  assert parsed.shape == array.shape
  assert not parsed.flags.writeable


@given(st.data())
def test_parse_idx_refuses_every_other_length(data):
  whole = to_idx(np.arange(24).reshape(2, 3, 4))
  content = (whole + bytes(8))[: data.draw(st.integers(0, len(whole) + 8))]
  assume(content != whole)
  with pytest.raises(DatasetError, match=r"^path: .*expected.*(found|magic)"):
    idx.parse_idx(content, "path", dimensions=(3,))
