import os
import shutil

import pyarrow as pa
import pytest

from beam_pipelines.storage.scores import directory
from beam_pipelines.storage.scores.directory import check_owner, open_scores, read_table
from beam_pipelines.storage.scores.tables import make_table
from files.errors import UsageError
from tests.helpers.scores import publish_tables


def _skipped(*paths):
  return make_table("skipped", path=list(paths), reason=["bad"] * len(paths))


@pytest.fixture
def scores(tmp_path):
  return publish_tables(tmp_path, skipped=[_skipped("a", "b"), _skipped("c")])


def test_a_table_is_its_parts_in_order(scores):
  assert read_table(scores, "skipped")["path"].to_pylist() == ["a", "b", "c"]
  assert read_table(scores, "cscores").num_rows == 0


def test_a_lost_part_is_missed(tmp_path, scores):
  (tmp_path / "skipped" / "1.parquet").unlink()
  with pytest.raises(UsageError, match=r"skipped/1\.parquet is missing: score again"):
    read_table(scores, "skipped")


@pytest.mark.parametrize("copy", ["skipped/2.parquet", "cscores/0.parquet"])
def test_a_copied_part_is_not_counted_twice(tmp_path, scores, copy):
  (tmp_path / copy).parent.mkdir(exist_ok=True)
  shutil.copy(tmp_path / "skipped" / "1.parquet", tmp_path / copy)
  with pytest.raises(UsageError, match=rf"{copy} is no part of these scores.*: take it away"):
    read_table(scores, "skipped")


def test_a_part_of_another_size_is_noticed_before_reading(tmp_path, scores):
  shutil.copy(tmp_path / "skipped" / "0.parquet", tmp_path / "skipped" / "1.parquet")
  with pytest.raises(UsageError, match=r"1\.parquet has not the size that manifest\.json says"):
    read_table(scores, "skipped")


def test_a_flipped_bit_is_noticed(tmp_path, scores):
  path = tmp_path / "skipped" / "1.parquet"
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)
  with pytest.raises(UsageError, match=r"1\.parquet is not the file that manifest\.json names"):
    read_table(scores, "skipped")


def test_other_scores_published_while_reading_are_noticed(tmp_path, scores):
  def read_slowly():
    with open_scores(scores) as opened:
      opened.table("skipped")
      publish_tables(tmp_path, job="other", skipped=[_skipped("d")])

  with pytest.raises(UsageError, match="other scores were published while these were read"):
    read_slowly()


def test_many_parts_are_no_larger_together_than_a_table(tmp_path):
  """Each is within the bounds of a file of its size, and there may be thousands."""
  of_runs = pa.repeat("x" * 20_000, 8_000)  # 160 MB in 4 KB
  reasons = make_table("skipped", path=[""] * 8_000, reason=of_runs)
  scores = publish_tables(tmp_path, skipped=[reasons, reasons])
  with pytest.raises(
    UsageError, match=r"skipped unpacks to more than 26\d,\d{3},\d{3} bytes, which"
  ):
    read_table(scores, "skipped")


def test_files_of_others_are_left_alone(tmp_path, scores):
  (tmp_path / "notes").mkdir()
  (tmp_path / "notes" / "mine.parquet").write_bytes(b"")
  publish_tables(tmp_path, job="other", skipped=[_skipped("d")])
  assert (tmp_path / "notes" / "mine.parquet").exists()
  assert read_table(scores, "skipped")["path"].to_pylist() == ["d"]


def test_a_directory_belongs_to_one_experiment(tmp_path):
  check_owner(str(tmp_path), "mine")
  publish_tables(tmp_path, "mine", skipped=_skipped("1"))
  check_owner(str(tmp_path), "mine")
  with pytest.raises(UsageError, match="holds the tables of experiment mine"):
    check_owner(str(tmp_path), "other")


@pytest.mark.parametrize("name", ["cscores", "influence.zarr"])
def test_a_table_needs_a_place(tmp_path, name):
  os.mkfifo(tmp_path / name)
  with pytest.raises(UsageError, match=rf"^{tmp_path}/{name} is in the place of a table: take it"):
    check_owner(str(tmp_path), "mine")


def test_tables_without_a_manifest_are_somebody_elses(tmp_path, scores):
  (tmp_path / "manifest.json").unlink()
  with pytest.raises(UsageError, match=r"holds tables without a manifest\.json"):
    check_owner(scores, "e")


def test_nothing_else_of_a_scores_directory_is_ours():
  ours = ["examples/a.parquet", "influence.zarr/zarr.json", "influence.zarr/ratio-0.7/c/0/0"]
  others = [
    "notes.parquet",
    "influence.zarr/../x",
    "mine/a.parquet",
    "examples/a.csv",
    "examples/b/a.parquet",
  ]
  assert [directory.is_ours(name) for name in ours] == [True] * 3
  assert [directory.is_ours(name) for name in others] == [False] * 5
