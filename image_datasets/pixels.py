"""What tells images apart wherever they lie: a short hash of an image's pixels."""

import hashlib
import struct

import numpy as np

HASH_LENGTH = 32
"""Hexadecimal digits of a hash; 128 bits, so that different images never share one by chance."""


def pixel_hash(image: np.ndarray) -> str:
  """Returns the hash of one image: the same wherever its pixels come from.

  It is the first 32 hexadecimal digits of the SHA-256 of height, width and channels, each a
  little-endian uint32, and then the pixels, row by row, channels last.

  Example:
    >>> pixel_hash(np.zeros((8, 8), np.uint8))
    'f1af794c17b6b2266d50ca31a7d2b012'

  Args:
    image: uint8 [height, width] or [height, width, channels]; without channels it has one.
  """
  height, width, channels = image.shape if image.ndim == 3 else (*image.shape, 1)
  digest = hashlib.sha256(struct.pack("<3I", height, width, channels))
  digest.update(np.ascontiguousarray(image).data)
  return digest.hexdigest()[:HASH_LENGTH]


def pixel_hashes(images: np.ndarray) -> np.ndarray:
  """Returns the hash of each of many images of one shape, as ASCII: `S32` [n].

  Args:
    images: uint8 [n, height, width] or [n, height, width, channels].
  """
  return np.array([pixel_hash(image) for image in images], dtype=f"S{HASH_LENGTH}")
