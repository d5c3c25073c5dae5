"""Reliability as a transform: each half of the runs scores on its own, and the two are compared."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsDict, AsSingleton

from beam_pipelines.storage.scores.manifest import RatioSummary, Reliability, SplitHalf
from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.pack_runs import (
  TEST_SETS,
  TRAIN_BLOCKS,
  BlockKey,
  PackedTestSet,
  PackedTrainBlock,
)
from beam_pipelines.transforms.select_pairs import HALVES, HALVES_SEED, PairSelection
from estimators.bits import popcount
from estimators.pairs import merge_pairs
from estimators.reliability import (
  Moments,
  PairOverlap,
  curve_runs,
  reliability_curve,
  spearman_brown,
)
from estimators.thresholds import reaches
from files.spill import Spilled, load

_BLOCKS = "blocks"


@dataclasses.dataclass
class MeasureReliability(beam.PTransform):
  """Says for each subset ratio how well its scores would repeat, for the manifest.

  Input: the output of `PackRuns`. Output: a `RatioSummary` per subset ratio.

  Args:
    selection: which pairs are selected.
    labels: a singleton `Labels`.
    halves: the `halves` of `SelectPairs`.
  """

  selection: PairSelection
  labels: beam.PCollection[Labels]
  halves: beam.PCollection

  def expand(self, packed: dict[str, beam.PCollection]) -> beam.PCollection[RatioSummary]:
    """Compares in each block, then adds up."""
    blocks = packed[TRAIN_BLOCKS] | "Compare halves" >> beam.Map(_compare_block, self.selection)
    return (
      {_BLOCKS: blocks, HALVES: self.halves}
      | "Gather blocks" >> beam.CoGroupByKey()
      | "Add up"
      >> beam.Map(_add_up, AsDict(packed[TEST_SETS]), AsSingleton(self.labels), self.selection)
    )


@dataclasses.dataclass(frozen=True)
class _BlockReliability:
  """What a block adds: moments, and the training examples that may form pairs, with runs_in."""

  start: int
  runs: int
  curve: tuple[Moments, ...]
  eligible: np.ndarray
  runs_in: np.ndarray


def _compare_block(
  keyed: tuple[BlockKey, PackedTrainBlock | Spilled], selection: PairSelection
) -> tuple[float, _BlockReliability]:
  (subset_ratio, start), block = keyed[0], load(keyed[1])
  runs = len(block.runs)
  measure = selection.kind.measure
  if not block.recorded:  # then influence alone selects
    curve = tuple(Moments() for _ in curve_runs(runs))
    runs_in = popcount(block.member)
    eligible = np.arange(len(runs_in))
  else:
    curve = reliability_curve(block.member, block.outcomes, runs, HALVES_SEED, measure=measure)
    statistics = measure(block.member, block.outcomes, runs)
    runs_in = statistics.runs_in
    eligible = np.flatnonzero(reaches(statistics, selection.min_memorization))
  return subset_ratio, _BlockReliability(start, runs, curve, start + eligible, runs_in[eligible])


def _add_up(
  keyed: tuple[float, dict[str, Iterable[Any]]],
  test_sets: Mapping[float, PackedTestSet],
  labels: Labels,
  selection: PairSelection,
) -> RatioSummary:
  subset_ratio, gathered = keyed
  # In the order of the blocks, so that sums of floats do not depend on the order of arrival.
  blocks: list[_BlockReliability] = sorted(gathered[_BLOCKS], key=lambda block: block.start)
  runs = blocks[0].runs
  curve = tuple(
    _split_half(used, sum(moments, Moments()))
    for used, moments in zip(
      curve_runs(runs), zip(*(block.curve for block in blocks), strict=True), strict=True
    )
  )
  false_pairs = _false_pairs(blocks, test_sets[subset_ratio], labels, selection)
  reliability = Reliability(
    memorization=curve[-1] if curve else _split_half(runs, Moments()),
    pairs_jaccard=_defined(_overlap(gathered[HALVES], selection.top_k).jaccard),
    curve=curve,
  )
  return RatioSummary(subset_ratio, runs, reliability, false_pairs, _note(runs, false_pairs))


def _false_pairs(
  blocks: list[_BlockReliability],
  test_set: PackedTestSet,
  labels: Labels,
  selection: PairSelection,
) -> float:
  """Counts over all blocks at once, because the examples of all have the same few runs_in."""
  eligible = np.concatenate([block.eligible for block in blocks])
  tested = np.arange(len(test_set.outcomes))  # none where that was not recorded
  return selection.kind.expected_false_pairs(
    np.concatenate([block.runs_in for block in blocks]),
    test_set.outcomes,
    blocks[0].runs,
    selection.min_influence,
    train_labels=labels.of_train(eligible) if selection.same_class else None,
    test_labels=labels.of_test(tested) if selection.same_class else None,
  )


def _note(runs: int, false_pairs: float) -> str | None:
  if false_pairs < 1:
    return None
  return (
    f"{runs:,} runs are few for these thresholds: about {false_pairs:,.0f} pairs would pass them "
    "by chance; add runs, or raise --min_influence"
  )


def _overlap(halves: Iterable[Any], top_k: int | None) -> PairOverlap:
  if top_k is None:
    return sum(halves, PairOverlap())
  first, second = (merge_pairs(half, top_k) for half in zip(*halves, strict=True))
  return PairOverlap.of(first, second)


def _split_half(runs: int, moments: Moments) -> SplitHalf:
  correlation = moments.correlation
  return SplitHalf(runs, _defined(correlation), _defined(spearman_brown(correlation)))


def _defined(value: float) -> float | None:
  return None if math.isnan(value) else value
