"""The report's figures: matplotlib axes, drawn as SVG that takes its colours from the page."""

import io
import re
from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from reports.summaries import ConsistencyProfile, RatioAccuracy
from reports.text import percent
from reports.wording import CORRECT, Wording

# Matplotlib needs concrete colours; the page replaces each by its own, light or dark.
_INK, _MUTED, _LINE = "#010101", "#010102", "#010103"
_COOL, _WARM, _GOLD, _PLUM = "#010104", "#010105", "#010106", "#010107"
_CSS_VARIABLES = {
  _INK: "var(--ink)",
  _MUTED: "var(--muted)",
  _LINE: "var(--line)",
  _COOL: "var(--cool)",
  _WARM: "var(--warm)",
  _GOLD: "var(--gold)",
  _PLUM: "var(--plum)",
}

_STYLE = {
  "svg.fonttype": "none",  # text stays text: the page's font, selectable
  "font.family": "DejaVu Sans",  # ships with matplotlib: the layout is the same everywhere
  "font.size": 9,
  "text.color": _INK,
  "axes.labelcolor": _INK,
  "axes.edgecolor": _MUTED,
  "axes.linewidth": 0.8,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.grid": True,
  "axes.grid.axis": "y",
  "axes.axisbelow": True,
  "grid.color": _LINE,
  "grid.linewidth": 0.8,
  "xtick.color": _MUTED,
  "ytick.color": _MUTED,
  "xtick.labelcolor": _INK,
  "ytick.labelcolor": _INK,
  "legend.frameon": False,
  "legend.columnspacing": 1.2,
  "legend.handlelength": 1.5,
  "lines.linewidth": 1.8,
  "lines.markersize": 5,
}

# Inches. A page shows the one that suits its width, so that text never shrinks with the figure.
_SIZES = {"wide": (7.2, 3.5), "narrow": (3.7, 3.5)}


def accuracy_figure(accuracies: Sequence[RatioAccuracy]) -> Markup:
  """Returns mean accuracy against subset ratio, one line per split, as inline SVG."""
  ratios = [accuracy.subset_ratio for accuracy in accuracies]
  splits = (("train", _COOL, "o"), ("removed", _WARM, "s"), ("test", _PLUM, "D"))

  def draw(axes: Axes) -> None:
    for split, color, marker in splits:
      mean, deviation = np.array([getattr(accuracy, split) for accuracy in accuracies]).T
      axes.fill_between(
        ratios, mean - deviation, mean + deviation, color=color, alpha=0.18, linewidth=0
      )
      axes.plot(ratios, mean, color=color, marker=marker, label=split)
    _ratio_axis(axes, ratios)
    axes.set_ylabel("accuracy")
    axes.yaxis.set_major_formatter(_percent_tick)

  text = "; ".join(
    f"ratio {accuracy.subset_ratio:g}: "
    + ", ".join(f"{split} {percent(getattr(accuracy, split)[0])}" for split, _, _ in splits)
    for accuracy in accuracies
  )
  return _inline_svg(draw, "accuracy", f"Mean accuracy against subset ratio. {text}.")


def memorization_figure(
  counts: np.ndarray,
  edges: np.ndarray,
  threshold: float,
  subset_ratio: float,
  words: Wording = CORRECT,
) -> Markup:
  """Returns the histogram of memorization as inline SVG.

  Args:
    counts: int `[bins]`.
    edges: float64 `[bins + 1]`.
    threshold: memorization from which bars are set off.
    subset_ratio: the ratio that the scores belong to.
    words: of the kind of outcome that is scored.
  """
  # Bars begin at half an example: a logarithmic axis has no 0, and a count of 1 must be seen.
  floor = 0.5
  measured = f"memorization {words.title}".rstrip()
  unit = f" ({words.unit.strip()})" if words.unit else ""

  def draw(axes: Axes) -> None:
    axes.bar(
      edges[:-1],
      np.maximum(counts - floor, 0),
      np.diff(edges) * 0.9,
      bottom=floor,
      align="edge",
      color=[_WARM if edge > threshold - 1e-9 else _COOL for edge in edges[:-1]],
    )
    axes.set_yscale("log")
    axes.set_ylim(floor, max(counts.max() * 1.6, 10))
    axes.yaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
    axes.yaxis.set_minor_locator(NullLocator())
    beside = 0.4 * (edges[1] - edges[0])
    axes.set_xlim(edges[0] - beside, edges[-1] + beside)
    axes.set_xlabel(f"{measured} at subset ratio {subset_ratio:g}{unit}")
    axes.set_ylabel("training examples (log scale)")
    axes.axvline(threshold, color=_MUTED, linewidth=1, linestyle=(0, (3, 3)))
    axes.annotate(
      f"memorized (≥ {threshold:g})",
      (threshold, 0.97),
      xycoords=("data", "axes fraction"),
      xytext=(5, 0),
      textcoords="offset points",
      verticalalignment="top",
    )

  text = f"Histogram of the {measured} of {counts.sum():,} training examples"
  return _inline_svg(draw, "memorization", f"{text} at subset ratio {subset_ratio:g}.")


