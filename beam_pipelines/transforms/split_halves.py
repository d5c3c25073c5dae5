"""Reliability as a transform: each half of the runs scores on its own, and the two are compared."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsDict, AsSingleton

from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.pack_runs import (
  TEST_SETS,
  TRAIN_BLOCKS,
  BlockKey,
  PackedTestSet,
  PackedTrainBlock,
)
from beam_pipelines.transforms.select_pairs import PairSelection
from estimators.bits import keep_runs, popcount
from estimators.counts import count_outcomes
from estimators.false_pairs import expected_false_pairs
from estimators.pairs import InfluencePairs, merge_pairs
from estimators.reliability import (
  Moments,
  PairOverlap,
  curve_runs,
  reliability_curve,
  spearman_brown,
  split_halves,
)
from estimators.scores import score

_SEED = 0  # any will do, but always the same: scores of the same runs have the same reliability


@dataclasses.dataclass
class Reliability(beam.PTransform):
  """Says for each subset ratio how well its scores would repeat, for the manifest.

  Input: the output of `PackRuns`. Output: a JSON-ready dict per subset ratio: `runs`;
  `reliability` with the split-half correlation of memorization and its Spearman–Brown value for
  all runs, the same at 8 growing numbers of runs (`curve`), and the Jaccard index of the pairs
  that the two halves select; `expected_false_pairs`, how many pairs the thresholds would select
  among the eligible if there were no influence; `note` if that is at least one. Undefined values
  are None. Costs two more selections, over half of the runs each.

  Args:
    selection: which pairs are selected.
    labels: a singleton `Labels`.
  """

  selection: PairSelection
  labels: beam.PCollection[Labels]

  def expand(self, packed: dict[str, beam.PCollection]) -> beam.PCollection[dict[str, Any]]:
    """Compares in each block, then adds up."""
    return (
      packed[TRAIN_BLOCKS]
      | "Compare halves"
      >> beam.Map(
        _compare_block, AsDict(packed[TEST_SETS]), AsSingleton(self.labels), self.selection
      )
      | "Gather blocks" >> beam.GroupByKey()
      | "Add up" >> beam.Map(_add_up, self.selection.top_k)
    )


@dataclasses.dataclass(frozen=True)
class _BlockReliability:
  start: int
  runs: int
  curve: tuple[Moments, ...]
  pairs: tuple[InfluencePairs, InfluencePairs] | PairOverlap
  expected_false_pairs: float


def _compare_block(
  keyed: tuple[BlockKey, PackedTrainBlock],
  test_sets: Mapping[float, PackedTestSet],
  labels: Labels,
  selection: PairSelection,
) -> tuple[float, _BlockReliability]:
  (subset_ratio, start), block = keyed
  test_set = test_sets[subset_ratio]
  runs = len(block.runs)
  first, second = (
    selection.select(
      start,
      PackedTrainBlock(
        block.runs[half], keep_runs(block.member, half), keep_runs(block.correct, half)
      ),
      PackedTestSet(test_set.runs[half], keep_runs(test_set.correct, half)),
      labels,
    ).pairs
    for half in split_halves(runs, _SEED)
  )
  return subset_ratio, _BlockReliability(
    start,
    runs,
    reliability_curve(block.member, block.correct, runs, _SEED),
    # The top k of all blocks can only be found among the pairs themselves.
    PairOverlap.of(first, second) if selection.top_k is None else (first, second),
    _false_pairs(start, block, test_set, labels, selection),
  )


def _false_pairs(
  start: int,
  block: PackedTrainBlock,
  test_set: PackedTestSet,
  labels: Labels,
  selection: PairSelection,
) -> float:
  counts = count_outcomes(block.member, block.correct, len(block.runs))
  eligible = np.flatnonzero(score(counts) >= selection.min_memorization)
  return expected_false_pairs(
    counts.runs_in[eligible],
    popcount(test_set.correct),
    len(block.runs),
    selection.min_influence,
    train_labels=labels.of_train(start + eligible) if selection.same_class else None,
    test_labels=labels.test if selection.same_class else None,
  )


def _add_up(
  gathered: tuple[float, Iterable[_BlockReliability]], top_k: int | None
) -> dict[str, Any]:
  subset_ratio, values = gathered
  # In the order of the blocks, so that sums of floats do not depend on the order of arrival.
  blocks = sorted(values, key=lambda block: block.start)
  runs = blocks[0].runs
  curve = [
    {"runs": used, **_correlation(sum(moments, Moments()))}
    for used, moments in zip(
      curve_runs(runs), zip(*(block.curve for block in blocks), strict=True), strict=True
    )
  ]
  false_pairs = sum(block.expected_false_pairs for block in blocks)
  return {
    "subset_ratio": subset_ratio,
    "runs": runs,
    "reliability": {
      "memorization": curve[-1] if curve else {"runs": runs, **_correlation(Moments())},
      "pairs_jaccard": _defined(_overlap([block.pairs for block in blocks], top_k).jaccard),
      "curve": curve,
    },
    "expected_false_pairs": false_pairs,
    "note": _note(runs, false_pairs),
  }


def _note(runs: int, false_pairs: float) -> str | None:
  if false_pairs < 1:
    return None
  return (
    f"{runs:,} runs are few for these thresholds: about {false_pairs:,.0f} pairs would pass them "
    "by chance; add runs, or raise --min_influence"
  )


def _overlap(
  blocks: Sequence[tuple[InfluencePairs, InfluencePairs] | PairOverlap], top_k: int | None
) -> PairOverlap:
  overlaps = [block for block in blocks if isinstance(block, PairOverlap)]
  halves = zip(*(block for block in blocks if not isinstance(block, PairOverlap)), strict=True)
  merged = [merge_pairs(half, top_k) for half in halves]
  return PairOverlap.of(*merged) if merged else sum(overlaps, PairOverlap())


def _correlation(moments: Moments) -> dict[str, float | None]:
  correlation = moments.correlation
  return {
    "correlation": _defined(correlation),
    "spearman_brown": _defined(spearman_brown(correlation)),
  }


def _defined(value: float) -> float | None:
  return None if math.isnan(value) else value
