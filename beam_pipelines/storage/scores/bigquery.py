"""The score tables as BigQuery knows them: names, schemas, clustering, owners. Nothing is sent."""

from __future__ import annotations

import decimal
import re
from typing import Any

import pyarrow as pa
from google.cloud.bigquery import DatasetReference, SchemaField, Table

from beam_pipelines.storage.scores.tables import description, table_schema

_DATASET = re.compile(r"((?:[a-z0-9.-]+:)?[a-z0-9-]+):(\w{1,1024})", re.ASCII)
_STAGING = "heldout_staging_"
_TYPES = {
  pa.bool_(): "BOOL",
  pa.int32(): "INT64",
  pa.int64(): "INT64",
  pa.float32(): "FLOAT64",
  pa.float64(): "FLOAT64",
  pa.string(): "STRING",
  pa.binary(): "BYTES",
}
_RATIO = "subset_ratio"
# What is looked up, in this order.
_CLUSTERING = (_RATIO, "example", "train_example", "test_example")
_DECIMAL_PLACES = 9  # of NUMERIC
_EXPERIMENT = "Experiment: "


def parse_dataset(text: str) -> DatasetReference:
  """Returns the data set that `PROJECT:DATASET` names.

  Raises:
    ValueError: the text is not of this form.
  """
  match = _DATASET.fullmatch(text)
  if not match:
    raise ValueError(f"{text!r} is no data set: write PROJECT:DATASET, such as my-project:scores")
  return DatasetReference(*match.groups())


def staging_name(job: str, table: str) -> str:
  """Returns the name of the table into which a job loads a score table before it is published."""
  return f"{_STAGING}{job}_{table}"


def is_staging_name(name: str) -> bool:
  """Whether a table is one that some job has loaded, or is loading, and not published yet."""
  return name.startswith(_STAGING)


def check_ratio(subset_ratio: float) -> None:
  """Makes sure that a subset ratio can be written.

  Raises:
    ValueError: it has more decimal places than NUMERIC.
  """
  if round(subset_ratio, _DECIMAL_PLACES) != subset_ratio:
    raise ValueError(
      f"subset ratio {subset_ratio} has more than the {_DECIMAL_PLACES} decimal places of NUMERIC"
    )


def schema_fields(table: str, outcome: str) -> list[SchemaField]:
  """Returns the columns of a score table of one kind of outcome.

  The subset ratio is NUMERIC, because BigQuery does not cluster by FLOAT64.
  """
  return [
    SchemaField(
      field.name,
      "NUMERIC" if field.name == _RATIO else _TYPES[field.type],
      mode="NULLABLE" if field.nullable else "REQUIRED",
      description=description(field),
    )
    for field in table_schema(table, outcome)
  ]


def schema_resource(table: str, outcome: str) -> dict[str, Any]:
  """Returns the columns of a score table as the REST interface, and Beam, writes them."""
  return {"fields": [field.to_api_repr() for field in schema_fields(table, outcome)]}


def rows(table: pa.Table) -> list[dict[str, Any]]:
  """Returns the rows of a score table as Beam writes them to BigQuery."""
  listed = table.to_pylist()
  for row in listed:
    if _RATIO in row:
      row[_RATIO] = decimal.Decimal(str(row[_RATIO]))
  return listed


def clustering(table: str) -> list[str]:
  """Returns the columns that BigQuery sorts a score table by, most important first."""
  return [column for column in _CLUSTERING if column in table_schema(table).names]


def define_table(
  dataset: DatasetReference, name: str, table: str, outcome: str, experiment: str
) -> Table:
  """Returns the definition of a score table under a name: columns, clustering, owner."""
  schema = table_schema(table, outcome)
  definition = Table(dataset.table(name), schema_fields(table, outcome))
  definition.clustering_fields = clustering(table) or None
  definition.description = f"{description(schema)}\n\n{_EXPERIMENT}{experiment}"
  return definition


def owner(table_description: str | None) -> str | None:
  """Returns whose table it is: an experiment, or None if the description names none."""
  lines = (table_description or "").splitlines()
  if not lines or not lines[-1].startswith(_EXPERIMENT):
    return None
  return lines[-1].removeprefix(_EXPERIMENT)
