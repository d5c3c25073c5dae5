import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from image_datasets.decoding import central_window, random_window
from image_datasets.preprocessing import ImageNetPreprocessing, PixelPreprocessing
from tests.helpers.image_trees import crop_photograph, encode

MEAN = np.array([0.485, 0.456, 0.406])
DEVIATION = np.array([0.229, 0.224, 0.225])
SIDES = st.integers(1, 3000)
SEEDS = st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))
LOSSLESS = [{"kind": "PNG"}, {"kind": "PNG", "mode": "L"}, {"kind": "BMP"}]
CENTRAL = tf.function(
  central_window, input_signature=[tf.TensorSpec((), tf.int32), tf.TensorSpec((), tf.int32)]
)


@tf.function(input_signature=[tf.TensorSpec(shape, tf.int32) for shape in ((), (), (2,))])
def _random(height, width, seed):
  return random_window(seed)(height, width)


def _resize(pixels, size):
  """Bilinear, half-pixel centres, without antialiasing, as two matrix products in float64."""

  def weights(length):
    places = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
    low = np.floor(places).astype(int)
    share = places - low
    matrix = np.zeros((size, length))
    np.add.at(matrix, (np.arange(size), low), 1 - share)
    np.add.at(matrix, (np.arange(size), np.minimum(low + 1, length - 1)), share)
    return matrix

  height, width, _ = pixels.shape
  rows = np.einsum("ih,hwc->iwc", weights(height), pixels.astype(float), optimize=True)
  return np.einsum("jw,iwc->ijc", weights(width), rows, optimize=True)


def _pixels(content):
  with Image.open(io.BytesIO(content)) as image:
    return np.asarray(image.convert("RGB"))


def _grey_levels(images):
  """Undoes mean and deviation: in levels of 0 to 255."""
  return (np.asarray(images, float) * DEVIATION + MEAN) * 255


@given(height=SIDES, width=SIDES)
def test_the_central_window_is_exact(height, width):
  side = max(1, int(224 / 256 * min(height, width)))
  expected = ((height - side + 1) // 2, (width - side + 1) // 2, side, side)
  assert tuple(int(value) for value in CENTRAL(height, width)) == expected


@pytest.mark.parametrize("seed", range(6))
def test_evaluation_is_what_numpy_and_pillow_make_of_it(seed):
  content = encode(crop_photograph(seed), quality=75 + 4 * seed)
  pixels = _pixels(content)
  height, width, _ = pixels.shape
  side = int(224 / 256 * min(height, width))
  top, left = (height - side + 1) // 2, (width - side + 1) // 2
  expected = _resize(pixels[top : top + side, left : left + side], 224)
  decoded = ImageNetPreprocessing().decode(tf.constant(content), None).numpy()
  assert decoded.dtype == np.float32
  assert decoded.shape == (224, 224, 3)
  difference = np.abs(_grey_levels(decoded) - expected)
  # At the border of the crop, JPEG's chroma is upsampled from what lies inside alone.
  assert difference[2:-2, 2:-2].max() < 1.01
  assert difference.mean() < 0.05


@pytest.mark.parametrize(
  "options", [{"kind": "PNG"}, {"kind": "PNG", "mode": "L"}, {"kind": "BMP"}]
)
def test_without_loss_every_pixel_is_exact(options):
  content = encode(crop_photograph(1), **options)
  pixels = _pixels(content)
  height, width, _ = pixels.shape
  side = int(224 / 256 * min(height, width))
  top, left = (height - side + 1) // 2, (width - side + 1) // 2
  expected = _resize(pixels[top : top + side, left : left + side], 96)
  decoded = ImageNetPreprocessing(96).decode(tf.constant(content), None)
  np.testing.assert_allclose(_grey_levels(decoded), expected, atol=1e-3)


@given(
  height=SIDES, width=SIDES, seed=st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))
)
def test_random_windows_lie_in_the_image_and_keep_area_and_aspect(height, width, seed):
  top, left, rows, columns = (int(value) for value in _random(height, width, seed))
  assert 0 <= top <= top + rows <= height
  assert 0 <= left <= left + columns <= width
  assert rows >= 1
  assert columns >= 1
  if min(height, width) > 100 and 3 / 4 < width / height < 4 / 3:
    assert 0.07 < rows * columns / (height * width) <= 1.01
    assert 0.7 < columns / rows < 1.4


def test_random_windows_are_spread_as_they_should_be():
  seeds = np.random.default_rng(0).integers(2**31, size=(2000, 2), dtype=np.int32)
  windows = np.array([_random(400, 400, seed) for seed in seeds])
  areas = windows[:, 2] * windows[:, 3] / 400**2
  # Uniform but for large windows of an aspect that does not fit, which are drawn again.
  assert 0.45 < areas.mean() < 0.54
  assert areas.min() < 0.1 < 0.95 < areas.max()
  aspects = np.log(windows[:, 3] / windows[:, 2])
  assert abs(aspects.mean()) < 0.02
  middles = windows[:, :2] + windows[:, 2:] / 2
  assert np.abs(middles.mean(axis=0) - 200).max() < 6


def test_a_random_crop_is_its_window_resized():
  content = encode(crop_photograph(2), kind="PNG")
  pixels = _pixels(content)
  seed = np.array([7, 8], np.int32)
  top, left, rows, columns = (int(value) for value in _random(*pixels.shape[:2], seed))
  expected = _resize(pixels[top : top + rows, left : left + columns], 224)
  decoded = ImageNetPreprocessing().decode(tf.constant(content), tf.constant(seed))
  np.testing.assert_allclose(_grey_levels(decoded), expected, atol=1e-3)


def test_pixels_of_one_shape_are_divided_and_nothing_else():
  pixels = crop_photograph(3)
  preprocessing = PixelPreprocessing(pixels.shape)
  decoded = preprocessing.decode(tf.constant(encode(pixels, kind="PNG")), None).numpy()
  np.testing.assert_array_equal(decoded, pixels / np.float32(255))
