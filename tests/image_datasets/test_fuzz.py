"""Damaged files of data sets: a data set, or one line that names it."""

import gzip
import pickle
import tracemalloc

import numpy as np
import pytest

from files.errors import UsageError
from image_datasets import load_dataset
from tests.helpers.mutations import mutate

LABELS = np.arange(20) % 10
MOST_MEMORY = 32 << 20


def _images(*shape):
  return np.random.default_rng(0).integers(0, 256, (20, *shape), dtype=np.uint8)


def _idx(values):
  sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
  return bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes()


def _write_idx(directory, pack=bytes):
  for split in ("train", "t10k"):
    (directory / f"{split}-images-idx3-ubyte").write_bytes(pack(_idx(_images(5, 4))))
    (directory / f"{split}-labels-idx1-ubyte").write_bytes(pack(_idx(LABELS)))
  return f"idx:{directory}", "train-images-idx3-ubyte", (0, 16)


def _write_packed_idx(directory):
  return _write_idx(directory, lambda content: gzip.compress(content, mtime=0))


def _write_cifar(directory):
  batch = {"data": _images(3072), "labels": LABELS.tolist()}
  for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
    (directory / name).write_bytes(pickle.dumps(batch, protocol=2))
  names = {"label_names": [f"{label}" for label in range(10)]}
  (directory / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))
  return f"cifar:{directory}", "data_batch_2", (0, 60, 120)


def _write_npz(directory):
  images, labels = _images(5, 4), LABELS
  np.savez_compressed(
    directory / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels
  )
  return f"npz:{directory}/data.npz", "data.npz", (0, 40)


@pytest.mark.parametrize("write", [_write_idx, _write_packed_idx, _write_cifar, _write_npz])
def test_whatever_the_damage_it_is_one_line(tmp_path, write):
  spec, name, spots = write(tmp_path)
  path = tmp_path / name
  messages = []
  tracemalloc.start()
  for damaged in mutate(path.read_bytes(), seed=0, count=300, spots=spots):
    path.write_bytes(damaged)
    tracemalloc.reset_peak()
    try:
      load_dataset(spec)
    except UsageError as error:
      messages.append(str(error))
    assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
  tracemalloc.stop()
  assert len(messages) > 50
  for message in messages:
    assert str(tmp_path) in message
    assert "\n" not in message
