"""The report of one score run."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa

from estimators.ratios import main_ratio
from reports import sections, text
from reports.columns import read_columns, take
from reports.findings import expected_by_chance
from reports.labels import labels_of
from reports.pictures import Dataset, Gallery
from reports.wording import WORDINGS

# The threshold of Feldman & Zhang 2020, if the manifest names none.
_MIN_MEMORIZATION = 0.25


def render_report(
  tables: Mapping[str, pa.Table], manifest: Mapping[str, Any], dataset: Dataset
) -> str:
  """Returns the report as one HTML document that loads nothing from elsewhere.

  Pictures, figures and style are inline; there is no script. The same arguments give the same
  document. Tables of some millions of rows are fine: only what is shown is looped over.

  Args:
    tables: score tables by name (examples, cscores, influence, runs, skipped), rows in any order;
      an absent one reads as empty, and the report says so.
    manifest: the scores' manifest; the report leaves out what it lacks. Its warnings, a list of
      sentences, stand above everything else.
    dataset: the data set that was scored, whose labels are shown.

  Raises:
    ReportError: a table lacks a column or has an example that the data set lacks.
  """
  examples = read_columns(tables, "examples")
  cscores = read_columns(tables, "cscores")
  pairs = read_columns(tables, "influence")
  runs = read_columns(tables, "runs")
  train, test = dataset.train, dataset.test
  examples["label"] = labels_of(examples["example"], train, "examples")
  cscores["label"] = labels_of(cscores["example"], train, "cscores")
  labels_of(pairs["train_example"], train, "influence, training side")
  labels_of(pairs["test_example"], test, "influence, test side")

  gallery = Gallery(dataset)
  options = manifest.get("options") or {}
  threshold = options.get("min_memorization")
  threshold = _MIN_MEMORIZATION if threshold is None else threshold
  words = WORDINGS[options.get("outcome") or "correct"]
  ratio = main_ratio(Counter(runs["subset_ratio"].tolist()))
  return _template().render(
    manifest=manifest,
    warnings=manifest.get("warnings") or [],
    options=options,
    words=words,
    data=manifest.get("dataset") or dataset.spec,
    train_size=len(train.labels),
    test_size=len(test.labels),
    runs=len(runs["subset_ratio"]),
    ratio=ratio,
    ratios=np.unique(runs["subset_ratio"]).tolist(),
    runs_at_ratio=int(np.sum(runs["subset_ratio"] == ratio)),
    threshold=threshold,
    criteria=_pair_criteria(options),
    accuracy=sections.accuracy(runs),
    memorization=sections.memorization(
      take(examples, examples["subset_ratio"] == ratio), threshold, ratio, gallery, words
    ),
    influence=sections.influence(pairs, ratio, gallery),
    consistency=sections.consistency(examples, cscores, gallery, words),
    reliability=manifest.get("ratios") or [],
    by_chance=expected_by_chance(manifest, ratio),
    skipped=sections.skipped(read_columns(tables, "skipped")),
  )


def _pair_criteria(options: Mapping[str, Any]) -> list[str]:
  """Returns the conditions that a selected pair met, in words."""
  criteria = [
    f"{score} of {options[name]:g} or more"
    for score, name in (("influence", "min_influence"), ("memorization", "min_memorization"))
    if options.get(name) is not None
  ]
  if options.get("pairs") == "same_class":
    criteria.append("same class")
  if options.get("top_k") is not None:
    criteria.append(f"among the {options['top_k']} largest of either example")
  return criteria


def _template() -> jinja2.Template:
  environment = jinja2.Environment(
    loader=jinja2.PackageLoader("reports"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.filters |= {
    "score": text.score,
    "percent": text.percent,
    "count": text.count,
    "date": text.date,
    "breakable": text.breakable,
  }
  return environment.get_template("report.html.jinja")
