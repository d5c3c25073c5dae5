"""Measures the memory of `heldout score` at ImageNet's size, as runs are added.

  python benchmarks/score_memory.py --runs 100 500 1000

The outcomes are random, in the released layout: 1,281,167 training and 50,000 test examples in
1,000 classes. A few runs are written, and the others are hard links to them: what is read and held
is the same, and the disk holds it. Each count is scored by a process of its own, whose peak, as the
kernel counts it, is printed beside what its outcomes take, in packed bits.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RATIO = 0.7
TRAIN, TEST, CLASSES = 1_281_167, 50_000, 1_000


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--runs", type=int, nargs="+", default=[100, 500, 1000], help="(%(default)s)")
  parser.add_argument("--written", type=int, default=10, help="different runs (%(default)s)")
  parser.add_argument("--worker_memory", default="2GB")
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as scratch:
    directory = Path(scratch)
    write_dataset(directory / "dataset.npz")
    written = [write_run(directory / f"run-{run}.npz", run) for run in range(options.written)]
    print("runs  seconds  peak MB  outcomes MB")
    for runs in options.runs:
      experiment = directory / f"runs-{runs}"
      for run in range(runs):
        target = experiment / str(RATIO) / str(run)
        target.mkdir(parents=True)
        os.link(written[run % len(written)], target / "aux_arrays.npz")
      seconds, peak = score(experiment, directory / f"scores-{runs}", options.worker_memory)
      held = runs * (2 * TRAIN + TEST) / 8
      print(f"{runs:4,}{seconds:9.1f}{peak / 1e6:9,.0f}{held / 1e6:13,.0f}", flush=True)


def score(experiment: Path, scores: Path, worker_memory: str) -> tuple[float, int]:
  """Returns the seconds of the command, and the most bytes that it held."""
  command = [sys.executable, "-m", "beam_pipelines.cli", "score", f"--experiment={experiment}"]
  command += [f"--scores={scores}", f"--worker_memory={worker_memory}"]
  command += [f"--dataset=npz:{experiment.parent / 'dataset.npz'}"]
  started = time.perf_counter()
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
  _, status, usage = os.wait4(process.pid, 0)
  process.returncode = os.waitstatus_to_exitcode(status)
  if process.returncode:
    sys.exit(f"heldout score ended with status {process.returncode}")
  return time.perf_counter() - started, 1024 * usage.ru_maxrss


def write_run(path: Path, run: int) -> Path:
  """Writes a recorded outcome, entries in random order."""
  rng = np.random.default_rng(run)
  order = rng.permutation(TRAIN).astype(np.int32)
  train, removed = np.split(order, [round(RATIO * TRAIN)])
  np.savez(
    path,
    correctness_train=rng.random(len(train)) < 0.98,
    correctness_removed=rng.random(len(removed)) < 0.73,
    correctness_test=rng.random(TEST) < 0.73,
    index_train=train,
    index_removed=removed,
    index_test=np.arange(TEST, dtype=np.int32),
    subsample_idx=train,
  )
  return path


def write_dataset(path: Path) -> None:
  """Writes images of one pixel, for the command to have labels."""
  rng = np.random.default_rng(0)
  arrays = {}
  for split, count in (("train", TRAIN), ("test", TEST)):
    arrays[f"{split}__image"] = rng.integers(256, size=(count, 1, 1), dtype=np.uint8)
    arrays[f"{split}__label"] = rng.integers(CLASSES, size=count)
  np.savez(path, **arrays)


if __name__ == "__main__":
  main()
