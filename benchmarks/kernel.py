"""Measures the influence kernels: against plain NumPy, at ImageNet's scale, and as sizes grow.

  python benchmarks/kernel.py --quick

Every time is the best of several calls unless a table says otherwise, with compilation done before.
Nothing is read from disk: the outcomes are random, membership with a share of 0.7 and test
accuracies between 0.3 and 0.9, so that no pair can be passed over without counting it.
"""

import argparse
import dataclasses
import functools
import resource
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numba
import numpy as np

from estimators import influence_block, pack_examples, popcount, select_pairs, transpose_runs
from estimators.bits import words_for
from estimators.soft_influence import soft_influence_block

T = TypeVar("T")

IMAGENET_TRAIN, IMAGENET_TEST, IMAGENET_RUNS = 1_281_167, 50_000, 2_000


@dataclasses.dataclass(frozen=True)
class Sizes:
  """How large the parts are."""

  dense: tuple[int, int, int]  # runs, train, test
  imagenet_stride: int  # one training example in so many is measured
  scaling: tuple[int, int, int]  # the middle size of each row
  transpose: tuple[int, int]  # runs, examples


FULL = Sizes((2_000, 60_000, 10_000), 20, (2_000, 16_384, 10_000), (4_000, 60_000))
QUICK = Sizes((2_000, 6_000, 5_000), 50, (1_000, 4_096, 2_000), (1_000, 60_000))


def random_bits(random: np.random.Generator, shares: np.ndarray, runs: int) -> np.ndarray:
  """Draws run-packed bits, each set with its example's share, rounded to 1/256.

  One random word per binary digit of the share makes 64 draws.
  """
  bits = np.empty((len(shares), words_for(runs)), np.uint64)
  for first in range(0, len(shares), 65_536):
    block = bits[first : first + 65_536]
    digits = np.round(shares[first : first + 65_536, None] * 256).astype(np.int64)
    block[:] = 0
    for digit in range(8):
      word = random.integers(0, 2**64, block.shape, np.uint64)
      block[:] = np.where(digits >> digit & 1, word | block, word & block)
  if runs % 64:
    bits[:, -1] &= np.uint64(2 ** (runs % 64) - 1)
  return bits


def draw(
  random: np.random.Generator, runs: int, train: int, test: int
) -> tuple[np.ndarray, np.ndarray]:
  """Draws membership and test outcomes."""
  member_bits = random_bits(random, np.full(train, 0.7), runs)
  return member_bits, random_bits(random, random.uniform(0.3, 0.9, test), runs)


def unpack(bits: np.ndarray, runs: int) -> np.ndarray:
  """Returns bool [examples, runs]."""
  unpacked = np.unpackbits(bits.astype("<u8").view(np.uint8), axis=1, bitorder="little")
  return unpacked[:, :runs].view(bool)


def timed(
  repeats: int, function: Callable[..., T], *args: object, **kwargs: object
) -> tuple[np.ndarray, T]:
  """Calls a function several times.

  Returns:
    float64 [repeats, 2], wall-clock and CPU seconds of each call, and the last call's result.
  """
  seconds = []
  for _ in range(repeats):
    start = np.array([time.perf_counter(), time.process_time()])
    result = function(*args, **kwargs)
    seconds.append(np.array([time.perf_counter(), time.process_time()]) - start)
  return np.array(seconds), result


def best_of(
  repeats: int, function: Callable[..., T], *args: object, **kwargs: object
) -> tuple[float, T]:
  """Calls a function several times; returns the shortest time, in seconds, and its last result."""
  seconds, result = timed(repeats, function, *args, **kwargs)
  return float(seconds[:, 0].min()), result


