"""Score tables as transforms: rows are staged part by part, then published together."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsList, AsSingleton

from beam_pipelines.storage import files
from beam_pipelines.storage.bigquery_tables import BigQueryTables
from beam_pipelines.storage.experiment import Skipped
from beam_pipelines.storage.outcome import RunOutcome
from beam_pipelines.storage.outcomes_table import encode_outcomes
from beam_pipelines.storage.scores import ScoresDirectory, StagedPart
from beam_pipelines.storage.tables import SCORE_TABLES, make_table

_RUNS_PER_PART = 64


class Part(NamedTuple):
  """Rows of a score table that go to one Parquet file of a name that follows from its rows."""

  table: str
  name: str
  rows: pa.Table


@dataclasses.dataclass
class StageParts(beam.PTransform):
  """Writes parts where nobody reads yet. Input: `Part`s. Output: `StagedPart`s."""

  scores: ScoresDirectory

  def expand(self, parts: beam.PCollection[Part]) -> beam.PCollection[StagedPart]:
    """Writes each part by its own."""
    return parts | "Write part" >> beam.Map(lambda part: self.scores.stage(*part))


@dataclasses.dataclass
class RunsPart(beam.PTransform):
  """Input: `RunOutcome`s. Output: the one `Part` of the `runs` table, sorted by run."""

  def expand(self, outcomes: beam.PCollection[RunOutcome]) -> beam.PCollection[Part]:
    """Summarises each run, then gathers."""
    return (
      outcomes
      | "Summarise run" >> beam.Map(_summarise)
      | "Gather runs" >> beam.combiners.ToList()
      | "Runs table" >> beam.Map(_runs_part)
    )


@dataclasses.dataclass
class SkippedPart(beam.PTransform):
  """Input: `Skipped`s. Output: the one `Part` of the `skipped` table, sorted by path."""

  def expand(self, skipped: beam.PCollection[Skipped]) -> beam.PCollection[Part]:
    """Gathers."""
    return (
      skipped
      | "Gather skipped" >> beam.combiners.ToList()
      | "Skipped table" >> beam.Map(_skipped_part)
    )


@dataclasses.dataclass
class OutcomesParts(beam.PTransform):
  """Rows of the `outcomes` table. Input: `RunOutcome`s. Output: a `Part` per 64 run ids."""

  def expand(self, outcomes: beam.PCollection[RunOutcome]) -> beam.PCollection[Part]:
    """Groups neighbouring runs."""
    return (
      outcomes
      | "Key by neighbours" >> beam.Map(_key_by_neighbours)
      | "Gather neighbours" >> beam.GroupByKey()
      | "Outcomes table" >> beam.MapTuple(_outcomes_part)
    )


@dataclasses.dataclass
class CorrectnessParts(beam.PTransform):
  """Rows of the `correctness` table. Input: `RunOutcome`s. Output: a `Part` per run."""

  def expand(self, outcomes: beam.PCollection[RunOutcome]) -> beam.PCollection[Part]:
    """Unpacks each run."""
    return outcomes | "Correctness table" >> beam.Map(_correctness_part)


@dataclasses.dataclass
class Publish(beam.PTransform):
  """Publishes all that is staged: in BigQuery, then as Parquet, the manifest last.

  Input: `StagedPart`s. Output: the manifest. If BigQuery fails, Parquet stays as it is.

  Args:
    scores: where they are staged.
    manifest: what is known of the job before it runs.
    sizes: how many training and test examples there are, a singleton.
    ratios: one dict per subset ratio, for the manifest.
    skipped: the inputs that were not used.
    strict: refuse to publish if there is any of them.
    bigquery: the tables in BigQuery, if there are any.
    loads: an element per load into them, of which all must succeed.
  """

  scores: ScoresDirectory
  manifest: dict[str, Any]
  sizes: beam.PCollection[tuple[int, int]]
  ratios: beam.PCollection[dict[str, Any]]
  skipped: beam.PCollection[Skipped]
  strict: bool = False
  bigquery: BigQueryTables | None = None
  loads: beam.PCollection[Any] | None = None

  def expand(self, parts: beam.PCollection[StagedPart]) -> beam.PCollection[dict[str, Any]]:
    """Waits for everything, then publishes in one place."""
    return (
      parts.pipeline
      | "Once" >> beam.Create([self.manifest])
      | "Publish tables"
      >> beam.Map(
        _publish,
        AsSingleton(self.sizes),
        AsList(parts),
        AsList(self.ratios),
        AsList(self.skipped),
        *([] if self.loads is None else [AsList(self.loads)]),
        scores=self.scores,
        bigquery=self.bigquery,
        strict=self.strict,
      )
    )


def refusal(scores: ScoresDirectory) -> str | None:
  """Returns why the job would not publish what it had staged, if it would not."""
  path = _refusal_path(scores)
  return files.read_bytes(path).decode() if files.exists(path) else None


def _publish(
  manifest: dict[str, Any],
  sizes: tuple[int, int],
  parts: Sequence[StagedPart],
  ratios: Iterable[dict[str, Any]],
  skipped: Sequence[Skipped],
  loads: Sequence[Any] = (),
  *,
  scores: ScoresDirectory,
  bigquery: BigQueryTables | None,
  strict: bool,
) -> dict[str, Any]:
  """`loads` are not read: they say that there is something to publish."""
  rows: Counter[str] = Counter()
  for part in parts:
    rows[part.table] += part.rows
  if skipped and (strict or not rows["runs"]):
    first = _in_order(skipped)[0]
    what = f"{len(skipped):,} inputs cannot be used; the first: {first.path} {first.reason}"
    files.write_bytes(_refusal_path(scores), what.encode())
    raise RuntimeError(what)
  manifest = {
    **manifest,
    "examples": {"train": sizes[0], "test": sizes[1]},
    "runs_used": rows["runs"],
    "runs_skipped": rows["skipped"],
    "ratios": sorted(ratios, key=lambda ratio: ratio["subset_ratio"]),
    "rows": dict(sorted(rows.items())),
  }
  if bigquery:
    bigquery.publish()
  scores.publish(parts, manifest)
  return manifest


def _refusal_path(scores: ScoresDirectory) -> str:
  return files.join(scores.staging, "refusal.txt")


def _summarise(outcome: RunOutcome) -> dict[str, Any]:
  accuracies = outcome.accuracies()
  return {
    "subset_ratio": outcome.key.subset_ratio,
    "run": outcome.key.run,
    "examples_in": outcome.examples_in,
    "accuracy_train": accuracies.train,
    "accuracy_removed": accuracies.removed,
    "accuracy_test": accuracies.test,
  }


def _runs_part(summaries: Iterable[dict[str, Any]]) -> Part:
  ordered = sorted(summaries, key=lambda row: (row["subset_ratio"], row["run"]))
  return Part("runs", "all", pa.Table.from_pylist(ordered, schema=SCORE_TABLES["runs"]))


def _key_by_neighbours(outcome: RunOutcome) -> tuple[tuple[float, int], RunOutcome]:
  first = outcome.key.run - outcome.key.run % _RUNS_PER_PART
  return (outcome.key.subset_ratio, first), outcome


def _outcomes_part(key: tuple[float, int], outcomes: Iterable[RunOutcome]) -> Part:
  ordered = sorted(outcomes, key=lambda outcome: outcome.key)
  name = f"ratio-{key[0]}-runs-from-{key[1]:06d}"
  return Part("outcomes", name, encode_outcomes(ordered))


def _correctness_part(outcome: RunOutcome) -> Part:
  in_subset, train_correct, test_correct = outcome.unpack()
  key = outcome.key
  common = {"subset_ratio": key.subset_ratio, "run": key.run}
  train = make_table(
    "correctness",
    **common,
    split="train",
    example=np.arange(outcome.num_train),
    in_subset=in_subset,
    correct=train_correct,
  )
  test = make_table(
    "correctness",
    **common,
    split="test",
    example=np.arange(outcome.num_test),
    in_subset=False,
    correct=test_correct,
  )
  name = f"ratio-{key.subset_ratio}-run-{key.run:06d}"
  return Part("correctness", name, pa.concat_tables([train, test]))


def _skipped_part(skipped: Iterable[Skipped]) -> Part:
  rows = [dataclasses.asdict(entry) for entry in _in_order(skipped)]
  return Part("skipped", "all", pa.Table.from_pylist(rows, schema=SCORE_TABLES["skipped"]))


def _in_order(skipped: Iterable[Skipped]) -> list[Skipped]:
  return sorted(skipped, key=lambda entry: (entry.path, entry.reason))
