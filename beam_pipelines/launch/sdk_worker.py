"""`heldout-worker`: the process that `--environment_type=PROCESS` starts on each worker.

Beam's containers do the same, after installing what a job brings along; here Heldout is installed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import grpc
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
from google.protobuf import json_format

from files import scratch

_HARNESS = "apache_beam.runners.worker.sdk_worker_main"
_SECONDS = 60.0


def main(argv: Sequence[str] | None = None) -> None:
  """Asks the runner how to work, then becomes Beam's worker process."""
  parser = argparse.ArgumentParser("heldout-worker", description=(__doc__ or "").partition("\n")[0])
  parser.add_argument("--id", required=True)
  parser.add_argument("--provision_endpoint", required=True)
  args, _ = parser.parse_known_args(argv)
  scratch.remove_leftovers()
  environment = {**os.environ, **_environment(args.id, args.provision_endpoint)}
  os.execve(sys.executable, [sys.executable, "-m", _HARNESS], environment)


def _environment(worker: str, endpoint: str) -> dict[str, str]:
  with grpc.insecure_channel(endpoint) as channel:
    info = (
      beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
      .GetProvisionInfo(
        beam_provision_api_pb2.GetProvisionInfoRequest(),
        metadata=[("worker_id", worker)],
        timeout=_SECONDS,
        wait_for_ready=True,
      )
      .info
    )
  return {
    "WORKER_ID": worker,
    "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
    "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    "CONTROL_API_SERVICE_DESCRIPTOR": str(info.control_endpoint),
    "LOGGING_API_SERVICE_DESCRIPTOR": str(info.logging_endpoint),
  }


if __name__ == "__main__":
  main()
