import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from image_datasets import DatasetError, idx
from tests.helpers.idx import emnist, to_idx, write_idx


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
  write_idx(tmp_path, arrays, pattern)
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
  write_idx(tmp_path, arrays)
  dataset = idx.load(str(tmp_path))
  assert dataset.image_shape == (8, 8, 3)
  np.testing.assert_array_equal(dataset.test.images, arrays["t10k-images"])


@pytest.mark.parametrize("stem", ["train-images", "train-labels", "t10k-images", "t10k-labels"])
def test_a_missing_file_is_named(tmp_path, arrays, stem):
  del arrays[stem]
  write_idx(tmp_path, arrays)
  with pytest.raises(
    DatasetError,
    match=rf"^{tmp_path}: holds no {stem}-idx\d-ubyte, nor by another usual name; check the path",
  ):
    idx.load(str(tmp_path))


def test_a_missing_directory_is_named(tmp_path):
  with pytest.raises(
    DatasetError, match=f"^{tmp_path}/mnist: there is no such directory, nor files named so; check"
  ):
    idx.load(f"{tmp_path}/mnist")


def test_a_validation_split_is_left_out_with_a_warning(tmp_path, arrays):
  validation = {"val-images": arrays["t10k-images"], "val-labels": arrays["t10k-labels"]}
  write_idx(tmp_path, arrays | validation)
  dataset = idx.load(str(tmp_path))
  assert len(dataset.train) == 60
  assert dataset.warnings[0].startswith(
    f"idx:{tmp_path}: the validation split {tmp_path}/val-images-idx3-ubyte is left out: examples"
  )


def test_a_single_file_is_refused(tmp_path, arrays):
  write_idx(tmp_path, arrays)
  with pytest.raises(
    DatasetError, match="train-images-idx3-ubyte: is a file, or empty: give the directory that ho"
  ):
    idx.load(f"{tmp_path}/train-images-idx3-ubyte")


def test_a_directory_that_holds_the_one_that_was_meant(tmp_path, arrays):
  (tmp_path / "MNIST" / "raw").mkdir(parents=True)
  write_idx(tmp_path / "MNIST" / "raw", arrays)
  with pytest.raises(DatasetError, match=rf"; did you mean idx:{tmp_path}/MNIST/raw\?$"):
    idx.load(str(tmp_path))


@pytest.mark.parametrize(
  "pattern", ["{0}-idx{1}-ubyte/{0}-idx{1}-ubyte", "{0}.idx{1}-ubyte/{0}-idx{1}-ubyte"]
)
def test_files_in_directories_of_their_names_are_found(tmp_path, arrays, pattern):
  for stem, array in arrays.items():
    (tmp_path / pattern.format(stem, array.ndim)).parent.mkdir()
  write_idx(tmp_path, arrays, pattern)
  dataset = idx.load(str(tmp_path))
  np.testing.assert_array_equal(dataset.train.images[..., 0], arrays["train-images"])
  np.testing.assert_array_equal(dataset.test.labels, arrays["t10k-labels"])


def test_a_directory_that_bears_a_files_name_is_not_in_the_way(tmp_path, arrays):
  write_idx(tmp_path, arrays, "{}.idx{}-ubyte")
  for stem, array in arrays.items():
    directory = tmp_path / f"{stem}-idx{array.ndim}-ubyte"
    directory.mkdir()
    (directory / directory.name).write_bytes(b"something else")
  dataset = idx.load(str(tmp_path))
  np.testing.assert_array_equal(dataset.train.images[..., 0], arrays["train-images"])


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_whether_a_file_is_packed_is_told_by_its_content(tmp_path, arrays, suffix, is_packed):
  for stem, array in arrays.items():
    content = to_idx(array)
    path = tmp_path / f"{stem}-idx{array.ndim}-ubyte{suffix}"
    path.write_bytes(gzip.compress(content) if is_packed else content)
  dataset = idx.load(str(tmp_path))
  np.testing.assert_array_equal(dataset.train.images[..., 0], arrays["train-images"])


