"""Rows of the `influence` table, one per selected pair."""

from __future__ import annotations

import dataclasses

import apache_beam as beam
from apache_beam.pvalue import AsSingleton

from beam_pipelines.storage.scores.tables import make_table
from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.pack_runs import BlockKey
from beam_pipelines.transforms.select_pairs import MemorizedPairs
from beam_pipelines.transforms.stage_parts import Part
from beam_pipelines.transforms.tabulate_examples import part_name
from estimators.outcome_kinds import CORRECT, OutcomeKind
from estimators.scores import standard_error


@dataclasses.dataclass
class TabulatePairs(beam.PTransform):
  """Rows of the `influence` table.

  Input: the `pairs` of `SelectPairs`. Output: a `Part` per element.

  Args:
    labels: a singleton `Labels`.
    kind: what outcomes are.
  """

  labels: beam.PCollection[Labels]
  kind: OutcomeKind = CORRECT

  def expand(self, selected: beam.PCollection) -> beam.PCollection[Part]:
    """Scores the pairs."""
    return selected | "Influence table" >> beam.Map(
      _influence_part, AsSingleton(self.labels), self.kind
    )


def _influence_part(
  keyed: tuple[BlockKey, MemorizedPairs], labels: Labels, kind: OutcomeKind
) -> Part:
  (subset_ratio, start), selected = keyed
  pairs = selected.pairs
  rows = make_table(
    "influence",
    kind.name,
    subset_ratio=subset_ratio,
    train_example=pairs.train_example,
    test_example=pairs.test_example,
    train_label=labels.of_train(pairs.train_example),
    test_label=labels.of_test(pairs.test_example),
    **vars(pairs.statistics),
    influence=pairs.influence,
    influence_se=standard_error(pairs.statistics),
    memorization=selected.memorization,
  )
  return Part("influence", part_name(subset_ratio, start), rows)
