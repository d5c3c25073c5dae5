"""Times `heldout import-outcomes` against a script that writes run directories from the arrays.

  python benchmarks/import_outcomes.py --directory /a/local/disk

The arrays are masks and correctness of 10,000 runs, bool, of 60,000 training and 10,000 test
examples: 1.3 GB. The plain way maps them into memory and writes an `aux_arrays.npz` per run, as
others' code does; of a tenth of the runs, because it takes so long. Both are processes of their
own, whose start counts. The first row is of a quarter of the rows: memory may not grow with them.
Afterwards the outcomes of both are compared, run by run.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from beam_pipelines.storage.runs import aux_arrays
from beam_pipelines.storage.runs.experiment import list_runs
from beam_pipelines.storage.runs.judgement import read_packed
from files.npy_rows import create_rows

PLAIN = """
import sys
from pathlib import Path
import numpy as np
masks, correct, test_correct = (np.load(path, mmap_mode="r") for path in sys.argv[2:5])
test = np.arange(test_correct.shape[1])
for run in range(int(sys.argv[5])):
  directory = Path(sys.argv[1]) / "0.5" / str(run)
  directory.mkdir(parents=True)
  train, removed = np.flatnonzero(masks[run]), np.flatnonzero(~masks[run])
  np.savez(
    directory / "aux_arrays.npz",
    correctness_train=correct[run][train],
    correctness_removed=correct[run][removed],
    correctness_test=test_correct[run],
    index_train=train,
    index_removed=removed,
    index_test=test,
    subsample_idx=train,
  )
"""


class Cost(NamedTuple):
  """What a process has needed."""

  seconds: float
  processor_seconds: float
  peak_mib: float


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--directory", type=Path, help="where to work (default: a temporary one)")
  parser.add_argument("--runs", type=int, default=10_000, help="rows (%(default)s)")
  parser.add_argument("--train", type=int, default=60_000, help="training examples (%(default)s)")
  parser.add_argument("--test", type=int, default=10_000, help="test examples (%(default)s)")
  parser.add_argument("--margins", action="store_true", help="float16 margins, too")
  options = parser.parse_args()
  with tempfile.TemporaryDirectory(dir=options.directory) as directory:
    compare(Path(directory), options)


def compare(directory: Path, options: argparse.Namespace) -> None:
  runs, few = options.runs, options.runs // 10
  paths = write_arrays(directory, options)
  print(f"{'':<36}{'s':>8}{'CPU s':>8}{'runs/s':>9}{'peak MiB':>10}{'files':>8}{'MB':>9}")
  for name, rows in (("a quarter", runs // 4), ("all", runs)):
    experiment = directory / f"imported-{rows}"
    command = [sys.executable, "-m", "beam_pipelines.import_outcomes", "--from=arrays"]
    command += [
      f"--experiment={experiment}",
      f"--rows=0:{rows}",
      "--subset_ratio=0.5",
      "--runs_first",
    ]
    command += [f"--{flag}={path}" for flag, path in paths.items()]
    command += ["--margin=max"] if options.margins else []
    show(f"heldout import-outcomes, {name}", rows, cost_of(command), experiment)
  plain = directory / "plain"
  arrays = [paths[name] for name in ("masks", "correct", "test_correct")]
  command = [sys.executable, "-c", PLAIN, plain, *arrays, few]
  show("a directory per run, a tenth", few, cost_of(list(map(str, command))), plain)
  check_same(directory / f"imported-{runs}", plain)


def write_arrays(directory: Path, options: argparse.Namespace) -> dict[str, Path]:
  rng = np.random.default_rng(0)
  shapes = {"masks": options.train, "correct": options.train, "test_correct": options.test}
  if options.margins:
    shapes |= {"margins": options.train, "test_margins": options.test}
  paths = {name: directory / f"{name}.npy" for name in shapes}
  with contextlib.ExitStack() as stack:  # a process whose memory grows would show in its children's
    write = {}
    for name, columns in shapes.items():
      dtype = np.dtype(np.float16 if "margins" in name else np.bool_)
      shape = (options.runs, columns)
      write[name] = stack.enter_context(create_rows(str(paths[name]), dtype, shape))
    for _ in range(options.runs):
      bits = {}
      for name in ("masks", "correct", "test_correct"):
        drawn = rng.integers(0, 256, -(-shapes[name] // 8), np.uint8)
        bits[name] = np.unpackbits(drawn, count=shapes[name])
        write[name](bits[name])
      if options.margins:
        write["margins"](np.where(bits["correct"], 2.5, -1.5))
        write["test_margins"](np.where(bits["test_correct"], 2.5, -1.5))
  return paths


def cost_of(command: list[str]) -> Cost:
  start = time.perf_counter()
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
  _, status, usage = os.wait4(process.pid, 0)
  seconds = time.perf_counter() - start
  process.returncode = os.waitstatus_to_exitcode(status)
  if process.returncode:
    raise subprocess.CalledProcessError(process.returncode, command)
  return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def show(way: str, runs: int, cost: Cost, experiment: Path) -> None:
  files = [path for path in experiment.rglob("*") if path.is_file()]
  size = sum(path.stat().st_size for path in files)
  print(
    f"{way:<36}{cost.seconds:8.1f}{cost.processor_seconds:8.1f}{runs / cost.seconds:9.0f}"
    f"{cost.peak_mib:10.0f}{len(files):8,}{size / 1e6:9,.0f}",
    flush=True,
  )


def check_same(packed: Path, plain: Path) -> None:
  expected = {run.key: aux_arrays.read(run) for run in list_runs(str(plain)).runs}
  found = {}
  for part in list_runs(str(packed)).packed:
    found |= {read.key: read for _, read in read_packed(part) if read.key in expected}
  if found != expected:
    raise SystemExit("the outcomes differ")
  print(f"{len(found):,} runs, the same both ways")
  shutil.rmtree(packed)


if __name__ == "__main__":
  main()
