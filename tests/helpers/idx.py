"""IDX files, as MNIST and its kin are published."""

import gzip
import struct

import numpy as np


def to_idx(array):
  """Returns an array of bytes as an IDX file."""
  header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
  return header + array.astype(np.uint8).tobytes()


def write_idx(directory, arrays, pattern="{}-idx{}-ubyte"):
  """Writes arrays by their stems, such as `train-images`; gzipped where the pattern says so."""
  for stem, array in arrays.items():
    name = pattern.format(stem, array.ndim)
    content = to_idx(array)
    (directory / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


def emnist(arrays, variant, shift=0):
  """The same data as EMNIST publishes it: columns for rows, other names, other labels."""
  return {
    f"emnist-{variant}-{stem.replace('t10k', 'test')}": array + np.uint8(shift)
    if stem.endswith("labels")
    else array.swapaxes(1, 2)
    for stem, array in arrays.items()
  }
