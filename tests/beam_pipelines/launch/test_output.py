import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from beam_pipelines.launch.output import add_flag, open_output
from beam_pipelines.launch.parser import Parser
from files.errors import UsageError


def _parsed(text, **options):
  parser = Parser("do", "Does it.")
  add_flag(parser, **options)
  return parser.parse_args([f"--output={text}"]).output


def _write(text, content=b"new"):
  output = open_output(_parsed(text))
  output.write(content)
  return output


def test_a_regular_file_is_replaced_and_missing_directories_are_made(tmp_path):
  old = tmp_path / "old"
  old.write_bytes(b"old and long")
  _write(old)
  _write(tmp_path / "a" / "b" / "c")
  assert old.read_bytes() == (tmp_path / "a" / "b" / "c").read_bytes() == b"new"
  assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "c", "old"]


def test_a_local_path_becomes_absolute(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert str(_write("here/x")) == f"{tmp_path}/here/x"
  assert _parsed("gs://bucket/x") == "gs://bucket/x"


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_target_is_replaced(tmp_path, exists):
  (tmp_path / "far").mkdir()
  target = tmp_path / "far" / "target"
  if exists:
    target.write_bytes(b"old")
  (tmp_path / "first").symlink_to("second")
  (tmp_path / "second").symlink_to(target)
  output = _write(tmp_path / "first")
  assert str(output) == f"{tmp_path}/first"
  assert (tmp_path / "first").is_symlink()
  assert (tmp_path / "second").is_symlink()
  assert target.read_bytes() == b"new"
  assert [path.name for path in target.parent.iterdir()] == ["target"]


def _directory(path):
  path.mkdir()


def _pipe(path):
  os.mkfifo(path)


def _link_to_a_device(path):
  path.symlink_to("/dev/full")


def _socket(path):
  socket.socket(socket.AF_UNIX).bind(str(path))


@pytest.mark.parametrize(
  ("make", "what"),
  [
    (_directory, "a directory: give the path of a file in it"),
    (_pipe, "a pipe: write a file, or - for standard output"),
    (_socket, "a socket: write a file, or - for standard output"),
    (_link_to_a_device, "a device: give the path of a file"),
  ],
)
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_regular_file_is_left_alone(tmp_path, monkeypatch, make, what, linked):
  monkeypatch.chdir(tmp_path)  # a socket's path may not be long
  path = tmp_path / "x"
  make(path.relative_to(tmp_path))
  before = path.lstat()
  named = tmp_path / "link" if linked else path
  if linked:
    named.symlink_to(path)
  with pytest.raises(UsageError) as caught:
    open_output(_parsed(named))
  assert str(caught.value) == f"{named} is {what}"
  assert path.lstat() == before


def test_a_device_is_left_alone():
  before = Path("/dev/full").stat()
  with pytest.raises(UsageError, match=r"^/dev/full is a device"):
    open_output(_parsed("/dev/full"))
  assert Path("/dev/full").stat() == before


def test_what_has_become_a_directory_since_is_left_alone(tmp_path):
  output = open_output(_parsed(tmp_path / "x"))
  (tmp_path / "x").mkdir()
  with pytest.raises(UsageError, match="x is a directory"):
    output.write(b"new")
  assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_path_that_ends_in_a_slash_is_a_directory(tmp_path):
  with pytest.raises(UsageError, match="new/ is a directory: give the path of a file in it"):
    open_output(_parsed(f"{tmp_path}/new/"))


def test_a_loop_of_links_is_an_error_with_its_path(tmp_path):
  (tmp_path / "a").symlink_to("b")
  (tmp_path / "b").symlink_to("a")
  with pytest.raises(OSError, match=r"Too many levels of symbolic links: .*/a"):
    open_output(_parsed(tmp_path / "a"))


@pytest.mark.parametrize("text", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_takes_bytes_and_messages_go_elsewhere(text, capsysbinary):
  output = _write(text, b"\x00new\xff")
  output.say("said")
  captured = capsysbinary.readouterr()
  assert captured.out == b"\x00new\xff"
  assert captured.err == b"said\n"
  assert str(output) == "standard output"


def test_messages_of_a_file_go_to_standard_output(tmp_path, capsys):
  open_output(_parsed(tmp_path / "x")).say("said")
  assert capsys.readouterr().out == "said\n"


def test_without_a_default_the_flag_is_required():
  parser = Parser("do", "Does it.")
  add_flag(parser)
  with pytest.raises(UsageError, match="the following arguments are required: --output"):
    parser.parse_args([])
  parser = Parser("do", "Does it.")
  add_flag(parser, default="report.html")
  assert parser.parse_args([]).output == f"{Path.cwd()}/report.html"


def _run(code, *argv, **options):
  return subprocess.Popen(
    [sys.executable, "-c", textwrap.dedent(code), *argv], stderr=subprocess.PIPE, **options
  )


def test_a_file_that_cannot_grow_is_one_line_and_the_old_one_stays(tmp_path):
  code = """
    import resource, sys
    from beam_pipelines.launch import command
    from beam_pipelines.launch.output import open_output
    def run(argv):
      resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
      open_output(argv[0]).write(b"x" * 5000)
    sys.exit(command.execute("export", run))
  """
  path = tmp_path / "x"
  path.write_bytes(b"old")
  process = _run(code, str(path))
  error = process.stderr.read().decode()
  assert process.wait() == 2
  assert error == f"heldout export: error: {path} cannot be written: file too large\n"
  assert path.read_bytes() == b"old"


TO_STANDARD_OUTPUT = """
  import sys
  from beam_pipelines.launch import command
  from beam_pipelines.launch.output import open_output
  def run(argv):
    sys.stdin.read()
    open_output("-").write(b"x" * int(argv[0]))
  sys.exit(command.execute("export", run))
"""


@pytest.mark.parametrize("size", [10, 10**6])  # less and more than what is buffered
def test_a_closed_pipe_is_one_line(size):
  process = _run(TO_STANDARD_OUTPUT, str(size), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
  process.stdout.close()
  process.stdin.close()
  error = process.stderr.read().decode()
  assert process.wait() == 2
  assert error == "heldout export: error: standard output cannot be written: broken pipe\n"


@pytest.mark.parametrize("size", [10, 10**6])
def test_a_full_device_behind_standard_output_is_one_line(size):
  with Path("/dev/full").open("wb") as full:
    process = _run(TO_STANDARD_OUTPUT, str(size), stdin=subprocess.DEVNULL, stdout=full)
  error = process.stderr.read().decode()
  assert process.wait() == 2
  assert (
    error == "heldout export: error: standard output cannot be written: no space left on device\n"
  )
