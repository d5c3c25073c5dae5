"""Files that only one of several writers can make."""

import errno
import multiprocessing
import os

import pytest

import files
from files import retry
from tests.helpers.gcs import BUCKET, emulated_gcs
from tests.helpers.proxy import Fault


@pytest.fixture(params=["local", "local without links", "memory"])
def path(request, tmp_path, monkeypatch):
  if request.param == "memory":
    return f"memory://claims/{tmp_path.name}/new/file"
  if request.param == "local without links":

    def refuse(source, target):
      raise OSError(errno.EPERM, os.strerror(errno.EPERM), source)

    monkeypatch.setattr(os, "link", refuse)
  return str(tmp_path / "new" / "file")


def test_only_the_first_makes_the_file(path):
  assert files.claim(path, b"first")
  assert not files.claim(path, b"second")
  assert files.read_bytes(path) == b"first"
  directory = path.rpartition("/")[0]
  assert [info.name for info in files.list_files(directory, unfinished=True)] == ["file"]
  files.delete([path])
  assert files.claim(path, b"third")


def _claim(barrier, path, name, claimed):
  barrier.wait()
  claimed.put((name, files.claim(path, name * 100_000)))


@pytest.mark.parametrize("attempt", range(3))
def test_of_processes_at_once_one_makes_it_whole(tmp_path, attempt):
  context = multiprocessing.get_context("spawn")
  barrier, claimed = context.Barrier(4), context.Queue()
  path = str(tmp_path / "file")
  names = [b"a", b"b", b"c", b"d"]
  processes = [
    context.Process(target=_claim, args=(barrier, path, name, claimed)) for name in names
  ]
  for process in processes:
    process.start()
  results = dict(claimed.get(timeout=60) for _ in names)
  for process in processes:
    process.join()
  (winner,) = [name for name, made in results.items() if made]
  assert files.read_bytes(path) == winner * 100_000
  assert [found.name for found in tmp_path.iterdir()] == ["file"]


@pytest.fixture(scope="module")
def proxy():
  with pytest.MonkeyPatch.context() as patch, emulated_gcs(patch) as proxy:
    patch.setattr(retry, "FIRST_WAIT", 0.01)
    yield proxy


def test_a_bucket_is_asked_to_make_it_only_if_it_is_new(proxy):
  proxy.plan()
  assert files.claim(f"gs://{BUCKET}/claims/new", b"first")
  assert proxy.requests(r"POST /upload/.*ifGenerationMatch=0")


def test_a_bucket_that_has_it_refuses(proxy):
  """The emulator knows no preconditions; Google's answer is planned."""
  path = f"gs://{BUCKET}/claims/there"
  files.write_bytes(path, b"first")
  proxy.plan(Fault("status", "POST /upload", status=412))
  assert not files.claim(path, b"second")
  assert files.read_bytes(path) == b"first"


def test_a_lost_answer_is_not_taken_for_another_claim(proxy):
  """The request that is repeated finds the file that it has made itself."""
  path = f"gs://{BUCKET}/claims/lost"
  proxy.plan(Fault("lose", "POST /upload"), Fault("status", "POST /upload", status=412))
  assert files.claim(path, b"mine")
  assert len(proxy.requests("POST /upload")) == 2


def test_a_bucket_that_may_not_be_written_to_is_an_error(proxy):
  proxy.plan(Fault("status", "POST /upload", status=403))
  with pytest.raises(OSError, match=rf"^gs://{BUCKET}/claims/no: HTTP status 403"):
    files.claim(f"gs://{BUCKET}/claims/no", b"mine")
