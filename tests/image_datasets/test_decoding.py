import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from image_datasets.decoding import central_window, decode_pixels, decode_window, random_window
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
  # The border is that of `test_a_window_with_less_chroma_differs_at_its_border_alone`.
  assert difference[2:-2, 2:-2].max() < 1.01
  assert difference.mean() < 0.05


WHOLE_CHROMA = [*LOSSLESS, {"subsampling": 0, "quality": 90}, {"mode": "L", "quality": 50}]


def _windows(height, width):
  """Returns windows that begin and end at any phase of a JPEG's blocks, and the whole image."""
  rng = np.random.default_rng(0)
  yield 0, 0, height, width
  for _ in range(40):
    top, left = rng.integers(0, height - 1), rng.integers(0, width - 1)
    rows, columns = rng.integers(1, height - top + 1), rng.integers(1, width - left + 1)
    yield int(top), int(left), int(rows), int(columns)


def _cut(content, window):
  return decode_window(tf.constant(content), lambda height, width: window).numpy()


def _places(height, width):
  """Returns an image that says of each pixel where it is, uint8 [height, width, 3]."""
  row, column = np.mgrid[:height, :width]
  return np.stack([row % 251, column % 251, row // 251 * 16 + column // 251], axis=-1).astype("u1")


def test_every_pixel_of_a_window_is_from_its_place():
  for window in _windows(307, 411):
    top, left, rows, columns = window
    expected = _places(307, 411)[top : top + rows, left : left + columns]
    np.testing.assert_array_equal(_cut(encode(_places(307, 411), "PNG"), window), expected)


@pytest.mark.parametrize("options", WHOLE_CHROMA, ids=str)
def test_a_window_is_cut_exactly_from_what_pillow_decodes(options):
  """All of the image's pixels count: windows are cut while JPEGs are decoded."""
  content = encode(crop_photograph(4), **options)
  pixels = _pixels(content)
  for window in _windows(*pixels.shape[:2]):
    top, left, rows, columns = window
    np.testing.assert_array_equal(
      _cut(content, window), pixels[top : top + rows, left : left + columns]
    )


@pytest.mark.parametrize("subsampling", [1, 2])
def test_a_window_with_less_chroma_differs_at_its_border_alone(subsampling):
  """JPEGs with a chroma value for 2 or 4 pixels take what lies between from the neighbours.

  Those of the outermost pixels are outside of the window, and are not decoded with it. All that is
  not at the border is exact, and so is the border where it is the image's own.
  """
  content = encode(crop_photograph(4), subsampling=subsampling, quality=90)
  pixels = _pixels(content).astype(int)
  for window in _windows(*pixels.shape[:2]):
    top, left, rows, columns = window
    difference = _cut(content, window) - pixels[top : top + rows, left : left + columns]
    height, width = pixels.shape[:2]
    inner = difference[
      int(top > 0) : rows - int(top + rows < height),
      int(left > 0) : columns - int(left + columns < width),
    ]
    assert not inner.any()


@pytest.mark.parametrize("options", LOSSLESS, ids=str)
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


def _claiming(kind, side):
  """Returns an image of few bytes whose header says that it has so many rows and columns."""
  buffer = io.BytesIO()
  Image.new("RGB", (16, 16)).save(buffer, kind)
  content = bytearray(buffer.getvalue())
  if kind == "PNG":
    content[16:24] = side.to_bytes(4, "big") * 2
  else:
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = side.to_bytes(2, "big") * 2
  return bytes(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(
  "preprocessing", [ImageNetPreprocessing(), PixelPreprocessing((16, 16, 3))]
)
def test_images_of_too_many_pixels_are_not_decoded(kind, preprocessing):
  """TensorFlow would take gigabytes for each, as many as it has threads."""
  with pytest.raises(tf.errors.InvalidArgumentError, match="it has more than 89,478,485 pixels"):
    preprocessing.decode(tf.constant(_claiming(kind, 20_000)), None)


@pytest.mark.parametrize(
  "decode",
  [
    lambda content: decode_window(content, central_window),
    lambda content: decode_pixels(content, (8, 8, 3)),
  ],
  ids=["window", "pixels"],
)
def test_a_gif_is_judged_by_its_canvas(decode):
  """One frame of 8 × 8 pixels on 65,535 × 65,535, which are 13 GB."""
  file = io.BytesIO()
  Image.fromarray(np.zeros((8, 8), np.uint8)).save(file, "GIF")
  content = bytearray(file.getvalue())
  content[6:10] = b"\xff" * 4
  with pytest.raises(tf.errors.InvalidArgumentError, match="more than 89,478,485 pixels"):
    decode(tf.constant(bytes(content)))
