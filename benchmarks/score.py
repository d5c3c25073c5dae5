"""Measures `heldout score`, from files on disk to tables, against the plain script.

  python benchmarks/score.py --runs 400

The outcomes are random, in the released layout with shuffled entries; one training example in five
helps a test example, so that there is something to select. The plain script is what one would write
first: load all runs into float arrays, take masked averages, multiply two pairs of matrices, and
select. Each way runs in a process of its own, which the clock and the memory count whole. The pairs
that both select are compared. Two more processes only read and unpack the files, one with NumPy and
one with Heldout's reader, and run the kernel.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from beam_pipelines.storage.runs import aux_arrays
from beam_pipelines.storage.runs.experiment import list_runs
from beam_pipelines.storage.scores.directory import read_table
from beam_pipelines.storage.scores.manifest import read_manifest
from estimators import pack_examples, select_pairs, transpose_runs

RATIO = 0.7
MIN_INFLUENCE, MIN_MEMORIZATION = 0.15, 0.25


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--runs", type=int, default=4_000, help="(%(default)s)")
  parser.add_argument("--train", type=int, default=50_000, help="examples (%(default)s)")
  parser.add_argument("--test", type=int, default=10_000, help="examples (%(default)s)")
  parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
  parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.part:
    print(json.dumps(PARTS[options.part](options.directory)))
    return
  with tempfile.TemporaryDirectory() as directory:
    compare(Path(directory), options.runs, options.train, options.test)


def compare(directory: Path, runs: int, num_train: int, num_test: int) -> None:
  """Writes the runs, runs each part in a process of its own, prints the table."""
  with ThreadPoolExecutor() as pool:
    list(pool.map(lambda run: write_run(directory / "runs", run, num_train, num_test), range(runs)))
  write_dataset(directory / "dataset.npz", num_train, num_test)
  subprocess.run(["sync"], check=True)  # or writing the files back would slow the first readings
  print(f"{runs:,} runs x {num_train:,} train x {num_test:,} test")
  print(f"{'':28}{'seconds':>9}{'peak MB':>9}")
  results = {}
  for part in PARTS:  # the first reading fills the page cache for all that follow
    results[part] = measure(part, directory)
    print(f"{part:28}{results[part]['seconds']:>9.1f}{results[part]['megabytes']:>9,.0f}")
  plain, ours = results["plain"], results["heldout score"]
  check_pairs(*(np.load(directory / f"{name}.npy") for name in ("plain", "heldout")))
  print(f"time, plain / ours: {plain['seconds'] / ours['seconds']:.1f}x")
  print(f"memory, ours / plain: {ours['megabytes'] / plain['megabytes']:.2f}")
  for part in ("NumPy's reading and kernel", "our reading and kernel"):
    print(f"time, ours / {part}: {ours['seconds'] / results[part]['seconds']:.2f}x")


def check_pairs(plain: np.ndarray, ours: np.ndarray) -> None:
  """Compares selected pairs; the plain way's float32 decides some on the threshold differently."""
  differing = len(np.setxor1d(plain, ours))
  print(f"pairs: {len(plain):,} plain, {len(ours):,} ours, {differing:,} in one only")
  if differing > 0.001 * len(plain) + 10:
    raise SystemExit("the answers differ")


def measure(part: str, directory: Path) -> dict:
  """Runs one part as a process; returns its wall-clock seconds, peak memory and answer."""
  command = [sys.executable, __file__, "--part", part, "--directory", str(directory)]
  start = time.perf_counter()
  process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
  seconds = time.perf_counter() - start
  answer = json.loads(process.stdout.splitlines()[-1])
  return {"seconds": seconds, **answer}


def write_run(experiment: Path, run: int, num_train: int, num_test: int) -> None:
  """Writes the recorded outcome of one run, entries in random order, correctness as float32."""
  ease, ease_test = (
    np.random.default_rng(seed).random(n) for seed, n in ((0, num_train), (1, num_test))
  )
  rng = np.random.default_rng([2, run])
  order = rng.permutation(num_train)
  train, removed = np.split(order, [round(RATIO * num_train)])
  in_subset = np.zeros(num_train, bool)
  in_subset[train] = True
  helper = np.arange(num_test) * 5 % num_train
  helped = np.where(in_subset[helper], 1, 0.8)
  directory = experiment / str(RATIO) / str(run)
  directory.mkdir(parents=True)
  np.savez(
    directory / "aux_arrays.npz",
    correctness_train=(rng.random(len(train)) < 0.98).astype(np.float32),
    correctness_removed=(rng.random(len(removed)) < ease[removed]).astype(np.float32),
    correctness_test=(rng.random(num_test) < ease_test * helped).astype(np.float32),
    index_train=train,
    index_removed=removed,
    index_test=np.arange(num_test),
    subsample_idx=train,
  )


