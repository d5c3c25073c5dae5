"""What a score run found, in three lines for a terminal."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from estimators.ratios import main_ratio
from estimators.thresholds import reaches
from reports import text
from reports.columns import Columns, in_out_statistics, read_columns, take
from reports.selection import top_carriers


def findings(tables: Mapping[str, pa.Table], manifest: Mapping[str, Any]) -> list[str]:
  """Returns one line each on memorization, influence and C-scores.

  Args:
    tables: score tables by name, as for `render_report`.
    manifest: the scores' manifest, whose options say from when on an example is memorized.

  Raises:
    ReportError: a table lacks a column.
  """
  ratio = main_ratio(Counter(read_columns(tables, "runs")["subset_ratio"].tolist()))
  examples, pairs = (
    take(columns, columns["subset_ratio"] == ratio)
    for columns in (read_columns(tables, "examples"), read_columns(tables, "influence"))
  )
  return [
    _memorization(examples, manifest["options"]["min_memorization"], ratio),
    _influence(pairs, ratio, expected_by_chance(manifest, ratio)),
    _consistency(read_columns(tables, "cscores")),
  ]


def expected_by_chance(manifest: Mapping[str, Any], ratio: float | None) -> float | None:
  """Returns how many pairs the thresholds would select at a ratio if nothing had influence.

  None if the manifest does not say.
  """
  for row in manifest.get("ratios") or []:
    if row["subset_ratio"] == ratio:
      return row.get("expected_false_pairs")
  return None


def _memorization(examples: Columns, threshold: float, ratio: float | None) -> str:
  scores = examples["memorization"]
  if np.isnan(scores).all():
    return f"memorization: undefined at subset ratio {ratio}"
  top = np.nanargmax(scores)
  memorized = int(np.sum(reaches(in_out_statistics(examples), threshold)))
  return (
    f"memorization: {text.count(memorized, 'training example')} of "
    f"{text.count(len(scores))} at {threshold} or more (ratio {ratio}); most memorized is "
    f"example {examples['example'][top]}, {text.score(scores[top])} ± "
    f"{text.score(examples['memorization_se'][top])}"
  )


def _influence(pairs: Columns, ratio: float | None, by_chance: float | None) -> str:
  carriers = top_carriers(pairs["train_example"], pairs["test_example"], pairs["influence"], 1)
  if not carriers:
    return f"influence: no pair over the thresholds at subset ratio {ratio}"
  first = carriers[0]
  chance = "" if by_chance is None else f", about {text.count(by_chance)} expected by chance"
  carried = text.count(len(first.rows), "test example")
  return (
    f"influence: {text.count(len(pairs['influence']), 'selected pair')} (ratio {ratio}{chance}); "
    f"training example {first.train_example} carries {carried}, "
    f"the first by {text.score(pairs['influence'][first.rows[0]])}"
  )


def _consistency(cscores: Columns) -> str:
  scores = cscores["cscore"]
  if np.isnan(scores).all():
    return "C-scores: undefined, no run held an example out"
  lowest = np.nanargmin(scores)
  return (
    f"C-scores: {text.score(float(np.nanmean(scores)))} on average; lowest is example "
    f"{cscores['example'][lowest]}, {text.score(scores[lowest])}"
  )
