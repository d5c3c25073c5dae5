"""Services that a job needs: whether they are there, told within seconds."""

from __future__ import annotations

import ipaddress
import json
import socket
import urllib.request
from typing import Any, NamedTuple

import grpc

from files.errors import UsageError

_SECONDS = 5.0


class Endpoint(NamedTuple):
  """Where a service listens."""

  host: str
  port: int

  @property
  def on_this_machine(self) -> bool:
    """Whether it is a loopback address, which names this machine on this one only."""
    if self.host == "localhost":
      return True
    try:
      return ipaddress.ip_address(self.host).is_loopback
    except ValueError:
      return False

  @classmethod
  def parse(cls, flag: str, text: str) -> Endpoint:
    """Splits `HOST:PORT`.

    Raises:
      UsageError: it is nothing like that.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
      raise UsageError(f"{flag}={text} is not HOST:PORT, such as localhost:8099")
    return cls(host.strip("[]"), int(port))

  def __str__(self) -> str:
    host = f"[{self.host}]" if ":" in self.host else self.host
    return f"{host}:{self.port}"


def check_grpc(flag: str, endpoint: Endpoint, what: str) -> None:
  """Makes sure that a gRPC service listens.

  Raises:
    UsageError: nothing answers within seconds.
  """
  reason = _connection_error(endpoint)
  if reason is None:
    with grpc.insecure_channel(str(endpoint)) as channel:
      try:
        grpc.channel_ready_future(channel).result(_SECONDS)
        return
      except grpc.FutureTimeoutError:
        reason = "something listens that is no gRPC service"
  raise UsageError(f"{flag}={endpoint}: no {what} answers there: {reason}")


def get_json(flag: str, url: str, path: str, what: str) -> Any:
  """Returns what a REST service answers to a path below its URL.

  Raises:
    UsageError: it does not, within five seconds.
  """
  try:
    with urllib.request.urlopen(f"{url}{path}", timeout=_SECONDS) as reply:
      return json.load(reply)
  except (OSError, ValueError) as error:
    reason = getattr(error, "reason", error)
    text = getattr(reason, "strerror", None) or str(reason).partition("\n")[0]
    raise UsageError(f"{flag}={url}: no {what} answers there: {text.lower()}") from None


def _connection_error(endpoint: Endpoint) -> str | None:
  try:
    with socket.create_connection(endpoint, _SECONDS):
      return None
  except TimeoutError:
    return f"no connection within {_SECONDS:.0f} seconds"
  except OSError as error:
    return (error.strerror or str(error)).lower()
