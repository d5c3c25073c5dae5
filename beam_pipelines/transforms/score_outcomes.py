"""The heart: outcomes of runs in, published score tables out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsSingleton

from beam_pipelines.storage.runs.judgement import SetSizes
from beam_pipelines.storage.scores.index import split_of
from beam_pipelines.storage.scores.manifest import Manifest, Request, StoredPart
from beam_pipelines.storage.scores.staging import Staging
from beam_pipelines.transforms.find_misreadings import FindMisreadings
from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.load_bigquery import LoadBigQuery
from beam_pipelines.transforms.measure_outcomes import MeasureOutcomes
from beam_pipelines.transforms.measure_reliability import MeasureReliability
from beam_pipelines.transforms.pack_runs import TRAIN_BLOCKS, PackRuns
from beam_pipelines.transforms.publish_scores import PublishScores
from beam_pipelines.transforms.read_outcomes import OUTCOMES, SKIPPED, common_sizes
from beam_pipelines.transforms.select_pairs import HALVES, PAIRS, PairSelection, SelectPairs
from beam_pipelines.transforms.stage_dense_influence import StageDenseInfluence
from beam_pipelines.transforms.stage_parts import StageParts
from beam_pipelines.transforms.summarize_influence import SummarizeInfluence
from beam_pipelines.transforms.tabulate_examples import TabulateCScores, TabulateExamples
from beam_pipelines.transforms.tabulate_pairs import TabulatePairs
from beam_pipelines.transforms.tabulate_runs import (
  GatherNeighbours,
  TabulateCorrectness,
  TabulateOutcomes,
  TabulateRuns,
  TabulateSkipped,
)
from files.spill import Spill


@dataclasses.dataclass
class ScoreOutcomes(beam.PTransform):
  """Scores outcomes and publishes all tables at once.

  Input: a dict of `outcomes` (collections of `RunOutcome`s, all of equal sizes) and `skipped`
  (`Skipped`s). Output: the `Manifest`.

  Args:
    staging: where the tables are staged.
    request: what is asked for; its options say which tables.
    runs_listed: how many inputs there are, to be used or skipped.
    selection: which influence pairs to keep, and what outcomes are.
    labels: classes of the examples.
    block_size: training examples per block, a multiple of 8.
    index: the parts of the table `index`, which are staged already.
    warnings: sentences that are known before the job runs.
    load: also loads what is staged into BigQuery.
    spill: where outcomes wait for each other, or None: in the runner's hands.
  """

  staging: Staging
  request: Request
  runs_listed: int
  selection: PairSelection
  labels: Labels
  block_size: int
  index: tuple[StoredPart, ...] = ()
  warnings: tuple[str, ...] = ()
  load: LoadBigQuery | None = None
  spill: Spill | None = None

  def expand(self, read: Mapping[str, Any]) -> beam.PCollection[Manifest]:
    """Packs the runs once; everything else follows from the packed blocks."""
    outcomes, skipped = read[OUTCOMES], read[SKIPPED]
    labels = skipped.pipeline | "Labels" >> beam.Create([self.labels])
    gathered = outcomes | "Gather neighbours" >> GatherNeighbours(self.spill)
    sizes = common_sizes(gathered)
    kind = self.selection.kind
    packed = gathered | "Pack runs" >> PackRuns(self.block_size, kind, self.spill)
    measured = packed[TRAIN_BLOCKS] | "Measure outcomes" >> MeasureOutcomes(kind)
    selected = packed | "Select pairs" >> SelectPairs(self.selection, labels)
    tables = {
      "examples": measured | "Examples" >> TabulateExamples(labels, kind),
      "C-scores": measured | "C-scores" >> TabulateCScores(labels, kind, self.spill),
      "influence": selected[PAIRS] | "Influence" >> TabulatePairs(labels, kind),
      "influence per example": selected[PAIRS]
      | "Influence per example" >> SummarizeInfluence(sizes, labels, self.spill),
      "runs": gathered | "Runs scored" >> TabulateRuns(),
      "outcomes": gathered | "Outcomes" >> TabulateOutcomes(kind),
      "skipped": skipped | "Inputs skipped" >> TabulateSkipped(),
    }
    if self.request.options.correctness:
      each = gathered | "Each run" >> beam.FlatMap(lambda group: group)
      tables["correctness"] = each | "Correctness" >> TabulateCorrectness(kind)
    # Staged before they are flattened, because runners hold what goes into a Flatten.
    staged = [parts | f"Stage {name}" >> StageParts(self.staging) for name, parts in tables.items()]
    staged.append(
      skipped.pipeline
      | "Index" >> beam.Create(self.index)
      | "Of what was scored" >> beam.Filter(_is_scored, AsSingleton(sizes))
    )
    if self.request.options.dense:
      stage_dense = StageDenseInfluence(self.staging, sizes, self.block_size, kind)
      staged.extend(packed | "Dense influence" >> stage_dense)
    all_staged = staged | "All staged" >> beam.Flatten()
    loads = all_staged | "Load BigQuery" >> self.load if self.load else None
    publish = PublishScores(
      self.staging,
      self.request,
      self.runs_listed,
      sizes,
      packed | "Reliability" >> MeasureReliability(self.selection, labels, selected[HALVES]),
      skipped,
      (
        skipped.pipeline | "Warnings before" >> beam.Create(self.warnings),
        gathered | "Misreadings" >> FindMisreadings(),
        sizes | "Not recorded" >> beam.FlatMap(_describe_missing_sides),
      )
      | "Warnings" >> beam.Flatten(),
      self.load and self.load.tables,
      loads,
    )
    return all_staged | "Publish" >> publish


def _is_scored(index: StoredPart, sizes: SetSizes) -> bool:
  return sizes.num_test > 0 or split_of(index) != "test"


def _describe_missing_sides(sizes: SetSizes) -> Iterator[str]:
  num_train, num_test, train_recorded = sizes
  if num_train and not num_test:
    yield "no outcomes on test examples are recorded: there is no influence"
  if not train_recorded:
    yield (
      "no outcomes on training examples are recorded: there is no memorization and no C-score, and "
      "pairs are selected by influence alone"
    )
