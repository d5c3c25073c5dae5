"""What goes wrong on a cluster, at a moment that the job itself tells."""

import contextlib
import os
import signal
import time
from pathlib import Path

import psutil

from tests.engines.jobs import SECONDS

# Stages, by a part of their names.
TRAINING = "Train chunk"
EVALUATING = "{Read outcomes"
COMBINING = "{Stack training rows"

_SECONDS_TO_START = 30.0
_CHANNELS = 4  # of a worker: control, logging, state and, once it is at work, data


def wait_until(condition, process=None):
  """Waits for something to be true; fails if it takes long, or if a command ends before."""
  deadline = time.monotonic() + SECONDS
  while not condition():
    if process is not None and process.poll() is not None:
      raise AssertionError(f"the command ended before: {process.communicate()[1]}")
    assert time.monotonic() < deadline, "it took too long"
    time.sleep(0.02)


def job_of(cluster, process):
  """Returns the id of the job of a command that has just been started, once it runs."""
  before = {job["jid"] for job in _jobs(cluster)}

  def new():
    return [job for job in _jobs(cluster) if job["jid"] not in before]

  wait_until(lambda: any(job["state"] == "RUNNING" for job in new()), process)
  (job,) = new()
  return job["jid"]


def stage_of(cluster, job, name):
  """Returns where to ask for a stage of a job, named by a part of its name."""
  stages = cluster.get(f"/jobs/{job}")["vertices"]
  return f"/jobs/{job}/vertices/{next(stage['id'] for stage in stages if name in stage['name'])}"


def kill_workers_during(cluster, process, stage, needed=lambda: True):
  """Kills all workers of a cluster at a moment at which a stage of a job cannot do without them.

  They stand still while it is decided whether this is such a moment. None of them may have only
  started: Flink waits three minutes for the data of one killed then. So while the stage runs, those
  at work go on standing still, and only those that start go on.

  Args:
    cluster: where the job runs.
    process: the command whose job it is.
    stage: as `stage_of` names it.
    needed: what must be true besides.
  """
  hold_until = float("inf")

  def killed():
    nonlocal hold_until
    workers = cluster.workers()
    _signal(workers, signal.SIGSTOP)
    starting = [pid for pid in workers if not _is_at_work(pid)]
    hit = bool(workers) and runs(cluster, stage) and needed()
    if hit and not starting:
      _signal(workers, signal.SIGKILL)
      return True
    if hit:
      hold_until = min(hold_until, time.monotonic() + _SECONDS_TO_START)
    held = hit and time.monotonic() < hold_until  # else one that starts waits for one that stands
    _signal(starting if held else workers, signal.SIGCONT)
    return False

  wait_until(killed, process)


def kill_workers_in_training(cluster, process, job, experiment, reference):
  """Kills all workers while some runs of an experiment are complete and some are not."""
  whole = len(trained(reference.runs))
  training = stage_of(cluster, job, TRAINING)
  kill_workers_during(
    cluster, process, training, needed=lambda: 0 < len(trained(experiment)) < whole
  )


def runs(cluster, stage):
  """Whether a part of a stage runs."""
  return any(part["status"] == "RUNNING" for part in cluster.get(stage)["subtasks"])


def state(cluster, job):
  return cluster.get(f"/jobs/{job}")["state"]


def failures(cluster, job):
  """Returns how often something of a job failed, which it may have survived."""
  return len(cluster.get(f"/jobs/{job}/exceptions")["exceptionHistory"]["entries"])


def trained(experiment):
  """Returns the complete runs of an experiment, and when each was written."""
  return {path: path.stat().st_mtime_ns for path in Path(experiment).glob("*/*/aux_arrays.npz")}


def check_nothing_is_left(cluster, workers):
  """After a cluster has stopped, no worker is there, nor what they have written or those killed."""
  wait_until(lambda: not any(map(psutil.pid_exists, workers)))
  assert [path.name for path in cluster.scratch.iterdir()] == []


def _signal(pids, number):
  for pid in pids:
    with contextlib.suppress(ProcessLookupError):
      os.kill(pid, number)


def _is_at_work(pid):
  try:
    connections = {each.raddr for each in psutil.Process(pid).net_connections("tcp") if each.raddr}
    return len(connections) >= _CHANNELS
  except psutil.Error:
    return False


def _jobs(cluster):
  return cluster.get("/jobs/overview")["jobs"]
