"""Commands that are killed while they put files in place: nobody takes half for whole.

And the same command, called again, completes, and takes away what the killed one has left.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import files
import heldout
from beam_pipelines import cli
from files import scratch
from image_datasets import unfinished
from image_datasets.errors import DatasetError
from tests.helpers.outcomes import make_outcomes, write_experiment

# A command that kills itself when it has put some files in place below a directory.
_DIES = """
import os, signal, sys
from beam_pipelines import cli
directory, left, replace = sys.argv[1], int(sys.argv[2]), os.replace
def die(source, target):
  global left
  if str(target).startswith(directory):
    left -= 1
    if left < 0:
      os.kill(os.getpid(), signal.SIGKILL)
  replace(source, target)
os.replace = die
sys.exit(cli.main(sys.argv[3:]))
"""

# What is typed, and of how many files that it puts in place the command is killed.
COMMANDS = {
  "build-tfrecords": (["--images={0}/tree", "--split=train", "--output={1}", "--shards=4"], 2),
  "export --format=trak": (["--experiment={0}/runs", "--output={1}/trak"], 1),
  "export --format=lira": (["--experiment={0}/runs", "--output={1}/lira"], 7),
  "export --format=cscores": (["--scores={0}/scores", "--output={1}/cscores.npz"], 0),
  "report": (["--scores={0}/scores", "--dataset=digits", "--output={1}/report.html"], 0),
  "import-outcomes": (
    [
      *("--experiment={1}", "--from=arrays", "--masks={0}/masks.npy"),
      *("--correct={0}/masks.npy", "--first_run=0"),
    ],
    2,
  ),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
  """What commands read: runs, their scores, arrays, trees of images."""
  root = tmp_path_factory.mktemp("kills")
  write_experiment(root / "runs", make_outcomes(0.7, range(4), num_train=1437, num_test=360))
  flags = [f"--experiment={root}/runs", f"--scores={root}/scores", "--dataset=digits"]
  assert cli.main(["score", *flags]) == 0
  np.save(root / "masks.npy", np.random.default_rng(0).random((3000, 20)) < 0.5)
  for number in range(24):
    path = root / "tree" / f"class-{number % 3}" / f"{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (10 * number, 0, 0)).save(path)
  return root


def _arguments(command, root, output):
  flags, _ = COMMANDS[command]
  return [*command.split(), *(flag.format(root, output) for flag in flags)]


def _die(temporary, output, count, arguments):
  """Runs a command that kills itself; its temporary files lie in a directory of their own."""
  process = subprocess.run(
    [sys.executable, "-c", _DIES, str(output), str(count), *arguments],
    env={**os.environ, "TMPDIR": str(temporary)},
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert process.returncode == -signal.SIGKILL, process.stderr


def _contents(directory):
  """The files in a directory, but for what tells one command from another."""
  return {
    str(path.relative_to(directory)): path.read_bytes()
    for path in sorted(Path(directory).rglob("*"))
    if path.is_file() and path.suffix not in (".json", ".html")
  }


@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_command_leaves_nothing_half_and_the_next_completes(
  inputs, tmp_path, monkeypatch, command
):
  temporary, output, expected = (tmp_path / name for name in ("temporary", "out", "expected"))
  temporary.mkdir()
  assert cli.main(_arguments(command, inputs, expected)) == 0
  _die(temporary, output, COMMANDS[command][1], _arguments(command, inputs, output))
  assert any(path.suffix == ".tmp" for path in output.rglob("*"))
  monkeypatch.setattr("tempfile.tempdir", str(temporary))
  assert cli.main(_arguments(command, inputs, output)) == 0
  assert list(temporary.glob("beam-*")) == []
  assert not any(path.suffix == ".tmp" for path in output.rglob("*"))
  if command == "import-outcomes":
    (pack,) = output.glob("0.5/packed/*")
    (other,) = expected.glob("0.5/packed/*")
    output, expected = pack, other
  assert _contents(output) == _contents(expected)


def test_images_of_two_builds_are_never_read_as_one(inputs, tmp_path, capsys):
  output = tmp_path / "out"
  for split in ("train", "validation"):
    flags = [f"--images={inputs}/tree", f"--split={split}", f"--output={output}"]
    assert cli.main(["build-tfrecords", *flags, "--shards=4"]) == 0
  assert len(heldout.load_dataset(f"tfrecord:{output}").train) == 24
  for number in (0, 12):  # of one class, which gets other images than before
    (tmp_path / "more" / "class-0").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "more" / "class-0" / f"{number}.png")
  flags = [f"--images={tmp_path}/more", "--split=train", f"--output={output}", "--shards=2"]
  _die(tmp_path, output, 1, ["build-tfrecords", *flags])
  message = (
    f"{output}: its train files are being written, or that was stopped: wait, or run "
    "`heldout build-tfrecords` again"
  )
  with pytest.raises(DatasetError) as error:
    heldout.load_dataset(f"tfrecord:{output}")
  assert str(error.value) == message
  capsys.readouterr()
  validation = [f"--images={inputs}/tree", "--split=validation", f"--output={output}"]
  assert cli.main(["build-tfrecords", *validation]) == 2  # whose classes are those of the training
  assert capsys.readouterr().err == f"heldout build-tfrecords: error: {message}\n"
  assert cli.main(["build-tfrecords", *flags]) == 0
  names = sorted(path.name for path in output.iterdir() if path.name.startswith("train-"))
  assert names == [
    *("train-00000-of-00002", "train-00001-of-00002"),
    *("train-index.npz", "train-info.json", "train-left-out.csv"),
  ]


@pytest.mark.parametrize("owner", ["this process", "another machine"])
def test_two_builds_at_once_are_one(inputs, tmp_path, capsys, owner):
  token = unfinished.begin(str(tmp_path), "train")
  mark = tmp_path / "train-unfinished"
  if owner == "another machine":
    mark.write_text(token.replace(token[8:16], "0" * 8))
  flags = [f"--images={inputs}/tree", "--split=train", f"--output={tmp_path}"]
  assert cli.main(["build-tfrecords", *flags]) == 2
  assert capsys.readouterr().err == (
    f"heldout build-tfrecords: error: {mark} says that another command is writing these files: "
    "wait for it, or delete that file if there is none, on no machine\n"
  )
  assert list(tmp_path.iterdir()) == [mark]


def test_a_build_that_lost_its_place_publishes_nothing(inputs, tmp_path, monkeypatch, capsys):
  """As one whose mark was deleted while it slept, so that another began."""
  other = []

  def create(path):
    if not other:
      (tmp_path / "train-unfinished").unlink()
      other.append(unfinished.begin(str(tmp_path), "train"))
    return original(path)

  original = files.create
  monkeypatch.setattr("files.create", create)
  flags = [f"--images={inputs}/tree", "--split=train", f"--output={tmp_path}"]
  assert cli.main(["build-tfrecords", *flags]) == 2
  assert "another command has taken over: nothing was published" in capsys.readouterr().err
  assert unfinished.is_held(str(tmp_path), "train", other[0])
  assert not (tmp_path / "train-index.npz").exists()


def test_a_build_that_fails_may_be_called_again(inputs, tmp_path, monkeypatch, capsys):
  flags = [f"--images={inputs}/tree", "--split=train", f"--output={tmp_path}"]
  with monkeypatch.context() as patch:
    patch.setattr("files.create", lambda _: Path("/dev/full/none").stat())
    assert cli.main(["build-tfrecords", *flags]) == 2
  assert capsys.readouterr().err.count("\n") == 1
  assert cli.main(["build-tfrecords", *flags]) == 0
  assert not (tmp_path / "train-unfinished").exists()


def test_an_export_of_outcomes_that_is_not_finished_is_not_imported(inputs, tmp_path, capsys):
  output = tmp_path / "lira"
  arguments = _arguments("export --format=lira", inputs, tmp_path)
  _die(tmp_path, output, 7, arguments)
  capsys.readouterr()
  flags = [f"--experiment={tmp_path}/runs", "--from=lira", f"--source={output}"]
  assert cli.main(["import-outcomes", *flags]) == 2
  assert capsys.readouterr().err == (
    f"heldout import-outcomes: error: {output}: its export is not finished: wait for it, or run "
    "`heldout export` again\n"
  )
  note = output / "heldout.json"
  note.write_text(f'{{"unfinished": "{scratch.new_name()}"}}')  # by a process that lives
  assert cli.main(arguments) == 2
  assert "is there: choose a new directory" in capsys.readouterr().err


def test_an_export_of_outcomes_that_fails_leaves_nothing(inputs, tmp_path, capsys):
  """Of its runs the subsets differ in size, as is found out when some are written."""
  write_experiment(tmp_path / "runs", make_outcomes(0.7, range(4)))
  flags = [f"--experiment={tmp_path}/runs", "--format=dattri", f"--output={tmp_path}/out"]
  assert cli.main(["export", *flags]) == 2
  assert "dattri needs subsets of one size" in capsys.readouterr().err
  assert list((tmp_path / "out").iterdir()) == []
