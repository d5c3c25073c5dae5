"""Publishing as a transform: what is staged becomes visible, all of it or nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

from beam_pipelines.storage.runs.experiment import Skipped
from beam_pipelines.storage.scores.bigquery_tables import BigQueryTables
from beam_pipelines.storage.scores.conservation import PublicationError, check_conservation
from beam_pipelines.storage.scores.manifest import (
  Examples,
  Manifest,
  RatioSummary,
  Request,
  StoredPart,
  count_rows,
)
from beam_pipelines.storage.scores.publication import check_base, publish
from beam_pipelines.storage.scores.staging import Staging


@dataclasses.dataclass
class PublishScores(beam.PTransform):
  """Publishes all that is staged: in BigQuery, then as Parquet, the manifest last.

  Input: `StoredPart`s. Output: the `Manifest`. Before anything is published, what has arrived is
  counted: see `check_conservation`. If BigQuery fails, Parquet stays as it is.

  Args:
    staging: where they are staged.
    request: what was asked for.
    runs_listed: how many inputs there are, to be used or skipped.
    sizes: how many training and test examples there are, a singleton.
    ratios: a `RatioSummary` per subset ratio.
    skipped: the inputs that were not used.
    warnings: sentences for the manifest.
    bigquery: the tables in BigQuery, if there are any.
    loads: an element per load into them, of which all must succeed.
  """

  staging: Staging
  request: Request
  runs_listed: int
  sizes: beam.PCollection[tuple[int, int]]
  ratios: beam.PCollection[RatioSummary]
  skipped: beam.PCollection[Skipped]
  warnings: beam.PCollection[str]
  bigquery: BigQueryTables | None = None
  loads: beam.PCollection[Any] | None = None

  def expand(self, parts: beam.PCollection[StoredPart]) -> beam.PCollection[Manifest]:
    """Waits for everything, then publishes in one place."""
    return (
      parts.pipeline
      | "Once" >> beam.Create([self.request])
      | "Publish tables"
      >> beam.Map(
        _publish,
        AsSingleton(self.sizes),
        AsList(parts),
        AsList(self.ratios),
        AsList(self.skipped),
        AsList(self.warnings),
        *([] if self.loads is None else [AsList(self.loads)]),
        staging=self.staging,
        runs_listed=self.runs_listed,
        bigquery=self.bigquery,
      )
    )


def _publish(
  request: Request,
  sizes: tuple[int, int],
  parts: Iterable[StoredPart],
  ratios: Iterable[RatioSummary],
  skipped: Sequence[Skipped],
  warnings: Iterable[str],
  loads: Sequence[Any] = (),
  *,
  staging: Staging,
  runs_listed: int,
  bigquery: BigQueryTables | None,
) -> Manifest:
  """`loads` are not read: they say that there is something to publish."""
  stored = tuple(sorted(set(parts)))  # a worker that did its work twice may name a part twice
  rows = count_rows(stored)
  manifest = Manifest(
    **{field.name: getattr(request, field.name) for field in dataclasses.fields(Request)},
    examples=Examples(*sizes),
    runs_listed=runs_listed,
    runs_used=rows.get("runs", 0),
    runs_skipped=rows.get("skipped", 0),
    ratios=tuple(sorted(ratios, key=lambda ratio: ratio.subset_ratio)),
    warnings=tuple(sorted(set(warnings))),
    rows=rows,
    parts=stored,
  )
  try:
    check_conservation(manifest)
    if skipped and (request.options.strict or not manifest.runs_used):
      first = min(skipped)
      raise PublicationError(
        f"{request.experiment}: {len(skipped):,} inputs cannot be used; the first: {first.path} "
        f"{first.reason}"
      )
    check_base(staging)
    if bigquery:
      bigquery.publish()
    publish(staging, manifest)
  except PublicationError as error:
    staging.refuse(str(error))
    raise
  return manifest