def write_dataset(path: Path, num_train: int, num_test: int) -> None:
  """Writes images of one pixel, for the command to have labels."""
  rng = np.random.default_rng(3)
  arrays = {}
  for split, count in (("train", num_train), ("test", num_test)):
    arrays[f"{split}__image"] = np.zeros((count, 1, 1), np.uint8)
    arrays[f"{split}__label"] = rng.integers(0, 10, count)
  np.savez(path, **arrays)


def peak_megabytes() -> float:
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def load_run(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Reads a run the way that NumPy offers: whether it saw, and was right on, each example."""
  with np.load(path) as arrays:
    num_train = len(arrays["index_train"]) + len(arrays["index_removed"])
    seen, correct = np.zeros((2, num_train), np.float32)
    seen[arrays["subsample_idx"]] = 1
    for split in ("train", "removed"):
      correct[arrays[f"index_{split}"]] = arrays[f"correctness_{split}"]
    test = np.zeros(len(arrays["index_test"]), np.float32)
    test[arrays["index_test"]] = arrays["correctness_test"]
  return seen, correct, test


def run_files(directory: Path) -> list[Path]:
  return sorted((directory / "runs" / str(RATIO)).glob("*/aux_arrays.npz"))


def plain_way(directory: Path) -> dict:
  """Loads, averages, multiplies and selects, all at once in memory."""
  member, train_correct, test_correct = zip(*map(load_run, run_files(directory)), strict=True)
  mask, train, test = np.vstack(member), np.vstack(train_correct), np.vstack(test_correct)
  del member, train_correct, test_correct
  inverse = 1 - mask
  runs_in, runs_out = mask.sum(0), inverse.sum(0)
  memorization = (train * mask).sum(0) / runs_in - (train * inverse).sum(0) / runs_out
  influence = mask.T @ test / runs_in[:, None] - inverse.T @ test / runs_out[:, None]
  chosen = (influence >= MIN_INFLUENCE) & (memorization[:, None] >= MIN_MEMORIZATION)
  np.save(directory / "plain.npy", np.flatnonzero(chosen))
  return {"megabytes": peak_megabytes()}


def heldout_score(directory: Path) -> dict:
  """Runs the command as a user does."""
  from beam_pipelines import cli

  tables = directory / "scores"
  flags = [f"--experiment={directory / 'runs'}", f"--scores={tables}", "--pairs=all"]
  if cli.main(["score", *flags, f"--dataset=npz:{directory / 'dataset.npz'}"]):
    raise SystemExit("heldout score failed")
  megabytes = peak_megabytes()
  rows = read_table(str(tables), "influence")
  num_test = read_manifest(str(tables)).examples.test
  train, test = (rows[f"{side}_example"].to_numpy() for side in ("train", "test"))
  np.save(directory / "heldout.npy", train * num_test + test)
  return {"megabytes": megabytes}


def numpy_and_kernel(directory: Path) -> dict:
  """Reads and unpacks each file with NumPy, packs the runs, and selects."""
  runs = [
    tuple(pack_examples(values != 0) for values in load_run(path)) for path in run_files(directory)
  ]
  return pack_and_select(directory, runs)


def reader_and_kernel(directory: Path) -> dict:
  """The same with Heldout's own reader, which checks what it reads."""
  outcomes = map(aux_arrays.read, list_runs(str(directory / "runs")).runs)
  runs = [
    tuple(
      np.frombuffer(bits, np.uint8)
      for bits in (outcome.in_subset, outcome.train_correct, outcome.test_correct)
    )
    for outcome in outcomes
  ]
  return pack_and_select(directory, runs)


def pack_and_select(directory: Path, runs: list[tuple[np.ndarray, ...]]) -> dict:
  num_train, _, num_test = map(len, load_run(run_files(directory)[0]))
  member, _, test = zip(*runs, strict=True)
  bits = transpose_runs(member, num_train), transpose_runs(test, num_test)
  select_pairs(*bits, len(runs), MIN_INFLUENCE)
  return {"megabytes": peak_megabytes()}


PARTS = {
  "NumPy's reading and kernel": numpy_and_kernel,
  "our reading and kernel": reader_and_kernel,
  "plain": plain_way,
  "heldout score": heldout_score,
}

if __name__ == "__main__":
  main()
