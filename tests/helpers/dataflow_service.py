"""Dataflow's jobs API on this machine: accepts a job over HTTP and runs it in a worker process.

`--dataflow_endpoint` of a `Service` makes Beam's DataflowRunner submit there. The worker gets what
Dataflow's would: the pipeline that was staged on gs://, and nothing of the submitting process.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

JOB = "2026-01-01_00_00_00-1"

_JOBS = re.compile(r"/v1b3/projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)/jobs")
_EXIT_STATES = {None: "JOB_STATE_RUNNING", 0: "JOB_STATE_DONE"}


class Service:
  """A service for one job.

  Attributes:
    endpoint: for `--dataflow_endpoint`.
    job: the job that was submitted, as JSON; None before.
    where: project and region that it was submitted to.
    holds_on: whether to leave the job running without a worker.
  """

  def __init__(self, holds_on: bool = False):
    self._server = _Server(("127.0.0.1", 0), _Handler)
    self._server.service = self
    self._worker: subprocess.Popen | None = None
    self.endpoint = f"http://localhost:{self._server.server_port}"
    self.holds_on = holds_on
    self.job = None
    self.where = None

  @contextlib.contextmanager
  def running(self) -> Iterator["Service"]:
    thread = threading.Thread(target=self._server.serve_forever, daemon=True)
    thread.start()
    with tempfile.TemporaryFile() as self._log:
      try:
        yield self
      finally:
        self._server.shutdown()
        self._server.server_close()
        if self._worker:
          self._worker.kill()
          self._worker.wait()

  def submit(self, job: dict, where: dict) -> dict:
    self.job, self.where = job, where
    pipeline = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
    if not self.holds_on:
      script = Path(__file__).with_name("dataflow_worker.py")
      self._worker = subprocess.Popen(
        [sys.executable, script, pipeline],
        cwd=tempfile.gettempdir(),
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=self._log,
        stderr=self._log,
      )
    return self.describe()

  def describe(self) -> dict:
    status = self._worker.poll() if self._worker else None
    state = _EXIT_STATES.get(status, "JOB_STATE_FAILED")
    return {"id": JOB, "name": self.job["name"], "currentState": state}

  def messages(self) -> dict:
    if self.describe()["currentState"] != "JOB_STATE_FAILED":
      return {}
    self._log.seek(0)
    message = {
      "time": "2026-01-01T00:00:00Z",
      "messageImportance": "JOB_MESSAGE_ERROR",
      "messageText": self._log.read().decode(),
    }
    return {"jobMessages": [message]}


class _Server(ThreadingHTTPServer):
  service: Service


class _Handler(BaseHTTPRequestHandler):
  def do_POST(self) -> None:  # http.server's name
    body = self.rfile.read(int(self.headers["Content-Length"]))
    where = _JOBS.match(self.path)
    self._answer(self.server.service.submit(json.loads(body), where.groupdict()))

  def do_GET(self) -> None:  # http.server's name
    service = self.server.service
    self._answer(service.messages() if "/messages" in self.path else service.describe())

  def _answer(self, value: dict) -> None:
    content = json.dumps(value).encode()
    self.send_response(200)
    self.send_header("Content-Type", "application/json")
    self.send_header("Content-Length", str(len(content)))
    self.end_headers()
    self.wfile.write(content)

  def log_message(self, *arguments: object) -> None:
    pass
