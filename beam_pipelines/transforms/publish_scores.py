"""Publishing as a transform: what is staged becomes visible, all of it together."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

import files
from beam_pipelines.storage.runs.experiment import Skipped
from beam_pipelines.storage.scores.bigquery_tables import BigQueryTables
from beam_pipelines.storage.scores.directory import ScoresDirectory, StagedPart


@dataclasses.dataclass
class PublishScores(beam.PTransform):
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
    first = min(skipped)
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