def consistency_figure(profile: ConsistencyProfile, words: Wording = CORRECT) -> Markup:
  """Returns consistency against subset ratio, per group by C-score, as inline SVG."""
  ratios = profile.subset_ratios.tolist()
  looks = ((_WARM, "v"), (_GOLD, "s"), (_PLUM, "D"), (_COOL, "^"))

  def draw(axes: Axes) -> None:
    for (name, curve), (color, marker) in zip(profile.groups, looks, strict=False):
      axes.plot(ratios, curve, color=color, marker=marker, label=name)
    axes.plot(ratios, profile.mean, color=_INK, linestyle=(0, (4, 2)), label="all examples")
    _ratio_axis(axes, ratios)
    axes.set_ylabel(words.held_out + (f" ({words.unit.strip()})" if words.unit else ""))
    if words.bounded:
      axes.set_ylim(-0.03, 1.03)
      axes.yaxis.set_major_formatter(_percent_tick)

  text = "; ".join(
    f"{name}: {words.amount(curve[0])} at ratio {ratios[0]:g}, "
    f"{words.amount(curve[-1])} at ratio {ratios[-1]:g}"
    for name, curve in [*profile.groups, ("all examples", profile.mean)]
  )
  what = words.held_out.capitalize()
  return _inline_svg(draw, "consistency", f"{what} by C-score group. {text}.")


def _percent_tick(share: float, _: float) -> str:
  return f"{round(100 * share, 3):g}%"


def _ratio_axis(axes: Axes, ratios: list[float]) -> None:
  axes.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
  axes.set_xlabel("subset ratio")


def _inline_svg(draw: Callable[[Axes], None], name: str, description: str) -> Markup:
  """Draws one figure in every size and returns the SVG elements, in document order."""
  elements = []
  for size, inches in _SIZES.items():
    # The salt makes the ids in one SVG repeatable and different from those of all others.
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": f"{name}-{size}"}):
      figure = Figure(figsize=inches, layout="constrained")
      axes = figure.subplots()
      draw(axes)
      if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside upper left", ncols=3 if size == "narrow" else 6)
      elements.append(_themed(_save(figure), size, description))
  return Markup("\n").join(elements)


def _save(figure: Figure) -> str:
  buffer = io.StringIO()
  metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
  figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
  return buffer.getvalue()


def _themed(svg: str, size: str, description: str) -> Markup:
  """Makes a matplotlib document an element of the page: its colours, its font, no stray ids."""
  svg = svg[svg.index("<svg") :]
  svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL).replace("xlink:href", "href")
  referenced = set(re.findall(r"#([\w-]+)", svg))
  svg = re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in referenced else "", svg)
  for color, variable in _CSS_VARIABLES.items():
    svg = svg.replace(color, variable)
  width, height = (72 * inches for inches in _SIZES[size])  # points, matplotlib's unit in SVG
  opening = (
    f'<svg class="figure {size}" role="img" aria-label="{escape(description)}" '
    f'viewBox="0 0 {width:g} {height:g}">'
  )
  return Markup(opening + svg[svg.index(">") + 1 :])
