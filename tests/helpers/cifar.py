"""CIFAR's files, of twelve images: ten for training, and two for testing."""

import numpy as np

from tests.helpers.python2 import python2_pickle

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BATCHES = [f"data_batch_{i}" for i in range(1, 6)]


def planes(images):
  """As stored: all red pixels of an image, then the green, then the blue ones."""
  return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def splits(images, labels, names):
  """Yields each file's name, images and labels."""
  sizes = np.linspace(0, 10, len(names), dtype=int)
  yield from (
    (name, images[start:stop], labels[start:stop])
    for name, start, stop in zip(names, sizes, [*sizes[1:], 12], strict=True)
  )


def write_python(directory, images, labels, dump=python2_pickle):
  """Writes twelve images as CIFAR-10 for Python: two to a batch."""
  for name, some, their in splits(images, labels, [*BATCHES, "test_batch"]):
    batch = {
      "batch_label": f"testing {name}",
      "labels": their.tolist(),
      "data": planes(some),
      "filenames": [f"{i}.png" for i in range(len(some))],
    }
    (directory / name).write_bytes(dump(batch))
  meta = {"num_cases_per_batch": 2, "label_names": NAMES, "num_vis": 3072}
  (directory / "batches.meta").write_bytes(dump(meta))
