"""The heart: outcomes of runs in, published score tables out."""

from __future__ import annotations

import dataclasses
from typing import Any

import apache_beam as beam

from beam_pipelines.storage.scores.directory import ScoresDirectory
from beam_pipelines.transforms.count_outcomes import CountOutcomes
from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.load_bigquery import LoadBigQuery
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
  TabulateCorrectness,
  TabulateOutcomes,
  TabulateRuns,
  TabulateSkipped,
)


@dataclasses.dataclass
class ScoreOutcomes(beam.PTransform):
  """Scores outcomes and publishes all tables at once.

  Input: a dict of `outcomes` (`RunOutcome`s of equal sizes) and `skipped` (`Skipped`s). Output: the
  manifest.

  Args:
    directory: where to.
    manifest: what is known of the job before it runs.
    selection: which influence pairs to keep.
    labels: classes of the examples.
    block_size: training examples per block, a multiple of 8.
    dense: also write the whole influence matrix.
    correctness: also write one row per run and example.
    strict: refuse to publish if anything was skipped.
    load: also loads what is staged into BigQuery.
  """

  directory: ScoresDirectory
  manifest: dict[str, Any]
  selection: PairSelection
  labels: Labels
  block_size: int
  dense: bool = False
  correctness: bool = False
  strict: bool = False
  load: LoadBigQuery | None = None

  def expand(self, read: dict[str, beam.PCollection]) -> beam.PCollection[dict[str, Any]]:
    """Packs the runs once; everything else follows from the packed blocks."""
    outcomes, skipped = read[OUTCOMES], read[SKIPPED]
    labels = outcomes.pipeline | "Labels" >> beam.Create([self.labels])
    sizes = common_sizes(outcomes)
    packed = outcomes | "Pack runs" >> PackRuns(self.block_size)
    counts = packed[TRAIN_BLOCKS] | "Count outcomes" >> CountOutcomes()
    selected = packed | "Select pairs" >> SelectPairs(self.selection, labels)
    parts = [
      counts | "Examples" >> TabulateExamples(labels),
      counts | "C-scores" >> TabulateCScores(labels),
      selected[PAIRS] | "Influence" >> TabulatePairs(labels),
      selected[PAIRS] | "Influence per example" >> SummarizeInfluence(sizes, labels),
      outcomes | "Runs scored" >> TabulateRuns(),
      outcomes | "Outcomes" >> TabulateOutcomes(),
      skipped | "Inputs skipped" >> TabulateSkipped(),
    ]
    if self.correctness:
      parts.append(outcomes | "Correctness" >> TabulateCorrectness())
    staged = [parts | "All parts" >> beam.Flatten() | "Stage" >> StageParts(self.directory)]
    if self.dense:
      write_dense = StageDenseInfluence(self.directory, sizes, self.block_size)
      staged.append(packed | "Dense influence" >> write_dense)
    compare = MeasureReliability(self.selection, labels, selected[HALVES])
    reliability = packed | "Reliability" >> compare
    all_staged = staged | "All staged" >> beam.Flatten()
    loads = all_staged | "Load BigQuery" >> self.load if self.load else None
    publish = PublishScores(
      self.directory,
      self.manifest,
      sizes,
      reliability,
      skipped,
      self.strict,
      self.load and self.load.tables,
      loads,
    )
    return all_staged | "Publish" >> publish
