"""The memory of `heldout score`, in a process of its own."""

import os
import subprocess
import sys

import numpy as np

from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.runs.run_place import RunKey
from beam_pipelines.storage.scores.manifest import read_manifest
from tests.helpers.packs import write_pack

NUM_TRAIN, NUM_TEST, RUNS = 1_000_000, 64, 640
WORKER_MEMORY = 900_000_000

# In a small process, because a new one counts the memory of the one that it comes from.
_MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def _outcome(run):
  rng = np.random.default_rng(run)
  return RunOutcome(
    RunKey(0.5, run),
    num_train=NUM_TRAIN,
    num_test=NUM_TEST,
    in_subset=rng.bytes(NUM_TRAIN // 8),
    train_correct=rng.bytes(NUM_TRAIN // 8),
    test_correct=rng.bytes(NUM_TEST // 8),
  )


def test_a_worker_keeps_to_its_memory(tmp_path):
  """Outcomes are 160 MB here, and an in-process runner would hold several times that."""
  for start in range(0, RUNS, 64):
    outcomes = [_outcome(run) for run in range(start, start + 64)]
    write_pack(tmp_path / "runs", outcomes, f"pack-{start}", runs_per_part=64)
  scratch = tmp_path / "scratch"
  scratch.mkdir()
  command = [sys.executable, "-m", "beam_pipelines.cli", "score", f"--experiment={tmp_path}/runs"]
  command += [f"--scores={tmp_path}/scores", f"--worker_memory={WORKER_MEMORY // 10**6}MB"]
  measured = [sys.executable, "-c", _MEASURE, *command]
  environment = {**os.environ, "TMPDIR": str(scratch)}
  output = subprocess.run(measured, env=environment, check=True, capture_output=True).stdout
  assert read_manifest(str(tmp_path / "scores")).runs_used == RUNS
  assert 1024 * int(output.split()[-1]) < WORKER_MEMORY
  assert not list(scratch.iterdir())
