"""Where the Python code of a portable runner's job runs, and what is missing for it."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

from apache_beam.options.pipeline_options import PortableOptions, WorkerOptions

from beam_pipelines.launch.endpoints import Endpoint, check_grpc
from files.errors import UsageError

LOOPBACK, PROCESS, EXTERNAL, DOCKER = "LOOPBACK", "PROCESS", "EXTERNAL", "DOCKER"

# Flink and Spark stop their workers whenever a stage ends, and start new ones for the next. Kept
# for so long, a worker is still there. So is a dead one: a job must not be restarted sooner.
_KEEP_MILLISECONDS = 20_000


def prepare_workers(options: PortableOptions, *, here: bool) -> None:
  """Checks the flags that say how workers start, and fills in what they leave open.

  Args:
    options: of the job; the environment may be set, and how long it is kept.
    here: whether what starts the workers runs on this machine.

  Raises:
    UsageError: no worker could start.
  """
  kind = _kind(options)
  options.environment_type = kind
  if kind == LOOPBACK and not here:
    raise UsageError(
      f"--environment_type={LOOPBACK} works in this process, which machines elsewhere cannot "
      f"reach: use {PROCESS}, {EXTERNAL} or {DOCKER}"
    )
  if kind == PROCESS:
    _prepare_processes(options, here)
  if kind == EXTERNAL:
    _check_pool(options, here)
  if kind != LOOPBACK and int(options.environment_cache_millis) == 0:
    options.environment_cache_millis = _KEEP_MILLISECONDS


def worker_command() -> str:
  """Returns the path of `heldout-worker`, as it is installed here."""
  return str(Path(sysconfig.get_path("scripts")) / "heldout-worker")


def _kind(options: PortableOptions) -> str:
  if options.environment_type:
    return options.environment_type
  if options.environment_config or options.view_as(WorkerOptions).sdk_container_image:
    return DOCKER  # as Beam understands it
  return PROCESS  # Beam's own choice is an image of its, which has no Heldout


def _prepare_processes(options: PortableOptions, here: bool) -> None:
  if options.lookup_environment_option("process_command"):
    return
  if not options.environment_config:
    options.environment_config = json.dumps({"command": worker_command()})
  try:
    command = json.loads(options.environment_config)["command"]
  except (ValueError, TypeError, KeyError):
    raise UsageError(
      f"--environment_config={options.environment_config} is not what {PROCESS} takes: write "
      '{"command": "/path/of/heldout-worker"}'
    ) from None
  if here and not Path(command).is_file():
    raise UsageError(f"--environment_config: there is no {command}, which would start the workers")


def _check_pool(options: PortableOptions, here: bool) -> None:
  """Workers elsewhere may know their pool by a name that means nothing, or this machine, here."""
  address = options.environment_config or options.lookup_environment_option(
    "external_service_address"
  )
  if not address:
    raise UsageError(
      f"--environment_type={EXTERNAL} needs --environment_config=HOST:PORT, where a pool of "
      "workers listens"
    )
  endpoint = Endpoint.parse("--environment_config", address)
  if here:
    check_grpc("--environment_config", endpoint, "pool of workers")
