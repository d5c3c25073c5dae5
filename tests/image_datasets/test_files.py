import gzip
import pathlib

import pytest
from apache_beam.io.localfilesystem import LocalFileSystem

from image_datasets import DatasetError
from image_datasets.files import find_file, read_bytes

CONTENT = pathlib.Path(__file__).read_bytes()


class PrefixedFileSystem(LocalFileSystem):
  """Local files under `heldouttest://`, which only Beam's registry can resolve."""

  @classmethod
  def scheme(cls):
    return "heldouttest"

  def exists(self, path):
    return super().exists(path.removeprefix("heldouttest:/"))

  def open(self, path, *args, **kwargs):
    return super().open(path.removeprefix("heldouttest:/"), *args, **kwargs)


def test_read_bytes_reads_plain_and_gzipped_files(tmp_path):
  (tmp_path / "plain").write_bytes(CONTENT)
  (tmp_path / "packed.gz").write_bytes(gzip.compress(CONTENT))
  assert read_bytes(str(tmp_path / "plain")) == CONTENT
  assert read_bytes(str(tmp_path / "packed.gz")) == CONTENT


def test_read_bytes_reads_files_of_more_than_one_chunk(tmp_path, monkeypatch):
  monkeypatch.setattr("image_datasets.files._CHUNK_BYTES", 100)
  (tmp_path / "plain").write_bytes(CONTENT)
  (tmp_path / "packed.gz").write_bytes(gzip.compress(CONTENT))
  assert read_bytes(str(tmp_path / "plain")) == CONTENT
  assert read_bytes(str(tmp_path / "packed.gz")) == CONTENT


def test_files_are_found_and_read_on_any_file_system_of_beams(tmp_path):
  (tmp_path / "a.gz").write_bytes(gzip.compress(CONTENT))
  path = find_file(f"heldouttest:/{tmp_path}", ["a", "a.gz"])
  assert path == f"heldouttest:/{tmp_path}/a.gz"
  assert read_bytes(path) == CONTENT


def test_find_file_prefers_the_first_name(tmp_path):
  for name in "abc":
    (tmp_path / name).touch()
  assert find_file(str(tmp_path), ["x", "b", "a"]) == str(tmp_path / "b")


def test_a_missing_file_is_named(tmp_path):
  path = tmp_path / "missing.npz"
  with pytest.raises(DatasetError, match=f"^{path}: no such file; check the path"):
    read_bytes(str(path))


def test_missing_files_are_all_named(tmp_path):
  with pytest.raises(DatasetError, match=f"^{tmp_path}: holds none of a, b; check the path"):
    find_file(str(tmp_path), ["a", "b"])


def test_a_directory_is_no_file(tmp_path):
  with pytest.raises(DatasetError, match=f"^{tmp_path}: .*Is a directory.*; check the path"):
    read_bytes(str(tmp_path))


def test_an_unknown_file_system_is_named():
  with pytest.raises(
    DatasetError, match=r"^nowhere://x: Unable to get filesystem.*; check the path"
  ):
    read_bytes("nowhere://x")


def test_a_file_that_is_not_gzipped_as_its_name_says_is_refused(tmp_path):
  path = tmp_path / "plain.gz"
  path.write_bytes(CONTENT)
  with pytest.raises(DatasetError, match=f"^{path}: .*incorrect header check; check the path"):
    read_bytes(str(path))
