"""Influence pairs as transforms: every block of training examples meets the whole test set."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsDict, AsSingleton, TaggedOutput

from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.pack_runs import (
  TEST_SETS,
  TRAIN_BLOCKS,
  BlockKey,
  PackedTestSet,
  PackedTrainBlock,
)
from estimators.outcome_kinds import CORRECT, OutcomeKind
from estimators.pairs import InfluencePairs, merge_pairs
from estimators.reliability import PairOverlap, split_halves
from estimators.scores import score
from estimators.selection import HalvesPairs
from estimators.thresholds import reaches
from files.spill import Spilled, load

PAIRS = "pairs"
HALVES = "halves"

# Any will do, but always the same: scores of the same runs have the same reliability.
HALVES_SEED = 0


@dataclasses.dataclass(frozen=True)
class PairSelection:
  """Which pairs of a training and a test example are selected.

  Both thresholds are decimal numbers in the unit of the outcomes, and a score that equals one
  passes: see `reaches`.

  Attributes:
    min_influence: least influence of a pair.
    min_memorization: least memorization of its training example.
    same_class: whether both must be of the same class.
    top_k: of the pairs that pass, keep those among the k largest of their training or test
      example; None: all.
    kind: what outcomes are.
  """

  min_influence: float = CORRECT.min_influence
  min_memorization: float = CORRECT.min_memorization
  same_class: bool = True
  top_k: int | None = None
  kind: OutcomeKind = CORRECT

  def select(
    self, start: int, block: PackedTrainBlock, test_set: PackedTestSet, labels: Labels
  ) -> tuple[MemorizedPairs, HalvesPairs]:
    """Selects pairs of a block of training examples, the first of which has index `start`.

    Returns:
      The pairs that all runs select, and for comparison those that each half of the runs selects.
      Where memorization is not known, because it was not recorded who is right on the training
      examples, it selects nothing, and is NaN.
    """
    runs = len(block.runs)
    halves = split_halves(runs, HALVES_SEED)
    of_examples = self._judge(block, halves)
    examples = np.arange(start, start + len(block.member))
    tested = np.arange(len(test_set.outcomes))  # none where that was not recorded
    selected = self.kind.select_in_halves(
      block.member,
      test_set.outcomes,
      halves,
      self.min_influence,
      train_labels=labels.of_train(examples) if self.same_class else None,
      test_labels=labels.of_test(tested) if self.same_class else None,
      eligible=of_examples.eligible,
      top_k=self.top_k,
      first_train=start,
    )
    of_pair = of_examples.memorization[selected.all.train_example - start]
    return MemorizedPairs(selected.all, of_pair), selected

  def _judge(
    self, block: PackedTrainBlock, halves: tuple[np.ndarray, np.ndarray]
  ) -> _JudgedExamples:
    if not block.recorded:  # then influence alone selects
      every = np.ones(len(block.member), bool)
      return _JudgedExamples(np.full(len(every), np.nan), [every] * 3)
    statistics = [
      self.kind.measure(block.member, block.outcomes, len(block.runs), some)
      for some in (None, *halves)
    ]
    eligible = [reaches(each, self.min_memorization) for each in statistics]
    return _JudgedExamples(score(statistics[0]), eligible)


class _JudgedExamples(NamedTuple):
  """Memorization of a block's examples, and whether all runs, and each half, find it enough."""

  memorization: np.ndarray
  eligible: list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class MemorizedPairs:
  """Selected pairs with the memorization of their training examples, float64 [pairs]."""

  pairs: InfluencePairs
  memorization: np.ndarray


@dataclasses.dataclass
class SelectPairs(beam.PTransform):
  """Selects influence pairs.

  Input: the output of `PackRuns`. Output: a dict of `pairs` (`(BlockKey, MemorizedPairs)` per
  block, or with `top_k`, which needs all pairs of a test example together, per subset ratio) and
  `halves` (`(subset ratio, PairOverlap)` per block of the pairs that each half of the runs
  selects; with `top_k` both halves' `InfluencePairs` instead). The test set of a subset ratio is a
  side input. Cost: one AND and popcount per 64 runs and pair that the selection may contain; of
  reals, one addition per 4 runs.

  Args:
    selection: which pairs to keep.
    labels: a singleton `Labels`.
  """

  selection: PairSelection
  labels: beam.PCollection[Labels]

  def expand(self, packed: dict[str, beam.PCollection]) -> dict[str, beam.PCollection]:
    """Selects in each block, merges where needed."""
    selected = packed[TRAIN_BLOCKS] | "Select in block" >> beam.FlatMap(
      _select_in_block, AsDict(packed[TEST_SETS]), AsSingleton(self.labels), self.selection
    ).with_outputs(HALVES, main=PAIRS)
    pairs = selected[PAIRS]
    if self.selection.top_k is not None:
      pairs = (
        pairs
        | "Key by subset ratio" >> beam.Map(lambda keyed: (keyed[0][0], keyed[1]))
        | "Gather blocks" >> beam.GroupByKey()
        | "Keep top k" >> beam.Map(_merge_blocks, self.selection.top_k)
      )
    return {PAIRS: pairs, HALVES: selected[HALVES]}


def _select_in_block(
  keyed: tuple[BlockKey, PackedTrainBlock | Spilled],
  test_sets: Mapping[float, PackedTestSet],
  labels: Labels,
  selection: PairSelection,
) -> Iterator[tuple[BlockKey, MemorizedPairs] | TaggedOutput]:
  (subset_ratio, start), block = keyed[0], load(keyed[1])
  pairs, halves = selection.select(start, block, test_sets[subset_ratio], labels)
  yield keyed[0], pairs
  first, second = halves.first, halves.second
  # The top k of all blocks can only be found among the pairs themselves.
  compared = PairOverlap.of(first, second) if selection.top_k is None else (first, second)
  yield TaggedOutput(HALVES, (subset_ratio, compared))


def _merge_blocks(
  gathered: tuple[float, Iterable[MemorizedPairs]], top_k: int
) -> tuple[BlockKey, MemorizedPairs]:
  subset_ratio, blocks = gathered
  blocks = list(blocks)
  merged = merge_pairs([block.pairs for block in blocks], top_k)
  train = np.concatenate([block.pairs.train_example for block in blocks])
  examples, first = np.unique(train, return_index=True)
  memorization = np.concatenate([block.memorization for block in blocks])[first]
  of_pair = memorization[np.searchsorted(examples, merged.train_example)]
  return (subset_ratio, 0), MemorizedPairs(merged, of_pair)
