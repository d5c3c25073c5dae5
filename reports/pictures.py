"""Examples as pictures inside the document."""

import base64
import dataclasses
import io
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from PIL import Image

# The page shows pictures some 80 pixels wide. Small ones keep every pixel, as PNG; larger ones
# are reduced and become JPEG, or the document would weigh tens of megabytes.
_LOSSLESS_SIDE = 48
_REDUCED_SIDE = 80


class Examples(Protocol):
  """One split of a data set."""

  @property
  def labels(self) -> np.ndarray:
    """Int64 `[n]`."""

  def pictures(self, examples: Sequence[int]) -> list[np.ndarray]:
    """Images of a few examples, uint8 `[height, width, channels]`; no others are read."""


class Dataset(Protocol):
  """What the report needs of a data set."""

  @property
  def spec(self) -> str:
    """The data set's name."""

  @property
  def train(self) -> Examples:
    """Training examples, by index."""

  @property
  def test(self) -> Examples:
    """Test examples, by index."""

  @property
  def pixel_max(self) -> float:
    """The pixel value shown as white."""

  @property
  def class_names(self) -> tuple[str, ...]:
    """Names by label."""


@dataclasses.dataclass(frozen=True)
class Picture:
  """One example as the page shows it."""

  source: str  # data: URI
  split: str  # "training" or "test"
  example: int
  label: str  # its class name
  score: float  # NaN: shown without one
  error: float  # standard error of the score
  pixelated: bool  # enlarge pixel by pixel, without smoothing


class Gallery:
  """Makes pictures of a data set's examples."""

  def __init__(self, dataset: Dataset):
    self._dataset = dataset

  def training(self, example: int, score: float, error: float = np.nan) -> Picture:
    """Returns the picture of one training example."""
    return self._picture(self._dataset.train, "training", example, score, error)

  def test(self, example: int, score: float, error: float = np.nan) -> Picture:
    """Returns the picture of one test example."""
    return self._picture(self._dataset.test, "test", example, score, error)

  def class_name(self, label: int) -> str:
    """Returns the name of a class, or its number if it has none."""
    names = self._dataset.class_names
    return names[label] if 0 <= label < len(names) else str(label)

  def _picture(
    self, examples: Examples, split: str, example: int, score: float, error: float
  ) -> Picture:
    (image,) = examples.pictures([example])
    label = self.class_name(int(examples.labels[example]))
    source = data_uri(image, self._dataset.pixel_max)
    return Picture(source, split, int(example), label, score, error, _is_small(image))


def draw(image: np.ndarray, pixel_max: float) -> Image.Image:
  """Returns an image as Pillow has it: grey, or RGB.

  Args:
    image: uint8 `[height, width, channels]`; the first of one or two channels is shown as grey, the
      first three of more as RGB.
    pixel_max: the pixel value shown as white; higher ones are clipped to it.
  """
  levels = np.rint(np.clip(image / pixel_max, 0, 1) * 255).astype(np.uint8)
  return Image.fromarray(levels[..., 0] if image.shape[-1] < 3 else levels[..., :3])


def data_uri(image: np.ndarray, pixel_max: float) -> str:
  """Returns an image as a `data:` URI, drawn as `draw` does."""
  picture = draw(image, pixel_max)
  buffer = io.BytesIO()
  if _is_small(image):
    picture.save(buffer, "PNG", optimize=True)
    media_type = "image/png"
  else:
    picture.thumbnail((_REDUCED_SIDE, _REDUCED_SIDE), Image.Resampling.LANCZOS)
    picture.save(buffer, "JPEG", quality=80, optimize=True)
    media_type = "image/jpeg"
  return f"data:{media_type};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _is_small(image: np.ndarray) -> bool:
  return max(image.shape[:2]) <= _LOSSLESS_SIDE
