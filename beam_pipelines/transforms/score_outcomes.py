"""The heart: outcomes of runs in, published score tables out."""

from __future__ import annotations

import dataclasses
from typing import Any

import apache_beam as beam

from beam_pipelines.storage.scores import ScoresDirectory
from beam_pipelines.transforms.dense_influence import StageDenseInfluence
from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.load_bigquery import LoadBigQuery
from beam_pipelines.transforms.pack_runs import TRAIN_BLOCKS, PackRuns
from beam_pipelines.transforms.read_outcomes import OUTCOMES, SKIPPED, common_sizes
from beam_pipelines.transforms.score_examples import CountOutcomes, CScoresParts, ExamplesParts
from beam_pipelines.transforms.select_pairs import (
  HALVES,
  PAIRS,
  PairSelection,
  PairsParts,
  SelectPairs,
)
from beam_pipelines.transforms.split_halves import Reliability
from beam_pipelines.transforms.summarise_influence import InfluenceSummaryParts
from beam_pipelines.transforms.write_scores import (
  CorrectnessParts,
  OutcomesParts,
  Publish,
  RunsPart,
  SkippedPart,
  StageParts,
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
      counts | "Examples" >> ExamplesParts(labels),
      counts | "C-scores" >> CScoresParts(labels),
      selected[PAIRS] | "Influence" >> PairsParts(labels),
      selected[PAIRS] | "Influence per example" >> InfluenceSummaryParts(sizes, labels),
      outcomes | "Runs scored" >> RunsPart(),
      outcomes | "Outcomes" >> OutcomesParts(),
      skipped | "Inputs skipped" >> SkippedPart(),
    ]
    if self.correctness:
      parts.append(outcomes | "Correctness" >> CorrectnessParts())
    staged = [parts | "All parts" >> beam.Flatten() | "Stage" >> StageParts(self.directory)]
    if self.dense:
      write_dense = StageDenseInfluence(self.directory, sizes, self.block_size)
      staged.append(packed | "Dense influence" >> write_dense)
    compare = Reliability(self.selection, labels, selected[HALVES])
    reliability = packed | "Reliability" >> compare
    all_staged = staged | "All staged" >> beam.Flatten()
    loads = all_staged | "Load BigQuery" >> self.load if self.load else None
    publish = Publish(
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
