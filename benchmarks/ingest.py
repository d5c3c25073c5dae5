"""Times `heldout ingest` against `tar -xzf` on the same archive, and shows that memory is flat.

  python benchmarks/ingest.py --directory /a/local/disk

The archive is made of runs like the released CIFAR ones: a checkpoint with 13 MB of random float32
weights and momenta, which compress as badly as real ones, and recorded outcomes. Both ways unpack
it to the same disk, in turns, each in a process of its own whose start counts; `ingest` computes
the MD5 sum meanwhile. Afterwards the two trees are compared. The first row is of an archive of a
quarter of the size: `ingest` may not need more memory for the larger one.
"""

import argparse
import filecmp
import hashlib
import io
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

TOP = "cifar10-inception"
NUM_TRAIN, NUM_TEST = 50_000, 10_000
WEIGHTS_AND_MOMENTA = 3_300_000


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
  parser.add_argument("--runs", type=int, default=120, help="in the archive (%(default)s)")
  parser.add_argument("--rounds", type=int, default=3, help="turns of each way (%(default)s)")
  options = parser.parse_args()
  with tempfile.TemporaryDirectory(dir=options.directory) as directory:
    for runs in (options.runs // 4, options.runs):
      compare(Path(directory), runs, options.rounds)


def compare(directory: Path, runs: int, rounds: int) -> None:
  archive = directory / "runs.tar.gz"
  unpacked = write_archive(archive, runs)
  with archive.open("rb") as file:
    md5 = hashlib.file_digest(file, "md5").hexdigest()
  by_tar, by_us = directory / "tar", directory / "ingest"
  ways = {
    "tar -xzf": ["tar", "-xzf", str(archive), "-C", str(by_tar)],
    "heldout ingest": [
      *(sys.executable, "-m", "beam_pipelines.ingest", f"--archive={archive}"),
      *(f"--md5={md5}", f"--experiment={by_us}"),
    ],
  }
  costs: dict[str, list[Cost]] = {way: [] for way in ways}
  for _ in range(rounds):
    for way, command in ways.items():
      shutil.rmtree(by_tar if way == "tar -xzf" else by_us, ignore_errors=True)
      by_tar.mkdir(exist_ok=True)
      os.sync()
      costs[way].append(cost_of(command))
  print(f"{runs} runs, {unpacked / 1e6:,.0f} MB in {archive.stat().st_size / 1e6:,.0f} MB")
  print(f"  {'way':<16}{'s':>8}{'fastest':>9}{'CPU s':>8}{'MB/s':>8}{'of tar':>8}{'peak MiB':>10}")
  reference = statistics.median(cost.seconds for cost in costs["tar -xzf"])
  for way, measured in costs.items():
    seconds = statistics.median(cost.seconds for cost in measured)
    processor = statistics.median(cost.processor_seconds for cost in measured)
    print(
      f"  {way:<16}{seconds:8.2f}{min(measured).seconds:9.2f}{processor:8.2f}"
      f"{unpacked / 1e6 / seconds:8.0f}{reference / seconds:8.0%}"
      f"{max(cost.peak_mib for cost in measured):10.0f}",
      flush=True,
    )
  check_same(by_tar / TOP, by_us)


def write_archive(path: Path, runs: int) -> int:
  """Writes an archive of runs; returns how many bytes are in it."""
  random = np.random.default_rng(0)
  total = 0
  with tarfile.open(path, "w:gz", compresslevel=1) as archive:
    for run in range(runs):
      weights = 0.05 * random.standard_normal(WEIGHTS_AND_MOMENTA, np.float32)
      files = {
        "checkpoints/ckpt-160.index": random.bytes(9_000),
        "checkpoints/ckpt-160.data-00000-of-00001": weights.tobytes(),
        "aux_arrays.npz": recorded_outcome(random),
      }
      for name, content in files.items():
        member = tarfile.TarInfo(f"{TOP}/0.7/{run}/{name}")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
        total += len(content)
  return total


def recorded_outcome(random: np.random.Generator) -> bytes:
  order = random.permutation(NUM_TRAIN)
  train, removed = np.split(order, [35_000])
  buffer = io.BytesIO()
  np.savez(
    buffer,
    correctness_train=random.random(len(train)) < 0.99,
    correctness_removed=random.random(len(removed)) < 0.85,
    correctness_test=random.random(NUM_TEST) < 0.85,
    index_train=train,
    index_removed=removed,
    index_test=np.arange(NUM_TEST),
    subsample_idx=train,
  )
  return buffer.getvalue()


def cost_of(command: list[str]) -> Cost:
  start = time.perf_counter()
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
  _, status, usage = os.wait4(process.pid, 0)
  seconds = time.perf_counter() - start
  process.returncode = os.waitstatus_to_exitcode(status)
  if process.returncode:
    raise subprocess.CalledProcessError(process.returncode, command)
  return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def check_same(theirs: Path, ours: Path) -> None:
  names = sorted(str(path.relative_to(theirs)) for path in theirs.rglob("*") if path.is_file())
  _, different, missing = filecmp.cmpfiles(theirs, ours, names, shallow=False)
  if different or missing:
    raise SystemExit(f"the trees differ: {different} {missing}")
  print(f"  {len(names):,} files, the same both ways")


if __name__ == "__main__":
  main()
