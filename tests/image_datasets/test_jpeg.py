import io

import numpy as np
import pytest
from PIL import Image

from image_datasets.jpeg import CorruptImageError, as_rgb_jpeg
from tests.helpers.image_trees import crop_photograph, encode

PIXELS = crop_photograph(0)
HEIGHT, WIDTH, _ = PIXELS.shape


def _decode(content):
  with Image.open(io.BytesIO(content)) as image:
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("options", [{}, {"quality": 30}, {"progressive": True}])
def test_an_rgb_jpeg_stays_byte_for_byte(options):
  content = encode(PIXELS, **options)
  assert as_rgb_jpeg(content) == (content, HEIGHT, WIDTH, "")


@pytest.mark.parametrize(
  ("options", "was"),
  [
    ({"kind": "PNG"}, "PNG"),
    ({"kind": "PNG", "mode": "RGBA"}, "PNG"),
    ({"kind": "PNG", "mode": "P"}, "PNG"),
    ({"kind": "PNG", "mode": "1"}, "PNG"),
    ({"kind": "BMP"}, "BMP"),
    ({"kind": "GIF", "mode": "P"}, "GIF"),
    ({"kind": "WEBP", "lossless": True}, "WEBP"),
    ({"mode": "L", "quality": 100}, "grey JPEG"),
    ({"mode": "CMYK", "quality": 100}, "CMYK JPEG"),
  ],
)
def test_what_is_none_becomes_one(options, was):
  content = encode(PIXELS, **options)
  image = as_rgb_jpeg(content)
  assert (image.height, image.width, image.was) == (HEIGHT, WIDTH, was)
  with Image.open(io.BytesIO(content)) as original:
    expected = np.asarray(original.convert("RGB")).astype(int)
  assert np.abs(_decode(image.content) - expected).mean() < 1


@pytest.mark.parametrize(
  ("content", "reason"),
  [
    (encode(PIXELS)[:-500], "cannot be decoded: image file is truncated"),
    (encode(PIXELS, progressive=True)[:-500], "cannot be decoded: image file is truncated"),
    (encode(PIXELS)[:100], "cannot be decoded: "),
    (encode(PIXELS, kind="PNG")[:-500], "cannot be decoded: image file is truncated"),
    (b"", "cannot be decoded: it is no image of a kind that is known"),
    (b"no image", "cannot be decoded: it is no image of a kind that is known"),
  ],
)
def test_what_is_corrupt_is_said_in_a_line(content, reason):
  with pytest.raises(CorruptImageError, match=f"^{reason}") as raised:
    as_rgb_jpeg(content)
  assert "\n" not in str(raised.value)


@pytest.mark.parametrize("options", [{}, {"mode": "L"}, {"mode": "CMYK"}, {"kind": "PNG"}])
def test_what_was_judged_before_becomes_the_same(options):
  content = encode(PIXELS, **options)
  assert as_rgb_jpeg(content, judged=True) == as_rgb_jpeg(content)


def test_pixels_of_16_bits_are_refused():
  buffer = io.BytesIO()
  Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(buffer, "PNG")
  with pytest.raises(CorruptImageError, match="has pixels of mode I;16, not of 8 bits"):
    as_rgb_jpeg(buffer.getvalue())


def test_an_image_that_would_fill_the_memory_is_refused(monkeypatch):
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
  with pytest.raises(CorruptImageError, match="cannot be decoded: Image size"):
    as_rgb_jpeg(encode(PIXELS))
