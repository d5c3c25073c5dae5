import json
from pathlib import Path

import pytest

import files
from beam_pipelines.storage.scores.manifest import (
  FORMAT,
  describe_manifest,
  read_manifest,
  read_stub,
  write_manifest,
  write_stub,
)
from files.errors import UsageError
from tests.helpers.scores import make_manifest, make_ratio


def test_a_manifest_is_read_as_it_was_written(tmp_path):
  manifest = make_manifest(ratios=[make_ratio(0.3), make_ratio(0.7)], warnings=("odd",))
  write_manifest(str(tmp_path), manifest)
  assert read_manifest(str(tmp_path)) == manifest
  assert read_stub(str(tmp_path)).job == manifest.job
  written = json.loads((tmp_path / "manifest.json").read_text())
  assert written == manifest.as_json()
  assert written["complete"] is True
  assert written["ratios"][1]["reliability"]["memorization"]["correlation"] is None


def test_without_a_manifest_there_are_no_scores(tmp_path):
  assert read_stub(str(tmp_path)) is None
  with pytest.raises(UsageError, match=r"holds no manifest\.json: run `heldout score` first"):
    read_manifest(str(tmp_path))


def test_an_incomplete_publication_says_so(tmp_path):
  write_stub(str(tmp_path), "mine", "job")
  assert read_stub(str(tmp_path)).experiment == "mine"
  with pytest.raises(UsageError, match="is incomplete: run `heldout score` again"):
    read_manifest(str(tmp_path))


def test_a_manifest_of_an_older_version_is_refused_in_a_line(tmp_path):
  old = {"experiment": "mine", "runs_used": 3, "ratios": [], "complete": True}
  files.write_json(str(tmp_path / "manifest.json"), old)
  assert read_stub(str(tmp_path)).experiment == "mine"
  reason = rf"is of format 1, and this version of Heldout reads format {FORMAT}: score again"
  with pytest.raises(UsageError, match=reason):
    read_manifest(str(tmp_path))


@pytest.mark.parametrize(
  "content",
  [
    b"{",
    b"[]",
    b"\xff",
    b"",
    b'{"experiment": 3}',
    b"[" * 100_000,
    b'{"complete": NaN}',
    b'{"format": 1e400}',
  ],
)
def test_what_is_no_manifest_is_named(tmp_path, content):
  (tmp_path / "manifest.json").write_bytes(content)
  with pytest.raises(UsageError, match=r"manifest\.json is no manifest of scores \(") as error:
    read_manifest(str(tmp_path))
  assert "\n" not in str(error.value)


def test_a_manifest_as_large_as_a_disk_is_not_read_whole(tmp_path):
  with (tmp_path / "manifest.json").open("wb") as file:
    file.truncate(1 << 40)  # sparse
  with pytest.raises(UsageError, match=r"manifest\.json has more than 256 MiB"):
    read_manifest(str(tmp_path))


@pytest.mark.parametrize(
  "change",
  [
    {"runs_used": "3"},
    {"ratios": [{}]},
    {"parts": [{"table": "runs"}]},
    {"examples": None},
    {"unknown": 1},
    {"warnings": "one"},
  ],
)
def test_a_manifest_with_a_wrong_field_says_which(tmp_path, change):
  value = {**make_manifest().as_json(), **change}
  files.write_json(str(tmp_path / "manifest.json"), value)
  with pytest.raises(UsageError, match=rf"\({next(iter(change))}") as error:
    read_manifest(str(tmp_path))
  assert "\n" not in str(error.value)


def test_the_documentation_is_that_of_the_fields():
  documentation = Path(__file__).parents[4] / "docs" / "manifest.md"
  assert documentation.read_text().endswith("\n\n" + describe_manifest())
