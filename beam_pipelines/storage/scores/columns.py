"""The scores in a scores directory as NumPy columns, by kind: what exports and comparisons read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipelines.storage.scores.directory import read_table
from beam_pipelines.storage.scores.manifest import read_manifest
from estimators.agreement import IndexedScores
from estimators.ratios import main_ratio
from files.errors import UsageError

CSCORE = "C-score"
MEMORIZATION = "memorization"
INFLUENCE = "influence"


def choose_ratio(directory: str, wanted: float | None) -> float:
  """Returns the wanted subset ratio, or by default the main one of the scores.

  Raises:
    UsageError: there are no complete scores, or none at the wanted ratio.
  """
  runs = {ratio.subset_ratio: ratio.runs for ratio in read_manifest(directory).ratios}
  chosen = main_ratio(runs) if wanted is None else wanted
  if chosen is None or chosen not in runs:
    held = ", ".join(map(str, runs))
    raise UsageError(f"--ratio={wanted}: {directory} holds scores at {held}; choose one of them")
  return chosen


def read_cscores(directory: str) -> IndexedScores:
  """Returns the C-scores, by example."""
  return _indexed(read_table(directory, "cscores"), ["example"], "cscore", ["label"])


def read_memorization(directory: str, subset_ratio: float) -> IndexedScores:
  """Returns the memorization at one subset ratio, by example."""
  table = _at_ratio(directory, "examples", subset_ratio)
  return _indexed(table, ["example"], "memorization", ["label"])


def read_influence(directory: str, subset_ratio: float) -> IndexedScores:
  """Returns the selected pairs at one subset ratio, by training and test example."""
  table = _at_ratio(directory, "influence", subset_ratio)
  return _indexed(
    table, ["train_example", "test_example"], "influence", ["train_label", "test_label"]
  )


def _at_ratio(directory: str, name: str, subset_ratio: float) -> pa.Table:
  return read_table(directory, name).filter(pc.field("subset_ratio") == subset_ratio)


def _indexed(
  table: pa.Table, index: Sequence[str], score: str, labels: Sequence[str]
) -> IndexedScores:
  table = table.sort_by([(name, "ascending") for name in index])
  labelled = not any(table[name].null_count for name in labels)
  return IndexedScores(
    index=_stack(table, index),
    scores=table[score].to_numpy(),
    labels=_stack(table, labels) if labelled else None,
  )


def _stack(table: pa.Table, columns: Sequence[str]) -> np.ndarray:
  return np.stack([table[name].to_numpy() for name in columns], axis=1)
