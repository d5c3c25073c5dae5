"""The numbers behind the report's figures and tables."""

import dataclasses

import numpy as np

from reports.columns import Columns

# Groups of examples by C-score, lowest first: name, and the share of examples up to its end.
_GROUPS = (("lowest 5%", 0.05), ("5–20%", 0.2), ("20–50%", 0.5), ("highest 50%", 1.0))
_BIN_WIDTH = 0.05


@dataclasses.dataclass(frozen=True)
class RatioAccuracy:
  """Accuracy of the runs of one subset ratio: `(mean, standard deviation)`, NaN if undefined."""

  subset_ratio: float
  runs: int
  examples_in: float  # mean
  train: tuple[float, float]
  removed: tuple[float, float]
  test: tuple[float, float]


def accuracy_per_ratio(runs: Columns) -> list[RatioAccuracy]:
  """Returns one summary per subset ratio, ratios ascending.

  Args:
    runs: columns of the runs table.
  """
  summaries = []
  for ratio in np.unique(runs["subset_ratio"]):
    chosen = runs["subset_ratio"] == ratio
    train, removed, test = (
      _mean_and_deviation(runs[f"accuracy_{split}"][chosen])
      for split in ("train", "removed", "test")
    )
    examples_in = float(runs["examples_in"][chosen].mean())
    summaries.append(
      RatioAccuracy(float(ratio), int(chosen.sum()), examples_in, train, removed, test)
    )
  return summaries


def _mean_and_deviation(values: np.ndarray) -> tuple[float, float]:
  values = values[~np.isnan(values)]
  return (float(values.mean()), float(values.std())) if values.size else (np.nan, np.nan)


def score_histogram(scores: np.ndarray, *, bounded: bool = True) -> tuple[np.ndarray, np.ndarray]:
  """Returns int64 counts `[bins]` and the edges `[bins + 1]` of bins of equal width.

  Args:
    scores: float64, at least one of them defined; NaN is left out.
    bounded: whether scores lie between −1 and 1: bins are then of width 0.05, and end at 1.
      Otherwise they are of a width that makes some tens of them, and end with the scores.
  """
  defined = scores[~np.isnan(scores)]
  width = _BIN_WIDTH if bounded else _width(float(np.ptp(defined)))
  # A score that is a bin's edge up to rounding (0.7 − 0.65) belongs to the bin above it.
  units = np.floor(defined / width + 1e-9).astype(np.int64)
  last = round(1 / width) - 1 if bounded else int(units.max())  # 1 belongs to the last bin
  first = min(int(units.min()), 0)
  counts = np.bincount(np.minimum(units, last) - first, minlength=last + 1 - first)
  return counts, np.arange(first, last + 2) * width


def _width(span: float) -> float:
  """Returns 1, 2 or 5 times a power of ten that goes 20 to 50 times into a span."""
  if not span:
    return _BIN_WIDTH
  power = 10.0 ** np.floor(np.log10(span / 50))
  return next(step * power for step in (1, 2, 5, 10) if span <= 50 * step * power * (1 + 1e-9))


@dataclasses.dataclass(frozen=True)
class ConsistencyProfile:
  """Mean consistency per subset ratio, of all examples and of groups by C-score."""

  subset_ratios: np.ndarray  # [ratios], ascending
  mean: np.ndarray  # [ratios], NaN where no example has a held-out run
  groups: list[tuple[str, np.ndarray]]  # name and [ratios], lowest C-scores first


def consistency_profile(examples: Columns, cscores: Columns) -> ConsistencyProfile:
  """Returns the consistency profile of groups of examples (Jiang et al. 2021).

  Args:
    examples: columns of the examples table, all subset ratios.
    cscores: columns of the cscores table.
  """
  ratios, at_ratio = np.unique(examples["subset_ratio"], return_inverse=True)
  group = _cscore_groups(examples["example"], cscores)
  consistency = examples["consistency"]
  defined = ~np.isnan(consistency)

  def means(chosen: np.ndarray) -> np.ndarray:
    total = np.bincount(at_ratio[chosen], consistency[chosen], minlength=ratios.size)
    count = np.bincount(at_ratio[chosen], minlength=ratios.size)
    return np.divide(total, count, out=np.full(ratios.size, np.nan), where=count > 0)

  groups = [
    (name, means(defined & (group == index)))
    for index, (name, _) in enumerate(_GROUPS)
    if np.any(defined & (group == index))
  ]
  return ConsistencyProfile(ratios, means(defined), groups)


def _cscore_groups(examples: np.ndarray, cscores: Columns) -> np.ndarray:
  """Returns the group of each of `examples`, −1 for one without a C-score."""
  defined = ~np.isnan(cscores["cscore"])
  ids = cscores["example"][defined].astype(np.int64)
  order = np.lexsort((ids, cscores["cscore"][defined]))
  share = np.empty(ids.size)
  share[order] = np.arange(ids.size) / ids.size
  size = int(max(examples.max(initial=-1), ids.max(initial=-1))) + 1
  group = np.full(size, -1)
  group[ids] = np.searchsorted([end for _, end in _GROUPS], share, side="right")
  return group[examples.astype(np.int64)]
