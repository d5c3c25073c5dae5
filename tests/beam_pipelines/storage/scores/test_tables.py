from pathlib import Path

import pyarrow as pa
import pytest

from beam_pipelines.storage.scores.tables import (
  TABLE_NAMES,
  describe_tables,
  is_table,
  make_table,
  table_schema,
)
from estimators.outcome_kinds import OUTCOME_KINDS


@pytest.mark.parametrize("outcome", OUTCOME_KINDS)
def test_every_column_is_described(outcome):
  for schema in (table_schema(name, outcome) for name in TABLE_NAMES):
    assert schema.metadata[b"description"]
    assert all(field.metadata[b"description"] for field in schema)


def test_undefined_values_are_null_and_scalars_fill_their_column():
  table = make_table(
    "cscores",
    example=[0, 1],
    label=None,
    ratios=2,
    cscore=[0.5, float("nan")],
    cscore_se=[0.1, 0.2],
  )
  assert table.schema == table_schema("cscores")
  assert table.to_pylist() == [
    {"example": 0, "label": None, "ratios": 2, "cscore": 0.5, "cscore_se": 0.1},
    {"example": 1, "label": None, "ratios": 2, "cscore": None, "cscore_se": 0.2},
  ]


@pytest.mark.parametrize("name", TABLE_NAMES)
def test_probabilities_and_margins_have_the_same_columns(name):
  assert table_schema(name, "probability") == table_schema(name, "margin")
  assert is_table(name, table_schema(name))
  assert is_table(name, table_schema(name, "margin"))
  assert not is_table(name, table_schema("skipped" if name != "skipped" else "runs"))


def test_a_table_of_margins_has_means_for_counts():
  table = make_table(
    "influence",
    "margin",
    subset_ratio=0.5,
    train_example=[0],
    test_example=[1],
    train_label=None,
    test_label=None,
    runs_in=[1],
    runs_out=[2],
    mean_in=[0.5],
    mean_out=[1.5],
    sd_in=[float("nan")],
    sd_out=[0.1],
    influence=[-1.0],
    influence_se=[float("nan")],
    memorization=[0.25],
  )
  (row,) = table.to_pylist()
  assert (row["mean_in"], row["sd_in"], row["influence_se"]) == (0.5, None, None)


def test_text_is_a_scalar():
  table = make_table(
    "correctness",
    subset_ratio=0.5,
    run=1,
    split="test",
    example=[0, 1],
    in_subset=False,
    correct=[True, False],
  )
  assert table["split"].to_pylist() == ["test", "test"]


def test_columns_must_be_those_of_the_table():
  with pytest.raises(ValueError, match=r"table skipped: columns differ: \['reason', 'why'\]"):
    make_table("skipped", path=["x"], why=["y"])


def test_lengths_must_agree():
  with pytest.raises(pa.ArrowInvalid):
    make_table("skipped", path=["x", "y"], reason=["z"])


def test_the_documentation_is_that_of_the_schemas():
  documentation = Path(__file__).parents[4] / "docs" / "tables.md"
  assert documentation.read_text().endswith("\n\n" + describe_tables())
