"""Every kind of data set that is a path, on gs://."""

import gzip
import io
import struct

import numpy as np
import pytest

import files
from image_datasets import DatasetError, load_dataset
from tests.helpers.gcs import BUCKET, emulated_gcs

ROOT = f"gs://{BUCKET}/data"


@pytest.fixture(scope="module")
def cloud():
  with pytest.MonkeyPatch.context() as patch, emulated_gcs(patch):
    yield


@pytest.fixture(scope="module")
def arrays(cloud, real_digits):
  images, labels = real_digits
  return {
    "train-images": images[:60],
    "train-labels": labels[:60].astype(np.uint8),
    "test-images": images[60:],
    "test-labels": labels[60:].astype(np.uint8),
  }


def to_npz(*arrays, **named):
  buffer = io.BytesIO()
  np.savez(buffer, *arrays, **named)
  return buffer.getvalue()


@pytest.fixture(scope="module", autouse=True)
def uploaded(arrays):
  for stem, array in arrays.items():
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    content = gzip.compress(header + array.tobytes())
    for prefix in ("", "b-", "c-"):
      directory = "idx" if not prefix else "named"
      name = f"{prefix}{stem}-idx{array.ndim}-ubyte.gz"
      files.write_bytes(f"{ROOT}/{directory}/{name}", content)
    files.write_bytes(f"{ROOT}/npz/kmnist-{stem}.npz", to_npz(array))
  own = {f"{stem[:-1].replace('-', '__')}": array for stem, array in arrays.items()}
  files.write_bytes(f"{ROOT}/own.npz", to_npz(**own))


@pytest.mark.parametrize("spec", ["idx:%s/idx", "idx:%s/named/b", "npz:%s/own.npz", "npz:%s/npz"])
def test_data_sets_on_gs_are_read(arrays, spec):
  dataset = load_dataset(spec % ROOT)
  assert dataset.spec == spec % ROOT
  np.testing.assert_array_equal(dataset.train.images[..., 0], arrays["train-images"])
  np.testing.assert_array_equal(dataset.test.labels, arrays["test-labels"])


def test_cifar_on_gs_is_read(cloud):
  record = bytes([3, *range(256)] + [7] * (3072 - 256))
  for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
    files.write_bytes(f"{ROOT}/cifar-10-batches-bin/{name}.bin", record)
  dataset = load_dataset(f"cifar:{ROOT}")
  assert dataset.train.images[4, 0, 5].tolist() == [5, 7, 7]


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("idx:%s/named", r"holds 2 data sets; choose one of idx:%s/named/b, idx:%s/named/c$"),
    ("idx:%s", r"; did you mean idx:%s/idx\?$"),
    ("idx:%s/absent", "there is no such directory, nor files named so; check the path"),
    ("npz:%s/absent.npz", ".*[nN]o such file.*; check the path"),
    ("cifar:%s/idx", "is and holds none of cifar-10-batches-py"),
    ("npz:gs://absent/a.npz", ".*; check the path and your access to it$"),
  ],
)
def test_what_is_not_there_is_said_in_a_line(cloud, spec, message):
  with pytest.raises(DatasetError, match=message.replace("%s", ROOT)):
    load_dataset(spec.replace("%s", ROOT))
