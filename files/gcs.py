"""gs://, opened by gcsfs, with our patience in place of gcsfs's.

gcsfs repeats a request six times, does not count, and takes a body that was cut for an error. So
each request passes through a middleware of aiohttp, its HTTP client, which reads the whole answer
and repeats what fails for a passing reason; gcsfs gets to see what is final.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import aiohttp
from fsspec import AbstractFileSystem
from gcsfs.core import (
  GCSFileSystem,  # gcsfs's other class asks what kind of bucket it is, each time
)
from gcsfs.retry import ChecksumError

from files import retry
from files.base import FileInfo, missing
from files.read_ahead import map_ahead
from files.remote import CONCURRENT_REQUESTS, PIECE_BYTES, RemoteFiles, abandon

TIMEOUT = 60.0  # seconds without a byte

_PASSING_STATUS = frozenset((408, 429, 500, 502, 503, 504))
_NOT_FOUND, _GONE, _RANGE_NOT_SATISFIABLE = 404, 410, 416
_PASSING_ERRORS = (
  aiohttp.ClientConnectionError,
  aiohttp.ClientPayloadError,
  ConnectionError,
  TimeoutError,
)
_EXPIRED = b"Invalid Credentials"  # gcsfs asks for new ones then
_CONCURRENT_READS = 4
_CONCURRENT_EMULATED = 6  # an emulator answers one at a time, and turns away what it cannot queue
_LISTED = "items(name,size),nextPageToken"
_BOUNDARY = b"--==0=="


class StatusError(Exception):
  """An answer that says no. It is no `OSError`, which aiohttp and gcsfs would take for a fault."""

  def __init__(self, status: int):
    super().__init__(f"HTTP status {status}")
    self.status = status


class _LostUploadError(Exception):
  """The server has forgotten an upload, which it may do any time."""

  def __init__(self) -> None:
    super().__init__("the server has forgotten the upload")


class GcsFiles(RemoteFiles):
  """A bucket."""

  def __init__(self, root: str, bucket: str):
    system = _connect()
    at_once = CONCURRENT_REQUESTS if system.on_google else _CONCURRENT_EMULATED
    super().__init__(root, system, bucket, has_directories=False, at_once=at_once)

  def exists(self, path: str) -> bool:
    try:
      self._describe(path)
    except FileNotFoundError:
      return False
    return True

  def size(self, path: str) -> int:
    return int(self._describe(path)["size"])

  def read(self, path: str) -> bytes:
    headers, first = self._get(path, 0, PIECE_BYTES)
    total = _total(headers)
    if total <= len(first):
      return first
    generation = headers.get("x-goog-generation")  # all pieces are of one

    def read(start: int) -> bytes:
      return self._get(path, start, start + PIECE_BYTES, generation)[1]

    starts = range(len(first), total, PIECE_BYTES)
    rest = (reading.result() for _, reading in map_ahead(read, starts, _CONCURRENT_READS))
    return b"".join([first, *rest])

  def read_range(self, path: str, start: int, stop: int) -> bytes:
    return self._get(path, start, stop)[1]

  def write(self, path: str, content: bytes) -> None:
    self._check_file(path)
    # gcsfs sends what is small in one request, between two lines that it might hold itself.
    in_pieces = len(content) > PIECE_BYTES or content.endswith(b"\r") or _BOUNDARY in content
    upload = self._upload_in_pieces if in_pieces else self._system.pipe_file
    self._call(path, upload, bytes(content))

  def _upload_in_pieces(self, path: str, content: bytes) -> None:
    file = self._system.open(path, "wb", block_size=PIECE_BYTES)
    try:
      for start in range(0, len(content), PIECE_BYTES):
        file.write(content[start : start + PIECE_BYTES])
      file.close()
    finally:
      abandon(file)

  def _find(self, directory: str) -> list[FileInfo]:
    bucket, _, name = self._locate(directory).partition("/")
    prefix = f"{name}/" if name else ""
    found: list[FileInfo] = []
    page: dict[str, Any] = {"nextPageToken": None}
    while "nextPageToken" in page:
      # gcsfs's own listing fetches all that is known of each object, and where there is none, all
      # objects whose names merely begin like the directory's.
      options = {"prefix": prefix, "pageToken": page["nextPageToken"], "fields": _LISTED}
      with self._calling(directory):
        page = self._system.call("GET", "b/{}/o", bucket, json_out=True, **options)
      found += [
        FileInfo(item["name"][len(prefix) :], int(item["size"])) for item in page.get("items", [])
      ]
    return found

  def _is_passing(self, error: Exception) -> bool:
    """All else has been repeated already."""
    return isinstance(error, _LostUploadError | ChecksumError)

  def _describe(self, path: str) -> dict[str, Any]:
    bucket, _, name = self._locate(path).partition("/")
    if not name:
      raise missing(path)
    with self._calling(path):
      return self._system.call("GET", "b/{}/o/{}", bucket, name, json_out=True)

  def _get(
    self, path: str, start: int, stop: int, generation: str | None = None
  ) -> tuple[Mapping[str, str], bytes]:
    """Returns a range of an object with the headers of the answer."""
    if start >= stop:
      return {}, b""
    url = self._system.url(self._locate(path))
    headers = {"Range": f"bytes={start}-{stop - 1}"}
    with self._calling(path):
      try:
        return self._system.call("GET", url, headers=headers, generation=generation)
      except StatusError as error:
        if error.status != _RANGE_NOT_SATISFIABLE:  # which is what an empty object is
          raise
        return {}, b""


def _connect() -> AbstractFileSystem:
  return GCSFileSystem(
    consistency="md5",
    requests_timeout=aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT, sock_read=TIMEOUT),
    session_kwargs={"auto_decompress": False, "middlewares": [_with_patience]},
    skip_instance_cache=True,
    use_listings_cache=False,
  )


async def _with_patience(
  request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
  """Sends a request until it is answered, whole; a middleware of aiohttp."""
  # An object that is stored compressed is given as it lies there only to who says so.
  downloads = request.url.path.startswith("/download/")
  request.headers["Accept-Encoding"] = "gzip" if downloads else "identity"

  async def ask() -> aiohttp.ClientResponse:
    response = await send(request)
    content = await response.read()
    status = response.status
    if status in (_NOT_FOUND, _GONE) and "upload_id" in request.url.query:
      raise _LostUploadError
    expired = status == 401 and _EXPIRED in content
    if status >= 400 and status not in (_NOT_FOUND, 499) and not expired:
      raise StatusError(status)
    return response

  return await retry.repeat_async(ask, _is_passing)


def _is_passing(error: Exception) -> bool:
  if isinstance(error, StatusError):
    return error.status in _PASSING_STATUS
  return isinstance(error, _PASSING_ERRORS) and not isinstance(error, aiohttp.ClientSSLError)


def _total(headers: Mapping[str, str]) -> int:
  """Returns how many bytes an object has of which a range was asked for."""
  match = re.search(r"/(\d+)$", headers.get("Content-Range", ""))
  return int(match[1]) if match else 0
