import errno
import os
import resource
import signal
import socket
import subprocess
from pathlib import Path

import pytest

import files
from files import FileInfo


def test_links_to_files_and_directories_are_followed(tmp_path):
  files.write_bytes(str(tmp_path / "elsewhere" / "d" / "x"), b"123")
  (tmp_path / "listed").mkdir()
  (tmp_path / "listed" / "directory").symlink_to("../elsewhere/d")
  (tmp_path / "listed" / "file").symlink_to(tmp_path / "elsewhere" / "d" / "x")
  (tmp_path / "link").symlink_to("listed")
  expected = [FileInfo("directory/x", 3), FileInfo("file", 3)]
  assert files.list_files(str(tmp_path / "listed")) == expected
  assert files.list_files(str(tmp_path / "link")) == expected
  assert files.read_bytes(str(tmp_path / "link" / "directory" / "x")) == b"123"


def test_links_that_lead_nowhere_are_listed_with_the_reason(tmp_path):
  (tmp_path / "dangling").symlink_to("gone")
  (tmp_path / "itself").symlink_to("itself")
  (tmp_path / "x").write_bytes(b"")
  (tmp_path / "below").symlink_to("x/y")
  assert files.list_files(str(tmp_path)) == [
    FileInfo("below", 0, "is a symbolic link to x/y, where there is nothing"),
    FileInfo("dangling", 0, "is a symbolic link to gone, where there is nothing"),
    FileInfo("itself", 0, "is a symbolic link that leads to itself"),
    FileInfo("x", 0),
  ]


def test_a_loop_of_directories_is_listed_once_with_the_reason(tmp_path):
  (tmp_path / "a" / "b").mkdir(parents=True)
  (tmp_path / "a" / "x").write_bytes(b"1")
  (tmp_path / "a" / "b" / "back").symlink_to("..")
  (tmp_path / "a" / "b" / "out").symlink_to(tmp_path)
  a = tmp_path / "a"
  assert files.list_files(str(tmp_path)) == [
    FileInfo("a/b/back", 0, f"is a symbolic link that leads back to {a}, which holds it"),
    FileInfo("a/b/out", 0, f"is a symbolic link that leads back to {tmp_path}, which holds it"),
    FileInfo("a/x", 1),
  ]


def test_two_links_to_one_directory_are_no_loop(tmp_path):
  (tmp_path / "d").mkdir()
  (tmp_path / "d" / "x").write_bytes(b"1")
  (tmp_path / "e").symlink_to("d")
  assert files.list_files(str(tmp_path)) == [FileInfo("d/x", 1), FileInfo("e/x", 1)]


def test_what_is_no_file_is_listed_with_the_reason_and_never_opened(tmp_path):
  os.mkfifo(tmp_path / "pipe")
  with socket.socket(socket.AF_UNIX) as server:
    server.bind(str(tmp_path / "socket"))
    (tmp_path / "device").symlink_to("/dev/null")
    assert files.list_files(str(tmp_path)) == [
      FileInfo("device", 0, "is a device, not a file"),
      FileInfo("pipe", 0, "is a pipe, not a file"),
      FileInfo("socket", 0, "is a socket, not a file"),
    ]


@pytest.mark.parametrize(
  "do", [files.read_bytes, files.size, lambda path: files.write_bytes(path, b"")]
)
def test_a_pipe_a_device_or_a_directory_is_an_error_at_once(tmp_path, do):
  os.mkfifo(tmp_path / "pipe")
  for path, reason in (
    (tmp_path / "pipe", "Is a pipe, not a file"),
    ("/dev/full", "Is a device, not a file"),
    (tmp_path, "Is a directory"),
  ):
    with pytest.raises(OSError, match=reason) as error:
      do(str(path))
    assert error.value.filename == str(path)
  assert Path("/dev/full").is_char_device()


@pytest.fixture
def without_privileges(tmp_path):
  """Makes this process one that may not read everything, and `tmp_path` reachable for it."""
  if os.geteuid():
    yield
    return
  for directory in (tmp_path, *tmp_path.parents):
    if directory.stat().st_mode & 0o077 == 0:
      directory.chmod(0o755)
  os.seteuid(65534)
  yield
  os.seteuid(0)


def test_a_directory_that_cannot_be_listed_is_an_error_that_names_it(tmp_path, request):
  files.write_bytes(str(tmp_path / "e" / "0.7" / "1" / "x"), b"")
  locked = tmp_path / "e" / "0.7"
  locked.chmod(0)
  request.addfinalizer(lambda: locked.chmod(0o755))
  request.getfixturevalue("without_privileges")
  for directory in (tmp_path / "e", locked):
    with pytest.raises(PermissionError) as error:
      files.list_files(str(directory))
    assert error.value.filename == str(locked)
  with pytest.raises(PermissionError):
    files.exists(str(locked / "1"))


def test_listing_a_file_or_a_link_to_nowhere_is_an_error(tmp_path):
  (tmp_path / "x").write_bytes(b"")
  (tmp_path / "link").symlink_to("gone")
  with pytest.raises(NotADirectoryError):
    files.list_files(str(tmp_path / "x"))
  with pytest.raises(FileNotFoundError):
    files.list_files(str(tmp_path / "link"))


