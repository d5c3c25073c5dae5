"""Score tables into BigQuery as a transform: batch loads of what is staged as Parquet."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.bigquery import BigQueryDisposition, WriteToBigQuery
from apache_beam.io.gcp.bigquery_tools import FileFormat

from beam_pipelines.storage.scores import bigquery
from beam_pipelines.storage.scores.bigquery_tables import BigQueryTables
from beam_pipelines.storage.scores.manifest import StoredPart
from beam_pipelines.storage.scores.staging import Staging


@dataclasses.dataclass
class LoadBigQuery(beam.PTransform):
  """Loads staged parts into the staged tables of BigQuery.

  Input: `StoredPart`s. Output: an element per load, none before its load has succeeded. Rows are
  read from the staged files, so that BigQuery gets what Parquet has; each is a Beam element. They
  travel as Avro, which keeps float64 and bytes as they are.

  Args:
    staging: where the parts are staged.
    tables: where to; they exist, so that a table without rows needs no load.
    temporary: directory on gs:// for the files that BigQuery loads.
  """

  staging: Staging
  tables: BigQueryTables
  temporary: str

  def expand(self, parts: beam.PCollection[StoredPart]) -> beam.PCollection[Any]:
    """One load job per table, all side by side."""
    return [
      load
      for name in self.tables.names
      for load in self._load(name, parts | f"Parts of {name}" >> beam.Filter(_is_part_of, name))
    ] | "All loads" >> beam.Flatten()

  def _load(
    self, name: str, parts: beam.PCollection[StoredPart]
  ) -> tuple[beam.PCollection[Any], beam.PCollection[Any]]:
    write = WriteToBigQuery(
      self.tables.staged(name),
      schema=bigquery.schema_resource(name, self.tables.outcome),
      method=WriteToBigQuery.Method.FILE_LOADS,
      create_disposition=BigQueryDisposition.CREATE_NEVER,
      write_disposition=BigQueryDisposition.WRITE_TRUNCATE,  # a repeated load loads nothing twice
      additional_bq_parameters=_parameters(name),
      temp_file_format=FileFormat.AVRO,
      custom_gcs_temp_location=self.temporary,
    )
    loaded = (
      parts
      | f"Spread {name}" >> beam.Reshuffle()
      | f"Rows of {name}" >> beam.FlatMap(self._rows)
      | f"Load {name}" >> write
    )
    # The latter are there if the rows needed more than one load job.
    return loaded.destination_load_jobid_pairs, loaded.destination_copy_jobid_pairs

  def _rows(self, part: StoredPart) -> Iterable[dict[str, Any]]:
    return bigquery.rows(self.staging.read(part))


def _is_part_of(part: StoredPart, table: str) -> bool:
  return part.table == table


def _parameters(name: str) -> dict[str, Any]:
  """What a load would undo if it left it out."""
  columns = bigquery.clustering(name)
  return {"clustering": {"fields": columns}} if columns else {}
