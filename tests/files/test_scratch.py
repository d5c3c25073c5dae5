"""Scratch directories, and those of processes that were killed."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import files
from files import scratch
from files.base import temporary

_HOLDS_ONE = """
import sys, tempfile, time
from files import scratch
tempfile.tempdir = sys.argv[1]
with scratch.local_directory() as directory:
  (directory / "file").touch()
  print(directory, flush=True)
  time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
  """A process that holds a scratch directory."""
  command = [sys.executable, "-c", _HOLDS_ONE, str(tmp_path)]
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
    process.directory = tmp_path / process.stdout.readline().strip()
    yield process
    process.kill()


def test_a_directory_is_gone_afterwards(tmp_path, monkeypatch):
  monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))

  def fail():
    with scratch.local_directory() as directory:
      (directory / "file").touch()
      assert directory.parent == tmp_path
      assert str(os.getpid()) in directory.name
      raise ZeroDivisionError

  with pytest.raises(ZeroDivisionError):
    fail()
  assert not list(tmp_path.iterdir())


def test_two_of_one_process_are_two():
  assert scratch.new_name() != scratch.new_name()


def test_what_a_living_process_holds_stays(holder, tmp_path):
  scratch.remove_leftovers(str(tmp_path))
  assert (holder.directory / "file").exists()


def test_what_a_killed_process_has_left_is_removed(holder, tmp_path):
  holder.send_signal(signal.SIGKILL)
  holder.wait()
  assert holder.directory.exists()
  scratch.remove_leftovers(str(tmp_path))
  assert not holder.directory.exists()


def test_an_inherited_process_id_is_no_life(tmp_path):
  host, pid, started, unique = scratch.new_name().split("-")[1:]
  earlier = tmp_path / f"heldout-{host}-{pid}-{int(started) - 3600}-{unique}"
  earlier.mkdir()
  scratch.remove_leftovers(str(tmp_path))
  assert not earlier.exists()


def test_what_may_be_others_stays(tmp_path):
  _, started, unique = scratch.new_name().split("-")[2:]
  others = [f"heldout-00000000-1-{started}-{unique}", "heldout-runs", f"heldout-{unique}", "tmpx"]
  for name in others:
    (tmp_path / name).mkdir()
  scratch.remove_leftovers(str(tmp_path))
  assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_there_may_be_no_such_directory(tmp_path):
  scratch.remove_leftovers(str(tmp_path / "none"))


def test_what_is_made_and_forgotten_is_gone_when_the_process_ends(tmp_path):
  program = """
    import pathlib, sys, tempfile
    from files import scratch
    tempfile.tempdir = sys.argv[1]
    with scratch.temporary_files_until_exit():
      forgotten = tempfile.mkdtemp()
    assert pathlib.Path(forgotten).exists()
    assert tempfile.tempdir == sys.argv[1]
  """
  command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
  subprocess.run(command, check=True)
  assert list(tmp_path.iterdir()) == []


def test_temporary_files_go_with_their_process(tmp_path):
  """Those of a dead one are deleted by who writes the file next; those of a living one stay."""
  path = tmp_path / "x.json"
  code = "import sys; from files.base import temporary; print(temporary(sys.argv[1]))"
  dead, other = (
    Path(subprocess.check_output([sys.executable, "-c", code, str(to)], text=True).strip())
    for to in (path, tmp_path / "y.json")
  )
  mine, unknown = Path(temporary(str(path))), tmp_path / f"x.json.{'0' * 32}.tmp"
  for left in (dead, other, mine, unknown):
    left.write_text("half")
  files.write_json(str(path), 1)
  assert set(tmp_path.iterdir()) == {path, other, mine, unknown}
  assert [info.name for info in files.list_files(str(tmp_path))] == ["x.json"]
  files.delete_unfinished(str(tmp_path))
  assert set(tmp_path.iterdir()) == {path, mine}
