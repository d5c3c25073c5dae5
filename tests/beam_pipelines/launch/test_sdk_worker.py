"""The worker process: it asks the runner how to work, and connects to it."""

import queue
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from apache_beam.portability.api import (
  beam_fn_api_pb2_grpc,
  beam_provision_api_pb2,
  beam_provision_api_pb2_grpc,
)


class _Runner(
  beam_provision_api_pb2_grpc.ProvisionServiceServicer, beam_fn_api_pb2_grpc.BeamFnControlServicer
):
  def __init__(self):
    self.asked, self.connected = queue.Queue(), queue.Queue()
    self.server = grpc.server(ThreadPoolExecutor(8))
    beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(self, self.server)
    beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(self, self.server)
    self.url = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
    self.server.start()

  def GetProvisionInfo(self, request, context):  # noqa: N802 # the name is Beam's
    self.asked.put(dict(context.invocation_metadata())["worker_id"])
    info = beam_provision_api_pb2.ProvisionInfo()
    info.control_endpoint.url = info.logging_endpoint.url = self.url
    info.pipeline_options["beam:option:job_name:v1"] = "job"
    return beam_provision_api_pb2.GetProvisionInfoResponse(info=info)

  def Control(self, responses, context):  # noqa: N802
    self.connected.put(dict(context.invocation_metadata())["worker_id"])
    yield from ()  # and the stream ends, as when a job does


@pytest.fixture
def runner():
  runner = _Runner()
  yield runner
  runner.server.stop(None)


def test_a_worker_connects_under_its_name_and_ends_with_the_job(runner):
  command = [sys.executable, "-m", "beam_pipelines.launch.sdk_worker", "--id=7-1"]
  with subprocess.Popen([*command, f"--provision_endpoint={runner.url}"]) as worker:
    assert runner.asked.get(timeout=60) == "7-1"
    assert runner.connected.get(timeout=60) == "7-1"
    assert worker.wait(timeout=60) == 0