def print_table(title: str, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
  widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
  print(f"\n{title}")
  for row in (header, *rows):
    print("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


def peak_gib() -> float:
  """Returns the most memory this process has held so far."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def warm_up(threads: int) -> None:
  """Compiles the kernels, or loads them from Numba's cache."""
  start = time.perf_counter()
  member_bits, test_bits = draw(np.random.default_rng(0), 70, 20, 20)
  influence_block(member_bits, test_bits, 70, threads=threads)
  select_pairs(member_bits, test_bits, 70, 0.15, threads=threads)
  soft_influence_block(member_bits, np.zeros((20, 70), np.float32), 70, threads=threads)
  transpose_runs(np.zeros((70, 3), np.uint8), 20)
  print(f"{threads} threads, kernels ready after {time.perf_counter() - start:.1f} s")


def plain_influence(
  member: np.ndarray, correct: np.ndarray, accuracy_in: np.ndarray, accuracy_out: np.ndarray
) -> np.ndarray:
  """Scores influence the plain way: masked averages by two float32 matrix products.

  Args:
    member: bool [train, runs].
    correct: bool [test, runs].
    accuracy_in: float32 [train, test], overwritten with the result.
    accuracy_out: float32 [train, test], overwritten.
  """
  inside, right = member.astype(np.float32), correct.astype(np.float32)
  outside = 1 - inside
  np.matmul(inside, right.T, out=accuracy_in)
  accuracy_in /= inside.sum(axis=1, keepdims=True)
  np.matmul(outside, right.T, out=accuracy_out)
  accuracy_out /= outside.sum(axis=1, keepdims=True)
  accuracy_in -= accuracy_out
  return accuracy_in


def measure_dense(sizes: Sizes, threads: int, repeats: int) -> None:
  runs, train, test = sizes.dense
  member_bits, test_bits = draw(np.random.default_rng(1), runs, train, test)
  member, correct = unpack(member_bits, runs), unpack(test_bits, runs)
  # Filled, not empty: the first touch of a page costs more than the kernel's work on it.
  new, accuracy_in, accuracy_out = (np.full((train, test), 9, np.float32) for _ in range(3))
  kernel = functools.partial(
    influence_block, member_bits, test_bits, runs, out=new, threads=threads
  )
  before, _ = timed(repeats, kernel)
  plain_time, plain = timed(1, plain_influence, member, correct, accuracy_in, accuracy_out)
  after, _ = timed(repeats, kernel)
  apart = max(
    float(np.abs(plain[first : first + 1000] - new[first : first + 1000]).max())
    for first in range(0, train, 1000)
  )
  around = np.concatenate([before, after])
  print_table(
    f"Dense float32 influence, {runs:,} runs x {train:,} x {test:,}; the kernel is called "
    f"{repeats} times before the plain way and {repeats} times after",
    ("way", "seconds", "times faster", "CPU seconds", "times less", "ns/pair"),
    [
      (
        way,
        f"{wall:.2f}",
        f"{plain_time[0, 0] / wall:.1f}",
        f"{cpu:.2f}",
        f"{plain_time[0, 1] / cpu:.1f}",
        f"{wall / train / test * 1e9:.2f}",
      )
      for way, (wall, cpu) in (
        ("two float32 matrix products", plain_time[0]),
        ("kernel, median", np.median(around, axis=0)),
        ("kernel, best", around.min(axis=0)),
      )
    ],
  )
  print(f"  largest difference {apart:.1e}; peak memory so far {peak_gib():.1f} GiB")


def measure_soft(sizes: Sizes, threads: int, repeats: int) -> None:
  """Compares with one float32 product, of which the plain way needs two; checks both in float64."""
  runs, train, test = sizes.dense
  random = np.random.default_rng(5)
  member_bits = random_bits(random, np.full(train, 0.7), runs)
  values = random.standard_normal((test, runs), np.float32) + np.float32(3)
  inside, by_run = unpack(member_bits, runs).astype(np.float32), np.ascontiguousarray(values.T)
  new, product = (np.full((train, test), 9, np.float32) for _ in range(2))
  kernel = functools.partial(
    soft_influence_block, member_bits, values, runs, out=new, threads=threads
  )
  before, _ = timed(repeats, kernel)
  plain, _ = timed(repeats, functools.partial(np.matmul, inside, by_run, out=product))
  after, _ = timed(repeats, kernel)
  some = random.choice(train, 200, replace=False)
  runs_in = inside[some].sum(axis=1, dtype=np.float64)[:, None]
  sums_in = inside[some].astype(np.float64) @ by_run.astype(np.float64)
  sums = values.sum(axis=1, dtype=np.float64)
  exact = sums_in / runs_in - (sums - sums_in) / (runs - runs_in)
  of_product = product[some] / runs_in - (sums - product[some]) / (runs - runs_in)
  around, best = np.concatenate([before, after]), plain.min(axis=0)
  print_table(
    f"Dense float32 influence on real outcomes, {runs:,} runs x {train:,} x {test:,}; the kernel "
    f"is called {repeats} times before the product and {repeats} times after",
    ("way", "seconds", "times faster", "CPU seconds", "times less", "error"),
    [
      (
        way,
        f"{wall:.2f}",
        f"{best[0] / wall:.2f}",
        f"{cpu:.2f}",
        f"{best[1] / cpu:.2f}",
        f"{np.abs(found - exact).max():.1e}",
      )
      for way, (wall, cpu), found in (
        ("one float32 matrix product, best", best, of_product),
        ("kernel, median", np.median(around, axis=0), new[some]),
        ("kernel, best", around.min(axis=0), new[some]),
      )
    ],
  )
  print(f"  errors are the largest of {len(some)} rows; peak memory so far {peak_gib():.1f} GiB")


def measure_imagenet(sizes: Sizes, threads: int, repeats: int) -> None:
  member_bits, test_bits = draw(
    np.random.default_rng(2), IMAGENET_RUNS, IMAGENET_TRAIN, IMAGENET_TEST
  )
  stride = sizes.imagenet_stride
  one_in_stride = np.arange(IMAGENET_TRAIN) % stride == 0
  train_labels = np.arange(IMAGENET_TRAIN) % 1000
  test_labels = np.arange(IMAGENET_TEST) % 1000
  same_class = {"train_labels": train_labels, "test_labels": test_labels}
  rows = []
  for name, min_influence, options, measured in (
    ("all pairs, 0.15", 0.15, {"eligible": one_in_stride}, one_in_stride.mean()),
    ("all pairs, 0.1", 0.1, {"eligible": one_in_stride}, one_in_stride.mean()),
    ("same class, 0.15", 0.15, same_class, 1.0),
  ):
    seconds, pairs = best_of(
      repeats,
      select_pairs,
      member_bits,
      test_bits,
      IMAGENET_RUNS,
      min_influence,
      threads=threads,
      **options,
    )
    rows.append(
      (
        name,
        f"{measured:.1%}",
        f"{seconds:.2f}",
        f"{len(pairs):,}",
        f"{seconds / measured:.0f}",
        f"{len(pairs) / measured:,.0f}",
      )
    )
  print_table(
    f"Selection, {IMAGENET_RUNS:,} runs x {IMAGENET_TRAIN:,} x {IMAGENET_TEST:,}; of all pairs, "
    f"those of one training example in {stride} are measured and the rest extrapolated",
    ("threshold", "measured", "seconds", "selected", "seconds for all", "selected of all"),
    rows,
  )
  print(f"  peak memory {peak_gib():.1f} GiB, of which membership {member_bits.nbytes / 2**30:.2f}")


def measure_scaling(sizes: Sizes, threads: int, repeats: int) -> None:
  random = np.random.default_rng(3)
  rows = []
  for axis, name in enumerate(("runs", "train", "test")):
    smallest: tuple[float, float] | None = None
    for factor in (0.5, 1, 2):
      shape = list(sizes.scaling)
      shape[axis] = int(shape[axis] * factor)
      runs, train, test = shape
      member_bits, test_bits = draw(random, runs, train, test)
      out = np.zeros((train, test), np.float32)
      bits = (member_bits, test_bits, runs)
      dense, _ = best_of(repeats, influence_block, *bits, out=out, threads=threads)
      selected, _ = best_of(repeats, select_pairs, *bits, 0.15, threads=threads)
      smallest = smallest or (dense, selected)
      words = train * test * words_for(runs)
      rows.append(
        (
          name,
          f"{runs:,} x {train:,} x {test:,}",
          f"{dense * 1e3:.0f}",
          f"x{dense / smallest[0]:.2f}",
          f"{selected * 1e3:.0f}",
          f"x{selected / smallest[1]:.2f}",
          f"{words / selected / threads / 1e9:.1f}",
        )
      )
  print_table(
    "Cost against size (each size doubles the one above it)",
    ("grows", "runs x train x test", "dense ms", "", "select ms", "", "Gword/s/thread"),
    rows,
  )


def measure_transpose(sizes: Sizes, threads: int, repeats: int) -> None:
  del threads  # one is enough
  runs, examples = sizes.transpose
  random = np.random.default_rng(4)
  rows = [pack_examples(random.random(examples) < 0.7) for _ in range(runs)]
  seconds, bits = best_of(repeats, transpose_runs, rows, examples)
  counting, _ = best_of(repeats, popcount, bits)
  print_table(
    f"Rows of runs to bits of examples, {runs:,} x {examples:,}",
    ("step", "ms"),
    [("transpose_runs", f"{seconds * 1e3:.0f}"), ("popcount", f"{counting * 1e3:.0f}")],
  )


# ImageNet first: the process's peak memory is still its own.
PARTS = {
  "imagenet": measure_imagenet,
  "dense": measure_dense,
  "soft": measure_soft,
  "scaling": measure_scaling,
  "transpose": measure_transpose,
}


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
  parser.add_argument("--quick", action="store_true", help="smaller sizes, for a first look")
  parser.add_argument(
    "--threads", type=int, default=numba.config.NUMBA_NUM_THREADS, help="default: all cores"
  )
  parser.add_argument("--repeats", type=int, default=3, help="calls per measurement (default: 3)")
  options = parser.parse_args()
  warm_up(options.threads)
  for name, measure in PARTS.items():
    if name in options.parts:
      measure(QUICK if options.quick else FULL, options.threads, options.repeats)


if __name__ == "__main__":
  main()
