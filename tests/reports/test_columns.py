import numpy as np
import pyarrow as pa
import pytest

from reports.columns import ReportError, read_columns, take


def test_null_scores_are_nan():
  table = pa.table(
    {
      "example": pa.array([4, 7], pa.int64()),
      "cscore": pa.array([0.5, None], pa.float64()),
      "cscore_se": pa.array([None, 0.1], pa.float64()),
      "not_read": ["a", "b"],
    }
  )
  columns = read_columns({"cscores": table}, "cscores")
  assert sorted(columns) == ["cscore", "cscore_se", "example"]
  np.testing.assert_array_equal(columns["cscore"], [0.5, np.nan])


def test_table_in_several_chunks_is_read_whole():
  chunk = pa.table({"path": ["a"], "reason": ["b"]})
  columns = read_columns({"skipped": pa.concat_tables([chunk, chunk])}, "skipped")
  assert columns["path"].tolist() == ["a", "a"]


@pytest.mark.parametrize("name", ["examples", "cscores", "influence", "runs", "skipped"])
def test_absent_table_and_table_without_rows_read_alike(tables, name):
  absent = read_columns({}, name)
  without_rows = read_columns({name: tables[name].schema.empty_table()}, name)
  assert absent.keys() == without_rows.keys()
  assert {len(column) for columns in (absent, without_rows) for column in columns.values()} == {0}


def test_missing_column_is_named(tables):
  with pytest.raises(ReportError, match=r"table 'runs' has no column 'accuracy_test'"):
    read_columns({"runs": tables["runs"].drop_columns("accuracy_test")}, "runs")


def test_take_applies_rows_to_every_column():
  columns = {"a": np.array([1, 2, 3]), "b": np.array([4.0, 5.0, 6.0])}
  chosen = take(columns, columns["a"] != 2)
  assert chosen["a"].tolist() == [1, 3]
  assert chosen["b"].tolist() == [4.0, 6.0]
