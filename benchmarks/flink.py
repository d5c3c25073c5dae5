"""Measures `heldout score` on a cluster of Flink, by number of runs and of workers.

  make flink
  .venv/bin/python -m benchmarks.flink --runs 200 1000 4000 --workers 1 2

The outcomes are those of benchmarks/score.py. A worker is a task manager with its one SDK worker
process. Each line is a new cluster and a new command; the first of each size is the in-process
runner, without a cluster. The tables are compared, file by file. Columns: seconds of the command,
seconds of its job, bytes that tasks have read from other tasks, those of them that a shuffle has
sent by key (Flink's REST metrics), and the most memory of any SDK worker. Prints Markdown.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.score import write_dataset, write_run
from engines.flink_cluster import FlinkCluster

# A sort must hold at least one record; with 4,000 runs, a block has 16 MB, and sorts are about 40.
_MANAGED_MB = 2_048

_HEADER = (
  "| runs | workers | command, s | job, s | between tasks, MB | by key, MB | peak per worker, MB |"
)


class Measured(NamedTuple):
  """What one command has cost; None where there is no cluster."""

  seconds: float
  peak_mb: float
  job_seconds: float | None = None
  read_mb: float | None = None
  shuffled_mb: float | None = None


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add("--runs", type=int, nargs="+", default=[200, 1_000, 4_000], help="(%(default)s)")
  add("--workers", type=int, nargs="+", default=[1, 2], help="(%(default)s)")
  add("--train", type=int, default=50_000, help="examples (%(default)s)")
  add("--test", type=int, default=10_000, help="examples (%(default)s)")
  add("--stages", action="store_true", help="also list the stages that read most")
  args = parser.parse_args()
  print(f"`python -m benchmarks.flink {' '.join(sys.argv[1:])}`\n")
  print(_HEADER)
  print("|" + "---:|" * (_HEADER.count("|") - 1), flush=True)
  with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
    measure_all(Path(directory), args)


def measure_all(directory: Path, args: argparse.Namespace) -> None:
  """Grows one experiment from size to size, and scores it in each way."""
  write_dataset(directory / "dataset.npz", args.train, args.test)
  written = 0
  for runs in sorted(args.runs):
    with ThreadPoolExecutor() as pool:
      write = lambda run: write_run(directory / "runs", run, args.train, args.test)  # noqa: E731
      list(pool.map(write, range(written, runs)))
    written = runs
    command = [
      *(sys.executable, "-m", "beam_pipelines.cli", "score"),
      f"--experiment={directory}/runs",
      f"--dataset=npz:{directory}/dataset.npz",
    ]
    reference = directory / f"scores-{runs}"
    print_line(runs, "in-process", measure_here([*command, f"--scores={reference}"]))
    for workers in args.workers:
      scores = directory / f"scores-{runs}-{workers}"
      logs = directory / f"flink-{runs}-{workers}"
      with FlinkCluster(logs, task_managers=workers, slots=1, managed_mb=_MANAGED_MB) as cluster:
        measured = measure_on(cluster, [*command, f"--scores={scores}", *cluster.flags])
        print_line(runs, str(workers), measured)
        if args.stages:
          print_stages(cluster)
      if tables(scores) != tables(reference):
        raise SystemExit("the tables differ")


def measure_here(command: list[str]) -> Measured:
  """Runs a command without a cluster."""
  started = time.perf_counter()
  quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
  with subprocess.Popen(command, **quiet) as process:
    peak = max(sampled_megabytes(process, lambda: [process.pid]), default=0.0)
  check(process)
  return Measured(time.perf_counter() - started, peak)


def measure_on(cluster: FlinkCluster, command: list[str]) -> Measured:
  """Runs a command on a cluster that has run none before."""
  started = time.perf_counter()
  with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
    with ThreadPoolExecutor(1) as pool:
      errors = pool.submit(process.stderr.read)
      peak = max(sampled_megabytes(process, cluster.workers), default=0.0)
    if process.returncode:
      sys.stderr.buffer.write(errors.result())
  check(process)
  seconds = time.perf_counter() - started
  (job,) = cluster.get("/jobs/overview")["jobs"]
  read = stage_megabytes(cluster)
  shuffled = sum(megabytes for megabytes, _, by_key in read if by_key)
  total = sum(megabytes for megabytes, _, _ in read)
  return Measured(seconds, peak, job["duration"] / 1e3, total, shuffled)


def sampled_megabytes(process: subprocess.Popen, pids: Any) -> Iterator[float]:
  """Yields the resident memory of the largest of some processes, while a command runs."""
  while process.poll() is None:
    for pid in pids():
      with contextlib.suppress(psutil.NoSuchProcess):
        yield psutil.Process(pid).memory_info().rss / 1e6
    time.sleep(0.1)


def stage_megabytes(cluster: FlinkCluster) -> list[tuple[float, str, bool]]:
  """Returns of each stage how much it has read, its name, and whether that came by key."""
  (job,) = cluster.get("/jobs/overview")["jobs"]
  details = cluster.get(f"/jobs/{job['jid']}")
  by_key = {
    node["id"]: any(edge["ship_strategy"].startswith("Hash") for edge in node.get("inputs", []))
    for node in details["plan"]["nodes"]
  }
  return [
    (stage["metrics"]["read-bytes"] / 1e6, stage["name"], by_key[stage["id"]])
    for stage in details["vertices"]
  ]


def print_stages(cluster: FlinkCluster) -> None:
  """Prints the stages that have read most, as a comment."""
  for megabytes, name, by_key in sorted(stage_megabytes(cluster), reverse=True)[:15]:
    print(f"<!-- {megabytes:8.1f} MB {'by key' if by_key else 'as is'} {name[:150]} -->")


def print_line(runs: int, workers: str, measured: Measured) -> None:
  cells = [measured.job_seconds, measured.read_mb, measured.shuffled_mb]
  shown = [f"{measured.seconds:.1f}", *("" if cell is None else f"{cell:.1f}" for cell in cells)]
  print("|", " | ".join([f"{runs:,}", workers, *shown, f"{measured.peak_mb:.0f}"]), "|", flush=True)


def tables(scores: Path) -> dict[str, bytes]:
  return {
    str(path.relative_to(scores)): path.read_bytes() for path in scores.glob("*/**/*.parquet")
  }


def check(process: subprocess.Popen) -> None:
  if process.returncode:
    raise SystemExit(f"{process.args} ended with {process.returncode}")


if __name__ == "__main__":
  main()
