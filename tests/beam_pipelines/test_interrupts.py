"""Ctrl-C in the midst of a job: one line, which says what is safe."""

import os
import signal
import subprocess
import sys
import time

import pytest

from beam_pipelines import cli
from beam_pipelines.storage.runs.experiment import list_runs


def test_training_that_is_interrupted_keeps_complete_runs(tmp_path):
  experiment = str(tmp_path / "runs")
  arguments = [f"--experiment={experiment}", "--dataset=digits", "--model=mlp_small", "--epochs=1"]
  command = [sys.executable, "-m", "beam_pipelines.cli", "train", *arguments]
  process = subprocess.Popen([*command, "--runs=0:2000", "--stack=2"], stderr=subprocess.PIPE)
  while process.poll() is None and not list_runs(experiment).runs:
    time.sleep(0.05)  # polls another process
  process.send_signal(signal.SIGINT)
  _, error = process.communicate(timeout=120)
  assert process.returncode == 130
  assert error.decode() == (
    "heldout train: interrupted: complete runs are kept, and the same command trains the rest\n"
  )
  complete = [run for run in list_runs(experiment).runs if run.complete]
  assert cli.main(["train", *arguments, f"--runs=0:{len(complete) + 2}", "--stack=2"]) == 0
  assert all(run.complete for run in list_runs(experiment).runs)


# What a command imports last is a module that never ends; it says that it was reached.
_IMPORT = """
import sys, time
class Stall:
  def find_spec(self, name, path=None, target=None):
    if name == "apache_beam":
      print("importing", flush=True)
      time.sleep(60)
sys.meta_path.insert(0, Stall())
"""


@pytest.mark.parametrize("command", [*cli.COMMANDS, "cli"])
def test_an_interrupt_during_imports_is_one_line(tmp_path, command):
  (tmp_path / "sitecustomize.py").write_text(_IMPORT)
  path = os.pathsep.join([str(tmp_path), *sys.path])
  process = subprocess.Popen(
    [sys.executable, "-m", f"beam_pipelines.{command.replace('-', '_')}", "train"],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    env={**os.environ, "PYTHONPATH": path},
    text=True,
  )
  assert process.stdout.readline() == "importing\n"
  process.send_signal(signal.SIGINT)
  _, error = process.communicate(timeout=60)
  assert process.returncode == 130
  assert error == "heldout: interrupted before it began\n"
