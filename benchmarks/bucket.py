"""Times reading recorded outcomes from gs:// against reading them one by one with gcsfs.

  python -m benchmarks.bucket

The bucket is an emulator on this machine, without a network's delays, so that what counts is what a
request costs the processor: over a network, reading many at once gains more. Both ways read the
same files, in turns, and their bytes are compared. Writing 4,000 runs takes minutes: the emulator
writes its index anew with each.
"""

import argparse
import itertools
import statistics
import time

import numpy as np
import pytest
from gcsfs.core import GCSFileSystem  # the other one asks over gRPC what kind of bucket it is

import files
from beam_pipelines.storage.runs import aux_arrays
from beam_pipelines.storage.runs.experiment import AUX_ARRAYS, RunKey, list_runs
from beam_pipelines.storage.runs.outcome import RunOutcome
from files.read_ahead import map_ahead
from tests.helpers.gcs import BUCKET, redirect_gcs, serve_gcs

EXPERIMENT = f"gs://{BUCKET}/runs"
NUM_TRAIN, NUM_TEST = 10_000, 2_000


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--runs", type=int, default=4_000, help="in the bucket (%(default)s)")
  parser.add_argument("--rounds", type=int, default=3, help="turns of each way (%(default)s)")
  options = parser.parse_args()
  with pytest.MonkeyPatch.context() as patch, serve_gcs() as proxy:
    redirect_gcs(patch, f"http://127.0.0.1:{proxy.emulator_port}")  # past the proxy
    write_runs(options.runs)
    runs = list_runs(EXPERIMENT).runs
    ours, plain = [], []
    for _ in range(options.rounds):
      ours.append(seconds(read_ours, runs))
      plain.append(seconds(read_plainly, runs))
    different = sum(a != b for a, b in itertools.zip_longest(read_ours(runs), read_plainly(runs)))
  ratio = statistics.median(plain) / statistics.median(ours)
  print(f"{len(runs):,} runs: heldout {_show(ours)}, gcsfs one by one {_show(plain)}")
  print(f"{ratio:.2f} times as fast, {different} files different")


def write_runs(count: int) -> None:
  content = []
  for number in range(16):
    random = np.random.default_rng(number)
    bits = [random.random(size) < 0.7 for size in (NUM_TRAIN, NUM_TRAIN, NUM_TEST)]
    content.append(aux_arrays.encode(RunOutcome.pack(RunKey(0.7, number), *bits)))

  def write(number: int) -> None:
    path = files.join(RunKey(0.7, number).directory(EXPERIMENT), AUX_ARRAYS)
    files.write_bytes(path, content[number % len(content)])

  for _, writing in map_ahead(write, range(count), 8):
    writing.result()


def read_ours(runs):
  """Returns the recorded outcomes as `heldout score` reads them."""
  return (content for _, content in aux_arrays.fetch_many(runs))


def read_plainly(runs):
  system = GCSFileSystem(token="anon")
  for run in runs:
    yield system.cat_file(run.aux_arrays_path)


def seconds(read, runs) -> float:
  start = time.perf_counter()
  for _ in read(runs):
    pass
  return time.perf_counter() - start


def _show(times: list[float]) -> str:
  return f"{statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"


if __name__ == "__main__":
  main()
