"""File systems behind fsspec: s3:// over real HTTP, and memory://, which has directories."""

import os

import boto3
import fsspec
import pytest

import files
from files import FileInfo
from files.errors import UsageError
from tests.helpers.proxy import Fault
from tests.helpers.s3 import emulated_s3

CONTENT = os.urandom(100_000)


@pytest.fixture(scope="module")
def s3():
  with pytest.MonkeyPatch.context() as patch, emulated_s3(patch) as (bucket, proxy):
    yield f"s3://{bucket}", proxy


@pytest.fixture(params=["s3", "memory"])
def root(request):
  if request.param == "s3":
    url, proxy = request.getfixturevalue("s3")
    proxy.plan()
    yield url
  else:
    yield "memory://bucket"
  files.delete_directory(url if request.param == "s3" else "memory://bucket")


def test_files_are_written_listed_read_moved_and_deleted(root):
  path = f"{root}/a/b/x"
  files.write_bytes(path, CONTENT)
  files.write_bytes(path, CONTENT[::-1])
  files.write_bytes(f"{root}/a/empty", b"")
  assert files.list_files(f"{root}/a") == [FileInfo("b/x", len(CONTENT)), FileInfo("empty", 0)]
  assert files.list_files(f"{root}/a/b/") == [FileInfo("x", len(CONTENT))]
  assert files.list_files(f"{root}/missing") == []
  assert files.read_bytes(path) == CONTENT[::-1]
  assert b"".join(files.read_chunks(path, 30_000)) == CONTENT[::-1]
  assert files.size(path) == len(CONTENT)
  assert files.exists(path)
  files.write_json(f"{root}/a/json", {"a": [1]})
  assert files.read_json(f"{root}/a/json") == {"a": [1]}
  files.move([(path, f"{root}/c/y"), (f"{root}/a/empty", f"{root}/a/json")])
  assert files.list_files(root) == [FileInfo("a/json", 0), FileInfo("c/y", len(CONTENT))]
  files.delete([f"{root}/c/y", f"{root}/c/missing"])
  assert not files.exists(f"{root}/c/y")
  files.delete_directory(f"{root}/a")
  assert files.list_files(root) == []


def test_a_missing_file_is_an_os_error_that_names_it(root):
  path = f"{root}/missing"
  for do in (files.read_bytes, files.size, lambda path: list(files.read_chunks(path, 10))):
    with pytest.raises(FileNotFoundError) as error:
      do(path)
    assert error.value.filename == path
  (_, content), (_, absent) = list(_with_one_that_is_there(root, path))
  assert content == CONTENT
  assert isinstance(absent, FileNotFoundError)


def _with_one_that_is_there(root, path):
  files.write_bytes(f"{root}/x", CONTENT)
  return files.read_many([f"{root}/x", path])


def test_a_file_written_piece_by_piece_appears_when_it_is_whole(root):
  path = f"{root}/large"
  with files.create(path) as file:
    for _ in range(3):
      file.write(bytes(8 << 20))
    assert not files.exists(path)
  assert files.size(path) == 24 << 20


def test_a_file_that_fails_half_way_is_not_there(root):
  def write():
    with files.create(f"{root}/large") as file:
      file.write(bytes(20 << 20))
      raise ZeroDivisionError

  with pytest.raises(ZeroDivisionError):
    write()
  assert files.list_files(root, unfinished=True) == []


def test_a_bucket_that_is_not_there_is_an_error(s3):
  for do in (files.list_files, files.read_bytes, lambda path: files.write_bytes(path, b"")):
    with pytest.raises(OSError, match="s3://nobucket/x"):
      do("s3://nobucket/x")


@pytest.mark.parametrize("kind", ["status", "reset"])
def test_passing_faults_are_repeated_by_the_package_or_by_us(s3, kind):
  root, proxy = s3
  proxy.plan(Fault(kind, times=2))
  files.write_bytes(f"{root}/x", CONTENT)
  proxy.plan(Fault(kind, times=2))
  assert files.read_bytes(f"{root}/x") == CONTENT


def test_a_refusal_is_an_error_in_one_line(s3):
  root, proxy = s3
  proxy.plan(Fault("status", status=403))
  with pytest.raises(OSError, match=rf"^{root}/x: ") as error:
    files.write_bytes(f"{root}/x", b"")
  assert "\n" not in str(error.value)


def test_a_scheme_that_nobody_knows_is_an_error_in_one_line():
  with pytest.raises(UsageError, match=r"^xyz://b: xyz:// is no kind of file system known here"):
    files.read_bytes("xyz://b/c")


def test_a_missing_package_is_named():
  fsspec.register_implementation(
    "lacking", "lacking_fs.LackingFileSystem", clobber=True, errtxt="Install lacking_fs to use it"
  )
  message = (
    r"^lacking://b: lacking:// needs a package that is not installed: Install lacking_fs to use it$"
  )
  with pytest.raises(UsageError, match=message):
    files.list_files("lacking://b/c")


def test_other_local_paths_are_not_taken_for_urls(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for path in ("~x", "a::b", "simplecache::memory", "c:d"):
    files.write_bytes(path, b"1")
    assert (tmp_path / path).read_bytes() == b"1"


def test_a_bucket_itself_is_never_deleted(s3):
  root, _ = s3
  for path in (root, f"{root}/"):
    with pytest.raises(IsADirectoryError):
      files.delete([path])
  files.delete_directory(root)
  assert files.list_files(root) == []


def test_what_stands_for_an_empty_directory_is_no_file_and_is_deleted_with_it(s3):
  root, _ = s3
  client = boto3.client("s3")
  bucket = root.removeprefix("s3://")
  for name in ("d/", "d/e/", "d/x"):
    client.put_object(Bucket=bucket, Key=name, Body=b"")
  assert files.list_files(f"{root}/d") == [FileInfo("x", 0)]
  files.delete_directory(f"{root}/d")
  assert "Contents" not in client.list_objects_v2(Bucket=bucket)


def test_of_two_claims_one_makes_the_file(s3):
  root, _ = s3
  assert files.claim(f"{root}/claim", b"first")
  assert not files.claim(f"{root}/claim", b"second")
  assert files.read_bytes(f"{root}/claim") == b"first"
