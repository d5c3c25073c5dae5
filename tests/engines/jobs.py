"""Commands as processes, and what they leave, to compare."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from beam_pipelines import cli

TRAINING = ("--dataset=digits", "--model=mlp_small", "--epochs=3", "--stack=2", "--runs=0:12")
DATASET = ("--dataset=digits",)
MODEL = (*DATASET, "--model=mlp_small")
# Twelve runs of three epochs know little: thresholds below the papers' give pairs to compare.
PAIRS = ("--min_influence=0.05", "--min_memorization=0.05", "--top_k=3")
SECONDS = 300.0


def train(experiment, *flags):
  return ["train", f"--experiment={experiment}", *TRAINING, *flags]


def score(experiment, scores, *flags):
  where = (f"--experiment={experiment}", f"--scores={scores}")
  return ["score", *where, *DATASET, *PAIRS, *flags]


def score_checkpoints(experiment, scores, *flags):
  where = (f"--experiment={experiment}", f"--scores={scores}")
  return ["score", *where, *MODEL, *PAIRS, "--source=checkpoints", *flags]


def verify(experiment, *flags):
  return ["verify", f"--experiment={experiment}", *MODEL, *flags]


def run_here(command):
  """Runs a command in this process, on the in-process runner."""
  assert cli.main(command) == 0


def start(command, **kwargs):
  """Starts a command as a process, in a group of its own."""
  return subprocess.Popen(
    [sys.executable, "-m", "beam_pipelines.cli", *command],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,
    env=os.environ | kwargs.pop("env", {}),
    **kwargs,
  )


def run(command):
  """Runs a command as a process to its end; returns what it printed. It leaves nothing behind."""
  with tempfile.TemporaryDirectory() as directory:
    output, errors, status = finish(start(command, env={"TMPDIR": directory}))
    assert status == 0, errors
    assert list(Path(directory).iterdir()) == []
  return output, errors


def finish(process):
  """Waits for a command to end; returns what it printed, and its exit status."""
  try:
    output, errors = process.communicate(timeout=SECONDS)
  except BaseException:
    os.killpg(process.pid, signal.SIGKILL)
    raise
  return output, errors, process.returncode


def files_below(directory):
  """Returns the content of all files below a directory, by name."""
  paths = (path for path in Path(directory).rglob("*") if path.is_file())
  return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def check_same_scores(directory, reference):
  """Compares all files of two scores directories; of the manifest, what is not of its job alone."""
  found, expected = files_below(directory), files_below(reference)
  assert _manifest(found) == _manifest(expected)
  assert found.keys() == expected.keys()
  assert [name for name in found if found[name] != expected[name]] == []


def check_same_runs(experiment, reference):
  """Compares all files of two experiments."""
  found, expected = files_below(experiment), files_below(reference)
  assert found.keys() == expected.keys()
  assert [name for name in found if found[name] != expected[name]] == []


def _manifest(files):
  manifest = json.loads(files.pop("manifest.json"))
  own = ("created", "experiment", "job")
  return {name: value for name, value in manifest.items() if name not in own}
