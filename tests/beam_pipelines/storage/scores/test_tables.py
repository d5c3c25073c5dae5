from pathlib import Path

import pyarrow as pa
import pytest

from beam_pipelines.storage.scores.tables import SCORE_TABLES, describe_tables, make_table


def test_every_column_is_described():
  for schema in SCORE_TABLES.values():
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
  assert table.schema == SCORE_TABLES["cscores"]
  assert table.to_pylist() == [
    {"example": 0, "label": None, "ratios": 2, "cscore": 0.5, "cscore_se": 0.1},
    {"example": 1, "label": None, "ratios": 2, "cscore": None, "cscore_se": 0.2},
  ]


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
