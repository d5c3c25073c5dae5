import base64
import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from reports.pictures import Gallery, data_uri


def decode(uri):
  header, content = uri.split(",")
  return header, Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.fixture(scope="module")
def photo():
  return load_sample_images().images[0]


def test_grey_picture_keeps_every_pixel_and_scales_to_white(digits):
  image = digits.train.images[0]
  header, picture = decode(data_uri(image, 16.0))
  assert header == "data:image/png;base64"
  assert picture.mode == "L"
  np.testing.assert_array_equal(np.asarray(picture), np.rint(image[..., 0] / 16 * 255))


def test_pixels_above_pixel_max_are_clipped():
  _, picture = decode(data_uri(np.full((2, 2, 1), 20, np.uint8), 16.0))
  assert np.asarray(picture).tolist() == [[255, 255], [255, 255]]


def test_color_picture_keeps_every_pixel(photo):
  patch = photo[100:132, 200:240]
  _, picture = decode(data_uri(patch, 255.0))
  assert picture.mode == "RGB"
  np.testing.assert_array_equal(np.asarray(picture), patch)


def test_large_picture_is_reduced(photo):
  header, picture = decode(data_uri(photo, 255.0))
  assert header == "data:image/jpeg;base64"
  height, width, _ = photo.shape
  assert picture.size == (80, round(80 * height / width))
  error = np.asarray(picture).mean((0, 1)) - photo.mean((0, 1))
  assert np.abs(error).max() < 3


@pytest.mark.parametrize(("channels", "shown"), [(2, 1), (4, 3), (7, 3)])
def test_of_other_channels_the_first_are_shown(photo, channels, shown):
  patch = np.concatenate([photo[:20, :20]] * 3, axis=-1)[..., :channels]
  expected = data_uri(photo[:20, :20, :shown], 255.0)
  assert data_uri(patch, 255.0) == expected


def test_gallery_takes_each_split_from_its_own_images(digits):
  gallery = Gallery(digits)
  train, test = gallery.training(3, 0.5, 0.1), gallery.test(3, 0.25)
  assert train.source == data_uri(digits.train.images[3], 16.0)
  assert test.source == data_uri(digits.test.images[3], 16.0)
  assert (train.split, train.example, train.score, train.error) == ("training", 3, 0.5, 0.1)
  assert train.label == str(digits.train.labels[3])
  assert np.isnan(test.error)


def test_class_without_a_name_has_its_number(digits):
  assert Gallery(digits).class_name(9) == "9"
  assert Gallery(digits).class_name(12) == "12"
