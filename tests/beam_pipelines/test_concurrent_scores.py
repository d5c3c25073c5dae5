"""Commands that score into one directory, stopped and killed by signals as users and systems do."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from beam_pipelines import cli
from tests.helpers.outcomes import make_outcomes, write_experiment

# A command that sends itself a signal when its publication has moved half of its files.
_SIGNAL_WHILE_PUBLISHING = """
import os, signal, sys
import files
from beam_pipelines import cli
move = files.move
def move_half(moves):
  moves = list(moves)
  move(moves[: len(moves) // 2])
  os.kill(os.getpid(), signal.SIGKILL)
files.move = move_half
sys.exit(cli.main(sys.argv[1:]))
"""

# A command that stops itself, as Ctrl-Z does, when it has staged all and published nothing.
_STOP_BEFORE_PUBLISHING = """
import os, signal, sys
from beam_pipelines import cli
from beam_pipelines.transforms import publish_scores
check = publish_scores.check_conservation
def stop(manifest):
  os.kill(os.getpid(), signal.SIGSTOP)
  check(manifest)
publish_scores.check_conservation = stop
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def experiment(tmp_path):
  write_experiment(tmp_path / "runs", make_outcomes(0.3, range(6)) + make_outcomes(0.7, range(20)))
  return tmp_path / "runs"


def _arguments(experiment, scores, *flags):
  return ["score", f"--experiment={experiment}", f"--scores={scores}", *flags]


def _start(program, *arguments):
  return subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=subprocess.PIPE)


def _tables(scores):
  return {
    directory: sorted(duckdb.sql(f"select * from '{directory}/*.parquet'").fetchall(), key=repr)
    for directory in sorted({path.parent for path in scores.glob("*/*.parquet")})
  }


def _named(tables):
  return {directory.name: rows for directory, rows in tables.items()}


def _is_stopped(pid):
  return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux for the state")
def test_a_process_that_sleeps_while_another_publishes_changes_nothing(experiment, tmp_path):
  scores = tmp_path / "scores"
  process = _start(_STOP_BEFORE_PUBLISHING, *_arguments(experiment, scores, "--correctness"))
  while process.poll() is None and not _is_stopped(process.pid):
    time.sleep(0.05)  # polls another process
  assert process.returncode is None, process.stderr.read()
  assert all(path.name.startswith(".staging-") for path in scores.iterdir())
  assert cli.main(_arguments(experiment, scores, "--min_influence=0.5")) == 0
  published = _tables(scores)
  process.send_signal(signal.SIGCONT)
  _, error = process.communicate(timeout=120)
  assert process.returncode == 2
  assert error.decode().startswith("heldout score: error: ")
  assert "other scores were published there since this job began" in error.decode()
  assert error.decode().count("\n") == 1
  assert _tables(scores) == published
  manifest = json.loads((scores / "manifest.json").read_text())
  assert manifest["complete"]
  assert manifest["options"]["min_influence"] == 0.5
  assert manifest["rows"] == {name: len(rows) for name, rows in _named(published).items()}
  assert not [path for path in scores.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("flags", [(), ("--append",)], ids=["anew", "append"])
def test_a_process_killed_while_it_publishes_is_finished_by_the_same_command(
  experiment, tmp_path, capsys, flags
):
  scores = tmp_path / "scores"
  assert cli.main(_arguments(experiment, scores, "--min_influence=0.5")) == 0
  arguments = _arguments(experiment, scores, *flags)
  if flags:
    write_experiment(experiment, make_outcomes(0.7, range(20, 24)))
  process = _start(_SIGNAL_WHILE_PUBLISHING, *arguments)
  process.communicate(timeout=120)
  assert process.returncode == -signal.SIGKILL
  assert (scores / "publication.json").exists()
  capsys.readouterr()
  assert cli.main(["report", f"--scores={scores}", "--dataset=digits", "--output=-"]) == 2
  assert capsys.readouterr().err.count("\n") == 1
  assert cli.main(arguments) == 0
  assert cli.main(_arguments(experiment, tmp_path / "clean")) == 0
  assert _named(_tables(scores)) == _named(_tables(tmp_path / "clean"))
  assert not (scores / "publication.json").exists()
  assert not [path for path in scores.iterdir() if path.name.startswith(".")]