@pytest.mark.parametrize(
  ("variant", "shift", "names"),
  [
    ("digits", 0, "0123456789"),
    ("mnist", 0, "0123456789"),
    ("letters", 1, "abcdefghijklmnopqrstuvwxyz"),
    ("letters", 0, "abcdefghijklmnopqrstuvwxyz"),
    ("balanced", 0, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"),
    ("bymerge", 0, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"),
    ("byclass", 0, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
  ],
)
def test_emnist_is_turned_upright_and_counted_from_zero(tmp_path, arrays, variant, shift, names):
  write_idx(tmp_path, emnist(arrays, variant, shift), "{}-idx{}-ubyte.gz")
  dataset = idx.load(str(tmp_path))
  np.testing.assert_array_equal(dataset.train.images[..., 0], arrays["train-images"])
  np.testing.assert_array_equal(dataset.test.images[..., 0], arrays["t10k-images"])
  np.testing.assert_array_equal(dataset.train.labels, arrays["train-labels"])
  np.testing.assert_array_equal(dataset.test.labels, arrays["t10k-labels"])
  assert dataset.class_names == tuple(names)
  assert dataset.num_classes == len(names)


def test_letters_of_which_one_split_has_no_a_count_from_zero_all_the_same(tmp_path, arrays):
  arrays["t10k-labels"] = np.maximum(arrays["t10k-labels"], 1)
  write_idx(tmp_path, emnist(arrays, "letters"))
  dataset = idx.load(str(tmp_path))
  np.testing.assert_array_equal(dataset.test.labels, arrays["t10k-labels"])


def test_data_sets_that_lie_together_are_chosen_by_name(tmp_path, arrays):
  write_idx(tmp_path, emnist(arrays, "letters", 1), "{}-idx{}-ubyte.gz")
  write_idx(tmp_path, emnist(arrays, "digits"))
  with pytest.raises(
    DatasetError,
    match=f"^{tmp_path}: holds 2 data sets; choose one of idx:{tmp_path}/emnist-digits, "
    f"idx:{tmp_path}/emnist-letters$",
  ):
    idx.load(str(tmp_path))
  for path in (f"{tmp_path}/emnist-letters", f"{tmp_path}/emnist-letters-"):
    dataset = idx.load(path)
    assert (dataset.spec, dataset.num_classes) == (f"idx:{path}", 26)
    np.testing.assert_array_equal(dataset.train.images[..., 0], arrays["train-images"])
  assert idx.load(f"{tmp_path}/emnist-digits").num_classes == 10


def test_what_has_no_name_is_meant_by_none(tmp_path, arrays):
  write_idx(tmp_path, emnist(arrays, "letters", 1))
  write_idx(tmp_path, arrays)
  assert idx.load(str(tmp_path)).num_classes == 10


def test_a_missing_file_of_a_named_data_set_is_named(tmp_path, arrays):
  letters = emnist(arrays, "letters", 1)
  del letters["emnist-letters-test-labels"]
  write_idx(tmp_path, letters)
  with pytest.raises(DatasetError, match="holds no emnist-letters-test-labels-idx1-ubyte, nor"):
    idx.load(str(tmp_path))
  with pytest.raises(DatasetError, match=r"is no .*/emnist-letters-test-labels-idx1-ubyte, nor"):
    idx.load(f"{tmp_path}/emnist-letters")


def test_other_kinds_of_files_are_pointed_out(tmp_path):
  (tmp_path / "data_batch_1").touch()
  with pytest.raises(DatasetError, match=rf"; did you mean cifar:{tmp_path}\?$"):
    idx.load(str(tmp_path))


@pytest.mark.parametrize("pattern", ["{}-idx{}-ubyte", "{}-idx{}-ubyte.gz"])
def test_a_file_cut_short_is_named_with_both_lengths(tmp_path, arrays, pattern):
  write_idx(tmp_path, arrays, pattern)
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


@pytest.mark.parametrize("pattern", ["{}-idx{}-ubyte", "{}-idx{}-ubyte.gz"])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_shorter_or_longer_than_its_header_says_is_named(tmp_path, arrays, pattern, change):
  write_idx(tmp_path, arrays, pattern)
  path = tmp_path / pattern.format("t10k-images", 3)
  whole = to_idx(arrays["t10k-images"])
  content = (whole + b"more")[: len(whole) + change]
  path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
  with pytest.raises(
    DatasetError, match=rf"{path}: expected {len(whole)} bytes .*, found {len(content)}: the file"
  ):
    idx.load(str(tmp_path))


def test_a_gzipped_file_with_a_wrong_checksum_is_refused(tmp_path, arrays):
  write_idx(tmp_path, arrays, "{}-idx{}-ubyte.gz")
  path = tmp_path / "t10k-images-idx3-ubyte.gz"
  path.write_bytes(path.read_bytes()[:-8] + bytes(8))
  with pytest.raises(DatasetError, match=f"^{path}: .*incorrect data check; the file is damaged"):
    idx.load(str(tmp_path))


def test_a_gzipped_file_may_be_in_many_pieces(arrays):
  whole = to_idx(arrays["train-images"])
  pieces = [whole[:3], whole[3:9], whole[9:50], b"", whole[50:]]
  parsed = idx.parse_idx(b"".join(map(gzip.compress, pieces)), "path", dimensions=(3, 4))
  np.testing.assert_array_equal(parsed, arrays["train-images"])
  assert not parsed.flags.writeable


@pytest.mark.parametrize(
  "content", [b"", b"\x1f\x8b", b"\x1f\x8bno gzip", gzip.compress(b"", mtime=0)]
)
def test_gzip_without_content_is_refused(content):
  with pytest.raises(
    DatasetError,
    match=r"^path: (starts with 0x, expected the magic|ends in the middle|is damaged, )",
  ):
    idx.parse_idx(content, "path", dimensions=(3,))


def test_a_bomb_is_refused_before_it_goes_off(tmp_path, arrays):
  """Zeros that unpack to 3 GB, of which the header says as much."""
  write_idx(tmp_path, arrays, "{}-idx{}-ubyte.gz")
  path = tmp_path / "train-images-idx3-ubyte.gz"
  piece = gzip.compress(bytes(1 << 24))
  header = struct.pack(">HBB3I", 0, 8, 3, 180 << 16, 16, 16)
  path.write_bytes(gzip.compress(header) + piece * 180)
  tracemalloc.start()
  with pytest.raises(
    DatasetError, match=rf"^{path}: its .* bytes promise 3,019,898,896 .*: unpack it with gunzip if"
  ):
    idx.load(str(tmp_path))
  assert tracemalloc.get_traced_memory()[1] < 100e6
  tracemalloc.stop()


def test_a_bomb_behind_a_small_header_is_refused_before_it_goes_off(tmp_path, arrays):
  write_idx(tmp_path, arrays, "{}-idx{}-ubyte.gz")
  path = tmp_path / "train-images-idx3-ubyte.gz"
  path.write_bytes(gzip.compress(to_idx(arrays["train-images"])) + gzip.compress(bytes(1 << 28)))
  tracemalloc.start()
  with pytest.raises(DatasetError, match=r"expected 3856 bytes for shape .*, found \d+: the file"):
    idx.load(str(tmp_path))
  assert tracemalloc.get_traced_memory()[1] < 50e6
  tracemalloc.stop()


def test_a_header_may_promise_what_no_memory_holds():
  content = struct.pack(">HBB4I", 0, 8, 4, *[2**32 - 1] * 4)
  with pytest.raises(
    DatasetError, match=r"^path: expected 3402823\d+ bytes for shape .*, found 20"
  ):
    idx.parse_idx(content, "path", dimensions=(3, 4))
  with pytest.raises(DatasetError, match=r"^path: its \d+ bytes promise 340,282,3"):
    idx.parse_idx(gzip.compress(content), "path", dimensions=(3, 4))


def test_whatever_the_bytes_are_the_outcome_is_an_array_or_one_line():
  random = np.random.default_rng(0)
  whole = to_idx(np.arange(24).reshape(2, 3, 4))
  sizes, messages = [], []
  for case in range(3000):
    content = bytearray(gzip.compress(whole, mtime=0) if case % 2 else whole)
    for _ in range(random.integers(1, 4)):
      where, kind = random.integers(len(content) + 1), random.integers(4)
      if kind == 0 and len(content) > where:  # where it hurts: the header, mostly
        content[min(where, random.integers(20))] = random.choice([0, 1, 3, 8, 0x7F, 0xFF])
      elif kind == 1:
        del content[where:]
      elif kind == 2:
        content[where:where] = random.bytes(random.integers(1, 9))
      else:
        del content[where : where + random.integers(1, 9)]
    try:
      array = idx.parse_idx(bytes(content), "path", dimensions=(1, 3, 4))
    except DatasetError as error:
      messages.append(str(error))
    else:
      sizes.append(array.size)
  assert 10 < len(sizes) < 2000
  assert max(sizes) <= len(whole)
  assert all(text.startswith("path: ") and text.isprintable() for text in messages)


def test_images_in_the_place_of_labels_are_refused(tmp_path, arrays):
  write_idx(tmp_path, arrays)
  path = tmp_path / "train-labels-idx1-ubyte"
  path.write_bytes(to_idx(arrays["train-images"]))
  with pytest.raises(
    DatasetError, match=f"^{path}: starts with 0x00000803, expected the magic number 0x00000801: "
  ):
    idx.load(str(tmp_path))


def test_labels_of_another_count_are_refused(tmp_path, arrays):
  arrays["train-labels"] = arrays["train-labels"][:59]
  write_idx(tmp_path, arrays)
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
