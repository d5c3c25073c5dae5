"""What becomes of an image file on its way into a TFRecord: RGB JPEGs stay, others become such."""

import io
import warnings
from typing import NamedTuple

from PIL import Image

_RGB_MODES = ("RGB", "YCbCr")
_CONVERTED_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB")
_JPEG = "JPEG"
_WITH_MORE_PICTURES = "MPO"  # a JPEG, and behind it another, as some cameras write
_FEWER = 8  # JPEGs decode at an eighth of their size for a third of the time


class CorruptImageError(ValueError):
  """The bytes are no image that can be decoded whole; the message says why."""


class EncodedImage(NamedTuple):
  """An image as it is stored.

  Attributes:
    content: a JPEG of three channels.
    height: in pixels.
    width: in pixels.
    was: what was converted, such as "PNG" or "CMYK JPEG"; empty where content is as it was.
  """

  content: bytes
  height: int
  width: int
  was: str


def as_rgb_jpeg(content: bytes, *, judged: bool = False) -> EncodedImage:
  """Returns an image file as an RGB JPEG: byte for byte as it is, if it is one by its content.

  A PNG under the name of a JPEG, a JPEG in grey or CMYK and any other kind that Pillow reads are
  decoded and encoded anew, at quality 100 without chroma subsampling. Every pixel is decoded once
  to see that it is there.

  Args:
    content: the file.
    judged: whether it is known that this function takes it: an RGB JPEG is then not decoded again.

  Raises:
    CorruptImageError: it is no image, is cut short, or has pixels that 8 bits do not hold.
  """
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("error", Image.DecompressionBombWarning)
      with Image.open(io.BytesIO(content)) as image:
        return _encode(image, content, judged)
  except (CorruptImageError, MemoryError):
    raise
  except Exception as error:  # decoders raise errors of many kinds
    reason = str(error).partition("\n")[0] or type(error).__name__
    if isinstance(error, Image.UnidentifiedImageError):
      reason = "it is no image of a kind that is known"
    raise CorruptImageError(f"cannot be decoded: {reason}") from error


def _encode(image: Image.Image, content: bytes, judged: bool) -> EncodedImage:
  width, height = image.size
  kind = _JPEG if image.format == _WITH_MORE_PICTURES else image.format
  if kind == _JPEG and image.mode in _RGB_MODES:
    if not judged:
      image.draft(image.mode, (max(1, width // _FEWER), max(1, height // _FEWER)))
      image.load()
    return EncodedImage(content, height, width, "")
  if image.mode not in _CONVERTED_MODES:
    raise CorruptImageError(f"has pixels of mode {image.mode}, not of 8 bits")
  buffer = io.BytesIO()
  image.convert("RGB").save(buffer, _JPEG, quality=100, subsampling=0)
  was = f"{_MODE_NAMES.get(image.mode, image.mode)} JPEG" if kind == _JPEG else str(kind)
  return EncodedImage(buffer.getvalue(), height, width, was)


_MODE_NAMES = {"L": "grey"}
