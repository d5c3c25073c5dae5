import hashlib

import numpy as np
import pytest

from image_datasets import load_dataset, pixel_hash, pixel_hashes


@pytest.fixture
def photo():
  return np.random.default_rng(0).integers(256, size=(5, 7, 3), dtype=np.uint8)


def test_the_hash_is_the_documented_one(photo):
  shape = b"".join(size.to_bytes(4, "little") for size in (5, 7, 3))
  assert pixel_hash(photo) == hashlib.sha256(shape + photo.tobytes()).hexdigest()[:32]


def test_the_hash_does_not_depend_on_how_pixels_lie_in_memory(photo):
  assert pixel_hash(np.asfortranarray(photo)) == pixel_hash(photo)
  assert pixel_hash(np.pad(photo, ((0, 0), (0, 1), (0, 0)))[:, :-1]) == pixel_hash(photo)
  assert pixel_hash(photo[..., :1]) == pixel_hash(photo[..., 0])


def test_shape_and_every_pixel_count(photo):
  others = [photo.reshape(7, 5, 3), photo[:, ::-1], np.where(photo == photo.max(), 0, photo)]
  hashes = {pixel_hash(image.astype(np.uint8)) for image in (photo, *others)}
  assert len(hashes) == 4


def test_a_data_set_hashes_each_of_its_images():
  digits = load_dataset("digits")
  assert digits.train.pixel_hashes.dtype == "S32"
  assert digits.train.pixel_hashes[7].decode() == pixel_hash(digits.train.images[7, ..., 0])
  assert digits.train.pixel_hashes is digits.train.pixel_hashes
  assert pixel_hashes(digits.test.images[:0]).shape == (0,)
