import decimal

import pyarrow as pa
import pytest
from google.cloud.bigquery import DatasetReference

from beam_pipelines.storage.scores import bigquery
from beam_pipelines.storage.scores.tables import TABLE_NAMES, table_schema
from estimators.outcome_kinds import OUTCOME_KINDS


@pytest.mark.parametrize(
  ("text", "project", "dataset"),
  [
    ("my-project:scores", "my-project", "scores"),
    ("example.com:my-project:scores_2", "example.com:my-project", "scores_2"),
  ],
)
def test_a_data_set_is_named_by_its_project(text, project, dataset):
  assert bigquery.parse_dataset(text) == DatasetReference(project, dataset)


@pytest.mark.parametrize(
  "text",
  ["", "scores", "my-project.scores", "my-project:", ":scores", "p:my-scores", "p:a.b", "P:scores"],
)
def test_anything_else_is_no_data_set(text):
  with pytest.raises(ValueError, match="is no data set: write PROJECT:DATASET"):
    bigquery.parse_dataset(text)


@pytest.mark.parametrize("outcome", OUTCOME_KINDS)
@pytest.mark.parametrize("table", TABLE_NAMES)
def test_columns_are_those_of_the_one_definition(table, outcome):
  fields = bigquery.schema_fields(table, outcome)
  for field, column in zip(fields, table_schema(table, outcome), strict=True):
    assert field.name == column.name
    assert field.mode == ("NULLABLE" if column.nullable else "REQUIRED")
    assert field.description == column.metadata[b"description"].decode()
  assert bigquery.schema_resource(table, outcome)["fields"][0] == fields[0].to_api_repr()


def test_types_keep_every_value():
  types = {
    field.name: field.field_type
    for table in ("influence", "outcomes", "correctness")
    for field in bigquery.schema_fields(table, "correct")
  }
  assert {name: types[name] for name in ("subset_ratio", "influence", "runs_in", "run")} == {
    "subset_ratio": "NUMERIC",
    "influence": "FLOAT64",
    "runs_in": "INT64",
    "run": "INT64",
  }
  assert (types["split"], types["correct"], types["in_subset"]) == ("STRING", "BOOL", "BOOL")
  assert bigquery.schema_fields("outcomes", "correct")[4].field_type == "BYTES"


def test_means_and_margins_keep_every_value():
  types = {
    field.name: (field.field_type, field.mode)
    for table in ("influence", "examples", "outcomes", "correctness")
    for field in bigquery.schema_fields(table, "margin")
  }
  assert types["mean_in"] == types["sd_out"] == ("FLOAT64", "NULLABLE")
  assert types["margin"] == ("FLOAT64", "REQUIRED")
  assert types["test_margin"] == ("BYTES", "REQUIRED")
  assert "correct_in" not in types


# Columns that BigQuery can cluster by: https://cloud.google.com/bigquery/docs/clustered-tables
CLUSTERABLE = {"BOOL", "INT64", "NUMERIC", "STRING"}


@pytest.mark.parametrize("table", TABLE_NAMES)
def test_clustering_is_by_subset_ratio_and_example(table):
  types = {field.name: field.field_type for field in bigquery.schema_fields(table, "correct")}
  columns = bigquery.clustering(table)
  assert {types[column] for column in columns} <= CLUSTERABLE
  assert columns == {
    "cscores": ["example"],
    "index": ["example"],
    "influence": ["subset_ratio", "train_example", "test_example"],
    "runs": ["subset_ratio"],
    "outcomes": ["subset_ratio"],
    "skipped": [],
  }.get(table, ["subset_ratio", "example"])


@pytest.mark.parametrize("ratio", [0.1, 0.7, 0.123456789, 1e-9, 0.999999999])
def test_a_ratio_is_the_same_decimal_number(ratio):
  bigquery.check_ratio(ratio)
  empty = pa.Table.from_pylist([], schema=table_schema("skipped"))
  assert bigquery.rows(empty) == []
  summary = dict.fromkeys(("accuracy_train", "accuracy_removed", "accuracy_test"))
  written = {"subset_ratio": ratio, "run": 1, "examples_in": 2, **summary}
  (row,) = bigquery.rows(pa.Table.from_pylist([written], schema=table_schema("runs")))
  assert row == {**written, "subset_ratio": decimal.Decimal(str(ratio))}
  assert -row["subset_ratio"].as_tuple().exponent <= 9
  assert float(row["subset_ratio"]) == ratio


@pytest.mark.parametrize("ratio", [1 / 3, 1e-10, 0.1234567891])
def test_a_ratio_of_too_many_places_is_refused(ratio):
  with pytest.raises(ValueError, match=f"subset ratio {ratio} has more than the 9 decimal places"):
    bigquery.check_ratio(ratio)


def test_a_table_says_whose_it_is():
  table = bigquery.define_table(
    DatasetReference("p", "d"), "name", "cscores", "margin", "gs://bucket/runs"
  )
  assert str(table.reference) == "p.d.name"
  assert table.description.startswith("Consistency scores, one row per training example.")
  assert bigquery.owner(table.description) == "gs://bucket/runs"
  assert table.clustering_fields == ["example"]


@pytest.mark.parametrize("text", [None, "", "Mine.", "Experiment: x\n\nand more"])
def test_other_tables_are_nobodys(text):
  assert bigquery.owner(text) is None


def test_staged_tables_are_told_from_others():
  assert bigquery.is_staging_name(bigquery.staging_name("job", "runs"))
  assert not any(bigquery.is_staging_name(table) for table in TABLE_NAMES)
