"""Google Cloud Storage on this machine: the emulator, and a proxy before it that makes faults."""

import contextlib
import dataclasses
import http.client
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from apache_beam.internal.gcp import auth

from beam_pipelines.storage import gcs as storage_gcs

BUCKET = "bucket"

_ENVIRONMENT = {
  "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # its probing takes gcsfs a minute without Google
  "GOOGLE_CLOUD_PROJECT": "project",
  "NO_GCE_CHECK": "true",
}


@dataclasses.dataclass
class Fault:
  """What the proxy does to requests instead of passing them on.

  Attributes:
    kind: "status" answers `status`; "reset" resets the connection before the request reaches the
      server; "lose" resets it after the server has done what was asked, before its answer; "cut"
      resets it in the middle of the answer's body; "stall" waits `seconds` before passing on.
    requests: which requests, a regular expression searched for in "METHOD /path?query".
    times: how many of them.
    status: of the answer.
    seconds: to wait.
  """

  kind: str
  requests: str = ""
  times: int = 1
  status: int = 503
  seconds: float = 0.0


class Proxy:
  """Passes requests on to the emulator, but for those that a fault is planned for.

  Attributes:
    seen: the requests since the last `plan`, as "METHOD /path?query".
    connections: how many connections they came on.
    most_at_once: how many of them were in flight together.
  """

  def __init__(self, port: int):
    self.emulator_port = port
    self._server = _Server(("127.0.0.1", 0), _Handler)
    self._server.proxy = self
    self._lock = threading.Lock()
    self._in_flight = 0
    self.url = f"http://127.0.0.1:{self._server.server_port}"
    self.plan()

  def plan(self, *faults: Fault) -> None:
    """Forgets what was seen and planned before; plans these faults."""
    with self._lock:
      self.seen: list[str] = []
      self.connections = self.most_at_once = 0
      self._faults = list(faults)

  def requests(self, pattern: str) -> list[str]:
    """Returns the requests seen that match a regular expression."""
    return [request for request in self.seen if re.search(pattern, request)]

  def connect(self) -> None:
    with self._lock:
      self.connections += 1

  @contextlib.contextmanager
  def handling(self, request: str) -> Iterator[Fault | None]:
    """Yields the fault that is planned for a request."""
    with self._lock:
      self.seen.append(request)
      self._in_flight += 1
      self.most_at_once = max(self.most_at_once, self._in_flight)
      matching = (f for f in self._faults if f.times and re.search(f.requests, request))
      fault = next(matching, None)
      if fault:
        fault.times -= 1
    try:
      yield fault
    finally:
      with self._lock:
        self._in_flight -= 1

  @contextlib.contextmanager
  def running(self) -> Iterator["Proxy"]:
    thread = threading.Thread(target=self._server.serve_forever, daemon=True)
    thread.start()
    yield self
    self._server.shutdown()
    self._server.server_close()


class _Server(ThreadingHTTPServer):
  proxy: Proxy

  def handle_error(self, *arguments: object) -> None:
    pass  # clients that hang up are what this is for


class _Handler(BaseHTTPRequestHandler):
  protocol_version = "HTTP/1.1"

  def setup(self) -> None:
    super().setup()
    self.server.proxy.connect()

  def _handle(self) -> None:
    body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
    with self.server.proxy.handling(f"{self.command} {self.path}") as fault:
      self._respond(fault, body)

  def _respond(self, fault: Fault | None, body: bytes) -> None:
    kind = fault.kind if fault else None
    if kind == "reset":
      return self._reset()
    if kind == "status":
      return self._answer(fault.status, [], b"planned")
    if kind == "stall":
      time.sleep(fault.seconds)
    answer, content = self._ask_emulator(body)
    if kind == "lose":
      return self._reset()
    self._answer(answer.status, answer.getheaders(), content, cut=kind == "cut")

  do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _handle  # noqa: N815 # http.server's names

  def _ask_emulator(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(
      "127.0.0.1", self.server.proxy.emulator_port, timeout=30
    )
    with contextlib.closing(connection):
      connection.request(self.command, self.path, body, dict(self.headers))
      answer = connection.getresponse()
      return answer, answer.read()

  def _answer(
    self, status: int, headers: list[tuple[str, str]], content: bytes, cut: bool = False
  ) -> None:
    self.send_response(status)
    for name, value in headers:
      if name.lower() not in ("content-length", "connection", "server", "date"):
        self.send_header(name, value)
    self.send_header("Content-Length", str(len(content)))
    self.end_headers()
    self.wfile.write(content[: len(content) // 2] if cut else content)
    if cut:
      self._reset()

  def _reset(self) -> None:
    """Closes the connection so that the other side's kernel says "connection reset by peer"."""
    self.close_connection = True
    self.wfile.flush()
    time.sleep(0.05)  # a reset overtakes what was sent and not yet read
    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    self.connection.close()

  def log_message(self, *arguments: object) -> None:
    pass


@contextlib.contextmanager
def emulated_gcs(monkeypatch_context) -> Iterator[Proxy]:
  """Starts emulator and proxy and points this process's Google clients at them.

  Args:
    monkeypatch_context: pytest's MonkeyPatch; whoever gives it undoes it.
  """
  port = _free_port()
  command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--in-memory", "--quiet"]
  command += ["--host=127.0.0.1", f"--port={port}", f"--default-bucket={BUCKET}"]
  emulator = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
  try:
    _wait_for(port, emulator)
    with Proxy(port).running() as proxy:
      for name, value in {**_ENVIRONMENT, "STORAGE_EMULATOR_HOST": proxy.url}.items():
        monkeypatch_context.setenv(name, value)
      # Without this, looking for credentials that are not there takes Beam 20 seconds.
      monkeypatch_context.setattr(auth._Credentials, "_credentials_init", True)
      monkeypatch_context.setattr(
        storage_gcs, "_clients", storage_gcs._Clients()
      )  # those of another server
      yield proxy
  finally:
    emulator.terminate()
    emulator.wait()


def _free_port() -> int:
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    return probe.getsockname()[1]


def _wait_for(port: int, process: subprocess.Popen) -> None:
  for _ in range(300):
    if process.poll() is not None:
      raise RuntimeError(f"the emulator ended with status {process.returncode}")
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
      return
    time.sleep(0.1)
  raise TimeoutError("the emulator does not answer")
