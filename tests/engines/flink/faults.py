"""What goes wrong on a cluster, at a moment that the job itself tells."""

import contextlib
import os
import signal
import time
from pathlib import Path

import psutil

from tests.engines.jobs import SECONDS

_CHANNELS = 4  # of a worker: control, logging, state and, once it is at work, data


def wait_until(condition, process=None):
  """Waits for something to be true; fails if it takes long, or if a command ends before."""
  deadline = time.monotonic() + SECONDS
  while not condition():
    if process is not None and process.poll() is not None:
      raise AssertionError(f"the command ended before: {process.communicate()[1]}")
    assert time.monotonic() < deadline, "it took too long"
    time.sleep(0.05)


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


def began(cluster, stage):
  """Whether a stage has begun."""
  return any(part["status"] != "CREATED" for part in cluster.get(stage)["subtasks"])


def learners(cluster, before=()):
  """Returns the workers that are at work with TensorFlow, besides those that were there before.

  Those that only start are none: Flink waits three minutes for the data of one killed then.
  """
  return [pid for pid in set(cluster.workers()) - set(before) if _learns(pid)]


def state(cluster, job):
  return cluster.get(f"/jobs/{job}")["state"]


def failures(cluster, job):
  """Returns how often something of a job failed, which it may have survived."""
  return len(cluster.get(f"/jobs/{job}/exceptions")["exceptionHistory"]["entries"])


def kill(pids):
  assert pids
  for pid in pids:
    with contextlib.suppress(ProcessLookupError):
      os.kill(pid, signal.SIGKILL)


def trained(experiment):
  """Returns the complete runs of an experiment, and when each was written."""
  return {path: path.stat().st_mtime_ns for path in Path(experiment).glob("*/*/aux_arrays.npz")}


def check_nothing_is_left(cluster, workers):
  """After a cluster has stopped, no worker is there, nor what they have written or those killed."""
  wait_until(lambda: not any(map(psutil.pid_exists, workers)))
  assert [path.name for path in cluster.scratch.iterdir()] == []


def _learns(pid):
  try:
    process = psutil.Process(pid)
    loaded = any("tensorflow" in entry.path for entry in process.memory_maps())
    connections = {each.raddr for each in process.net_connections("tcp") if each.raddr}
    return loaded and len(connections) >= _CHANNELS
  except psutil.Error:
    return False


def _jobs(cluster):
  return cluster.get("/jobs/overview")["jobs"]
