"""One example beside those that influence it, or that it influences, as a picture."""

import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import text
from reports.pictures import draw

_COLUMNS = 6
_INCHES = 1.25
_CAPTION_INCHES = 0.55
_DPI = 144
_STYLE = {"font.family": "DejaVu Sans", "font.size": 7}


class Shown(NamedTuple):
  """An example as the picture shows it.

  Attributes:
    image: uint8 [height, width, channels].
    caption: what stands above it.
  """

  image: np.ndarray
  caption: str


def caption(split: str, example: int, class_name: str, value: float, error: float) -> str:
  """Returns what stands above an example: what it is, and its influence."""
  return f"{split} {example}, {class_name}\n{text.score(value)} ± {text.score(error)}"


def draw_explanation(
  title: str, subject: Shown, others: Sequence[Shown], pixel_max: float
) -> bytes:
  """Returns a PNG: the example that is explained, and below it the others, strongest first.

  Args:
    title: above everything.
    subject: the example.
    others: the examples that explain it.
    pixel_max: the pixel value shown as white.
  """
  rows = 1 + math.ceil(len(others) / _COLUMNS)
  size = (_COLUMNS * _INCHES, rows * (_INCHES + _CAPTION_INCHES))
  with matplotlib.rc_context(_STYLE):
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=8)
    axes = figure.subplots(rows, _COLUMNS, squeeze=False)
    for place in axes.flat:
      place.set_axis_off()
    _show(axes[0, 0], subject, pixel_max)
    for place, shown in zip(axes[1:].flat, others, strict=False):
      _show(place, shown, pixel_max)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
  return buffer.getvalue()


def _show(axes: Axes, shown: Shown, pixel_max: float) -> None:
  axes.imshow(draw(shown.image, pixel_max), cmap="gray", vmin=0, vmax=255)
  axes.set_title(shown.caption, fontsize=7)
