"""Apache Flink: what a job there needs, and what is refused before it starts."""

from __future__ import annotations

import dataclasses
from typing import Any
from urllib.parse import urlsplit

from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions

from beam_pipelines.launch.endpoints import Endpoint, get_json
from files.errors import UsageError

EMBEDDED = ("[auto]", "[local]")
"""Values of `--flink_master` for a Flink inside the job server's process."""

_FLAG = "--flink_master"

# Flink gives every exchange between two stages buffers of 32 KB for each pair of their copies, and
# `score` has over a hundred stages. Less than this of a task manager, for each slot that the job
# uses, never sufficed; with every table, 160 MB did not either at a parallelism of 2, and 256 did.
_NETWORK_MB = 130
_NETWORK_MB_PER_SLOT = 10


@dataclasses.dataclass(frozen=True)
class Cluster:
  """What Flink's REST interface says of a cluster.

  Attributes:
    url: of that interface.
    on_this_machine: whether it has a loopback address.
    task_managers: how many there are.
    slots: of all of them.
    network_mb: the least memory for buffers that a task manager has.
  """

  url: str
  on_this_machine: bool
  task_managers: int
  slots: int
  network_mb: int

  def __str__(self) -> str:
    return (
      f"{self.url}, {self.task_managers} task managers, {self.slots} slots, "
      f"{self.network_mb} MB of network memory each"
    )


def find_cluster(options: PipelineOptions) -> Cluster | None:
  """Returns the cluster that a job is for, None for an embedded one.

  Raises:
    UsageError: it does not answer, or has nothing to run a job on.
  """
  master = options.view_as(FlinkRunnerOptions).flink_master
  if master in EMBEDDED:
    return None
  url = master.rstrip("/") if "://" in master else f"http://{master}"
  endpoint = Endpoint.parse(_FLAG, urlsplit(url).netloc)
  try:
    overview = _ask(url, "/overview")
    managers = _ask(url, "/taskmanagers")["taskmanagers"]
    network = [manager["totalResource"]["networkMemory"] for manager in managers]
    slots = overview["slots-total"]
  except (KeyError, TypeError):
    raise UsageError(f"{_FLAG}={url} is no REST interface of Flink") from None
  cluster = Cluster(url, endpoint.on_this_machine, len(managers), slots, min(network, default=0))
  if not cluster.slots:
    raise UsageError(f"{_FLAG}={url}: the cluster has no task manager yet")
  return cluster


def use_cluster(cluster: Cluster, options: PipelineOptions) -> None:
  """Sets the parallelism, if it is left open, to all slots: Beam's own choice is 1.

  Raises:
    UsageError: the cluster is too small.
  """
  flink = options.view_as(FlinkRunnerOptions)
  if flink.parallelism < 1:
    flink.parallelism = cluster.slots
  if flink.parallelism > cluster.slots:
    raise UsageError(
      f"--parallelism={flink.parallelism}: {_FLAG}={cluster.url} has {cluster.slots} slots"
    )


def check_network(options: PipelineOptions) -> None:
  """Makes sure that a cluster has memory for the exchanges of a job of very many stages.

  Raises:
    UsageError: it has too little, by far.
  """
  cluster = find_cluster(options)
  if cluster is None:
    return
  parallelism = options.view_as(FlinkRunnerOptions).parallelism
  slots = -(-parallelism // cluster.task_managers)
  needed = slots * (_NETWORK_MB + _NETWORK_MB_PER_SLOT * parallelism)
  if cluster.network_mb < needed:
    raise UsageError(
      f"{_FLAG}={cluster.url}: task managers have {cluster.network_mb} MB of network memory, and "
      f"--parallelism={parallelism} needs more than {needed}: raise taskmanager.memory.network.max "
      "and .fraction in Flink's configuration"
    )


def _ask(url: str, path: str) -> Any:
  return get_json(_FLAG, url, path, "cluster")