def test_writing_through_a_link_keeps_the_link(tmp_path):
  (tmp_path / "real").mkdir()
  (tmp_path / "link").symlink_to("real/x")
  for content in (b"1", b"22"):  # the first is written where there is nothing yet
    files.write_bytes(str(tmp_path / "link"), content)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "x").read_bytes() == content
  assert files.list_files(str(tmp_path), unfinished=True) == [
    FileInfo("link", 2),
    FileInfo("real/x", 2),
  ]


def test_deleting_a_directory_leaves_alone_what_its_links_lead_to(tmp_path):
  files.write_bytes(str(tmp_path / "kept" / "x"), b"1")
  (tmp_path / "d").mkdir()
  (tmp_path / "d" / "link").symlink_to(tmp_path / "kept")
  (tmp_path / "link").symlink_to("kept")
  files.delete_directory(str(tmp_path / "d"))
  files.delete_directory(str(tmp_path / "link"))
  files.delete_directory(str(tmp_path / "missing"))
  assert [path.name for path in tmp_path.iterdir()] == ["kept"]
  assert files.list_files(str(tmp_path)) == [FileInfo("kept/x", 1)]


def _write_piece_by_piece(path, content):
  with files.create(path) as file:
    for start in range(0, len(content), 1_000):
      file.write(content[start : start + 1_000])


@pytest.fixture
def small_disk(tmp_path):
  """A file system of 64 KiB."""
  directory = tmp_path / "small"
  directory.mkdir()
  command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(directory)]
  if subprocess.run(command, capture_output=True).returncode:
    pytest.skip("this process may not mount a small disk")
  yield directory
  subprocess.run(["umount", str(directory)], check=True)


@pytest.mark.parametrize("write", [files.write_bytes, _write_piece_by_piece])
def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_what_was_there(small_disk, write):
  path = small_disk / "x"
  files.write_bytes(str(path), b"before")
  with pytest.raises(OSError, match="No space left on device") as error:
    write(str(path), bytes(200_000))
  assert error.value.errno == errno.ENOSPC
  assert error.value.filename == str(path)
  assert [found.name for found in small_disk.iterdir()] == ["x"]
  assert path.read_bytes() == b"before"


@pytest.mark.parametrize("write", [files.write_bytes, _write_piece_by_piece])
def test_a_file_that_may_not_grow_is_an_error_that_names_it(tmp_path, write):
  """The same without a disk of its own: the process may not write files of more than 64 KiB."""
  path = tmp_path / "x"
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
  try:
    with pytest.raises(OSError, match="File too large") as error:
      write(str(path), bytes(200_000))
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)
  assert error.value.filename == str(path)
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [files.write_bytes, _write_piece_by_piece])
def test_a_path_that_cannot_be_is_an_error_that_names_it(tmp_path, write):
  (tmp_path / "x").write_bytes(b"")
  for path, number in (
    (tmp_path / ("a" * 300), errno.ENAMETOOLONG),
    (tmp_path / "x" / "y", errno.ENOTDIR),
  ):
    with pytest.raises(OSError) as error:  # noqa: PT011 # its number is compared
      write(str(path), b"1")
    assert error.value.errno == number
    assert error.value.filename == str(path)
    assert error.value.strerror
  assert [found.name for found in tmp_path.iterdir()] == ["x"]


def test_a_directory_that_may_not_be_written_to_is_an_error_that_names_the_file(tmp_path, request):
  (tmp_path / "locked").mkdir(mode=0o555)
  request.getfixturevalue("without_privileges")
  for name in ("x", "new/x"):
    path = tmp_path / "locked" / name
    with pytest.raises(PermissionError) as error:
      files.write_bytes(str(path), b"")
    assert error.value.filename == str(path)


def test_names_as_long_as_they_may_be_are_written(tmp_path):
  for name in ("a" * 255, "é" * 127):
    files.write_bytes(str(tmp_path / name), b"1")
    assert files.list_files(str(tmp_path)) == [FileInfo(name, 1)]
    files.delete([str(tmp_path / name)])


def test_moving_what_is_not_there_is_an_error_that_names_it(tmp_path):
  with pytest.raises(FileNotFoundError) as error:
    files.move([(str(tmp_path / "missing"), str(tmp_path / "new" / "x"))])
  assert error.value.filename == str(tmp_path / "missing")
  assert list(tmp_path.iterdir()) == []


def test_moving_to_another_disk_copies(tmp_path, monkeypatch):
  replace = os.replace

  def refuse(source, target):
    if not source.endswith(".tmp"):
      raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source)
    replace(source, target)

  files.write_bytes(str(tmp_path / "x"), b"1")
  monkeypatch.setattr(os, "replace", refuse)
  files.move([(str(tmp_path / "x"), str(tmp_path / "y"))])
  assert files.list_files(str(tmp_path), unfinished=True) == [FileInfo("y", 1)]
