"""What a score run found, in three lines for a terminal."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from reports import text
from reports.columns import Columns, read_columns, take
from reports.selection import main_ratio, top_carriers


def findings(tables: Mapping[str, pa.Table], manifest: Mapping[str, Any]) -> list[str]:
  """Returns one line each on memorization, influence and C-scores.

  Args:
    tables: score tables by name, as for `render_report`.
    manifest: the scores' manifest, whose options say from when on an example is memorized.

  Raises:
    ReportError: a table lacks a column.
  """
  ratio = main_ratio(read_columns(tables, "runs")["subset_ratio"])
  examples, pairs = (
    take(columns, columns["subset_ratio"] == ratio)
    for columns in (read_columns(tables, "examples"), read_columns(tables, "influence"))
  )
  return [
    _memorization(examples, manifest["options"]["min_memorization"], ratio),
    _influence(pairs, ratio),
    _consistency(read_columns(tables, "cscores")),
  ]


def _memorization(examples: Columns, threshold: float, ratio: float | None) -> str:
  scores = examples["memorization"]
  if np.isnan(scores).all():
    return f"memorization: undefined at subset ratio {ratio}"
  top = np.nanargmax(scores)
  return (
    f"memorization: {text.count(int(np.sum(scores >= threshold)), 'training example')} of "
    f"{text.count(len(scores))} at {threshold} or more (ratio {ratio}); most memorized is "
    f"example {examples['example'][top]}, {text.score(scores[top])} ± "
    f"{text.score(examples['memorization_se'][top])}"
  )


def _influence(pairs: Columns, ratio: float | None) -> str:
  carriers = top_carriers(pairs["train_example"], pairs["test_example"], pairs["influence"], 1)
  if not carriers:
    return f"influence: no pair over the thresholds at subset ratio {ratio}"
  first = carriers[0]
  return (
    f"influence: {text.count(len(pairs['influence']), 'selected pair')} (ratio {ratio}); training "
    f"example {first.train_example} carries {text.count(len(first.rows), 'test example')}, "
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
