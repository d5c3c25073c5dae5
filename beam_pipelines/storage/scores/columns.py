"""The scores in a scores directory as NumPy columns, by kind: what exports and comparisons read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipelines.storage.scores.completeness import (
  check_examples,
  check_pairs,
  scored_sizes,
)
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
  """Returns the C-scores of all training examples, in their order.

  Raises:
    UsageError: the table does not hold each example once.
  """
  table = read_table(directory, "cscores")
  return _by_example(directory, table, "table cscores", "cscore")


def read_memorization(directory: str, subset_ratio: float) -> IndexedScores:
  """Returns the memorization of all training examples at one subset ratio, in their order.

  Raises:
    UsageError: the table does not hold each example once at this ratio.
  """
  table = _at_ratio(directory, "examples", subset_ratio)
  return _by_example(directory, table, f"table examples at ratio {subset_ratio}", "memorization")


def read_influence(directory: str, subset_ratio: float) -> IndexedScores:
  """Returns the selected pairs at one subset ratio, by training and test example.

  Raises:
    UsageError: the table repeats pairs, or holds some of examples that were not scored.
  """
  table = _at_ratio(directory, "influence", subset_ratio)
  pairs = _indexed(
    table, ["train_example", "test_example"], "influence", ["train_label", "test_label"]
  )
  where = f"{directory}: table influence at ratio {subset_ratio}"
  check_pairs(where, pairs.index, scored_sizes(read_manifest(directory)))
  return pairs


def _by_example(directory: str, table: pa.Table, where: str, score: str) -> IndexedScores:
  manifest = read_manifest(directory)
  if not manifest.examples.train_recorded:
    raise UsageError(
      f"{directory} holds no {score}: the runs have recorded no outcomes on training examples"
    )
  size = scored_sizes(manifest).train
  check_examples(f"{directory}: {where}", table["example"].to_numpy(), size)
  return _indexed(table, ["example"], score, ["label"])


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
