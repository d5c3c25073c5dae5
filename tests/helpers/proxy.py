"""A proxy before an emulator that makes faults, and the starting of emulators."""

import contextlib
import dataclasses
import http.client
import json
import os
import re
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote


@dataclasses.dataclass
class Fault:
  """What the proxy does to requests instead of passing them on.

  Attributes:
    kind: "status" answers `status`; "reset" resets the connection before the request reaches the
      server; "lose" resets it after the server has done what was asked, before its answer; "cut"
      resets it in the middle of the answer's body; "stall" waits `seconds` before passing on;
      "call" calls `action`, and resets.
    requests: which requests, a regular expression searched for in "METHOD /path?query".
    times: how many of them.
    every: only the n-th, 2n-th, … of them.
    status: of the answer.
    seconds: to wait.
    action: what to call.
  """

  kind: str
  requests: str = ""
  times: int = 1
  every: int = 1
  status: int = 503
  seconds: float = 0.0
  action: Callable[[], object] = lambda: None
  _matching: int = 0

  def meets(self, request: str) -> bool:
    """Whether it is this request's turn; it counts as one of them then."""
    if not self.times or not re.search(self.requests, request):
      return False
    self._matching += 1
    if self._matching % self.every:
      return False
    self.times -= 1
    return True


class Proxy:
  """Passes requests on to the emulator, but for those that a fault is planned for.

  Attributes:
    seen: the requests since the last `plan`, as "METHOD /path?query", with the object's name where
      that is in the body.
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
      fault = next((fault for fault in self._faults if fault.meets(request)), None)
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
  disable_nagle_algorithm = True  # otherwise each answer takes 40 ms

  def setup(self) -> None:
    super().setup()
    self.server.proxy.connect()

  def _handle(self) -> None:
    body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
    with self.server.proxy.handling(f"{self.command} {self.path}{_name(body)}") as fault:
      self._respond(fault, body)

  def _respond(self, fault: Fault | None, body: bytes) -> None:
    kind = fault.kind if fault else None
    if kind == "call":
      fault.action()
    if kind in ("call", "reset"):
      return self._reset()
    if kind == "status":
      return self._answer(fault.status, [], b"planned")
    if kind == "stall":
      time.sleep(fault.seconds)
    answer, content = self._ask_emulator(body)
    if kind == "lose":
      return self._reset()
    self._answer(answer.status, answer.getheaders(), content, cut=kind == "cut")

  do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = _handle  # noqa: N815 # http.server's names

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
    length = dict(headers).get("Content-Length", "0") if self.command == "HEAD" else len(content)
    self.send_header("Content-Length", str(length))
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


def _name(body: bytes) -> str:
  """Returns what a request on Cloud Storage for a small upload says in its body: of what object."""
  match = re.match(rb"--==0==\n.*\n\n(.*)\n", body)
  return f"&name={quote(json.loads(match[1])['name'], safe='')}" if match else ""


@contextlib.contextmanager
def behind_proxy(command: Sequence[str], environment: dict[str, str]) -> Iterator[Proxy]:
  """Starts an emulator and the proxy before it.

  Args:
    command: starts the emulator; `{port}` stands for where it is to listen.
    environment: what to add to this process's.
  """
  port = free_port()
  emulator = subprocess.Popen(
    [argument.format(port=port) for argument in command],
    env={**os.environ, **environment},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  try:
    _wait_for(port, emulator)
    with Proxy(port).running() as proxy:
      yield proxy
  finally:
    emulator.terminate()
    emulator.wait()


def free_port() -> int:
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
