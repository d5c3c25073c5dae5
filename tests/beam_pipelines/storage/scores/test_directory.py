import pytest

import files
from beam_pipelines.storage.scores import directory as scores
from beam_pipelines.storage.scores.directory import ScoresDirectory
from beam_pipelines.storage.scores.tables import make_table
from files.errors import UsageError


def _skipped(*paths):
  return make_table("skipped", path=list(paths), reason=["bad"] * len(paths))


def _publish(path, experiment, job, **parts):
  directory = ScoresDirectory(str(path), job)
  staged = [directory.stage("skipped", name, rows) for name, rows in parts.items()]
  directory.publish(staged, {"experiment": experiment})


def test_nothing_is_visible_before_publishing(tmp_path):
  ScoresDirectory(str(tmp_path), "job").stage("skipped", "a", _skipped("x"))
  assert scores.read_table(str(tmp_path), "skipped").num_rows == 0
  with pytest.raises(UsageError, match=r"holds no manifest\.json: run `heldout score` first"):
    scores.read_manifest(str(tmp_path))


def test_publishing_replaces_all_parts_and_leaves_nothing_else(tmp_path):
  _publish(tmp_path, "e", "job1", a=_skipped("1"), b=_skipped("2"))
  ScoresDirectory(str(tmp_path), "killed").stage("skipped", "c", _skipped("3"))
  _publish(tmp_path, "e", "job2", a=_skipped("4", "5"))
  assert scores.read_table(str(tmp_path), "skipped")["path"].to_pylist() == ["4", "5"]
  assert scores.read_manifest(str(tmp_path)) == {"experiment": "e", "complete": True}
  found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
  assert found == {"manifest.json", "skipped", "skipped/a.parquet"}


def test_publishing_again_finishes_what_was_stopped(tmp_path):
  directory = ScoresDirectory(str(tmp_path), "job")
  parts = [directory.stage("skipped", name, _skipped(name)) for name in ("a", "b")]
  files.move([(f"{tmp_path}/.staging-job/skipped/a.parquet", f"{tmp_path}/skipped/a.parquet")])
  directory.publish(parts, {"experiment": "e"})
  assert scores.read_table(str(tmp_path), "skipped")["path"].to_pylist() == ["a", "b"]


def test_other_files_in_the_directory_stay(tmp_path):
  (tmp_path / "notes").mkdir()
  (tmp_path / "notes" / "mine.parquet").write_bytes(b"")
  _publish(tmp_path, "e", "job", a=_skipped("1"))
  assert (tmp_path / "notes" / "mine.parquet").exists()


def test_a_directory_belongs_to_one_experiment(tmp_path):
  scores.check_owner(str(tmp_path), "mine")
  _publish(tmp_path, "mine", "job", a=_skipped("1"))
  scores.check_owner(str(tmp_path), "mine")
  with pytest.raises(UsageError, match="holds the tables of experiment mine"):
    scores.check_owner(str(tmp_path), "other")


def test_tables_without_a_manifest_are_somebody_elses(tmp_path):
  _publish(tmp_path, "mine", "job", a=_skipped("1"))
  (tmp_path / "manifest.json").unlink()
  with pytest.raises(UsageError, match=r"holds tables without a manifest\.json"):
    scores.check_owner(str(tmp_path), "mine")


def test_an_incomplete_publication_says_so(tmp_path):
  files.write_json(str(tmp_path / "manifest.json"), {"experiment": "mine", "complete": False})
  scores.check_owner(str(tmp_path), "mine")
  with pytest.raises(UsageError, match="is incomplete: run `heldout score` again"):
    scores.read_manifest(str(tmp_path))


@pytest.mark.parametrize("content", [b"{", b"[]"])
def test_a_broken_manifest_is_named(tmp_path, content):
  (tmp_path / "manifest.json").write_bytes(content)
  with pytest.raises(UsageError, match=r"manifest\.json is (not JSON|no manifest)"):
    scores.read_manifest(str(tmp_path))
