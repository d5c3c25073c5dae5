"""Beam's file system for gs://, with patience: one retry policy, counted, and lasting connections.

Beam makes a new client, and with it new connections, for every call, and reports errors in the
types of Google's libraries. Here each thread keeps one client, every request that fails for a
passing reason is repeated and counted, and what cannot be helped becomes an `OSError`.
"""

from __future__ import annotations

import errno
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import requests
from apache_beam.io.filesystem import BeamIOError, FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp import gcsio
from apache_beam.io.gcp.gcsfilesystem import GCSFileSystem
from apache_beam.metrics.metric import Metrics
from apache_beam.options.pipeline_options import PipelineOptions
from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError, ServiceUnavailable
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.fileio import BlobReader
from google.cloud.storage.retry import _should_retry as is_transient

# In seconds.
FIRST_WAIT, LONGEST_WAIT = 1.0, 32.0
PATIENCE = 600.0
TIMEOUT = 60.0

_CHUNK_BYTES = 1 << 24
_LOST_UPLOAD = (404, 410)
_GOOGLE_ERRORS = (
  GoogleAPIError,
  GoogleAuthError,
  InvalidResponse,
  DataCorruption,
  requests.RequestException,
)


class RetryCount:
  """Counts repeated requests of this process, and in Beam's metric `heldout:gcs_retries`."""

  def __init__(self) -> None:
    self._lock = threading.Lock()
    self._count = 0
    self._metric = Metrics.counter("heldout", "gcs_retries")

  def __call__(self, error: Exception) -> None:
    """Counts one; the signature is that of a `Retry`'s `on_error`."""
    with self._lock:
      self._count += 1
    self._metric.inc()

  @property
  def total(self) -> int:
    """How many there were."""
    return self._count


retries = RetryCount()


def retry_policy(predicate: Callable[[Exception], bool]) -> Retry:
  """Returns how to repeat what fails as `predicate` says: again and again until `PATIENCE` ends.

  The waits are drawn from 0 to 1 s, then to 2 s, 4 s, … 32 s, so that many workers that failed
  together do not come back together.
  """
  return Retry(
    predicate=predicate,
    initial=FIRST_WAIT,
    multiplier=2.0,
    maximum=LONGEST_WAIT,
    timeout=PATIENCE,
    on_error=retries,
  )


def restarting_lost_uploads(write: Callable[[], None]) -> Callable[[], None]:
  """Makes a write start over when the server has forgotten the upload, which it may do any time."""
  return retry_policy(_is_lost_upload)(write)


def patient_file_system(path: str) -> FileSystem:
  """Returns Beam's file system for a path; that for gs:// uses this thread's client."""
  system = FileSystems.get_filesystem(path)
  if isinstance(system, GCSFileSystem):
    system._gcsIO = functools.partial(_this_threads_client, system._pipeline_options)
  return system


@contextmanager
def explained_errors(path: str) -> Iterator[None]:
  """Turns errors of Beam and of Google's libraries into plain ones that name the path in a line.

  Raises:
    FileNotFoundError: there is no such file or bucket.
    OSError: anything else that was not a passing fault, or that outlasted our patience.
  """
  try:
    yield
  except (*_GOOGLE_ERRORS, BeamIOError) as error:
    cause = _innermost(error)
    if _status(cause) == 404:
      raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error
    if isinstance(cause, OSError) and not isinstance(cause, _GOOGLE_ERRORS):
      raise cause from error
    raise OSError(f"{path}: {_describe(cause)}") from error


def delete_objects(system: GCSFileSystem, paths: Sequence[str]) -> None:
  """Deletes objects that may or may not be there, a hundred per request."""
  for path, status in system._gcsIO().delete_batch(list(paths)):
    if status:
      raise OSError(f"{path}: cannot be deleted: HTTP status {status}")


class _Client(gcsio.GcsIO):
  """Beam's client with our policy for all requests; Beam's leaves some to others."""

  def __init__(self, options: PipelineOptions):
    super().__init__(pipeline_options=options)
    self._storage_client_retry = retry_policy(is_transient)

  def open(self, filename: str, mode: str = "r", **options: Any) -> Any:
    bucket, name = gcsio.parse_gcs_path(filename)
    blob = self.client.bucket(bucket).blob(name)
    if mode in ("w", "wb"):
      return _Writer(blob, options["mime_type"], retry=self._storage_client_retry)
    policy = {"retry": self._storage_client_retry, "timeout": TIMEOUT}
    blob.reload(**policy)  # from here on, reading keeps to one generation of the object
    return BlobReader(blob, chunk_size=_CHUNK_BYTES, raw_download=True, **policy)

  def _batch_with_retry(self, requests: Any, fn: Any) -> list[Any]:
    responses = super()._batch_with_retry(requests, fn)
    if None in responses:  # Beam gives up without an error
      raise ServiceUnavailable(f"no answer within {PATIENCE:.0f} s")
    return responses


class _Writer(gcsio.BeamBlobWriter):
  """Stays closed after a failure: the garbage collector would upload what is left, as if whole."""

  def close(self) -> None:
    try:
      super().close()
    finally:
      self._buffer.close()

  def terminate(self) -> None:
    with suppress(requests.RequestException):  # an upload that is left alone expires
      super().terminate()
    self._buffer.close()


class _Clients(threading.local):
  client: _Client | None = None


_clients = _Clients()


def _this_threads_client(options: PipelineOptions) -> _Client:
  if _clients.client is None:
    _clients.client = _Client(options)
  return _clients.client


def _is_lost_upload(error: Exception) -> bool:
  return (
    isinstance(error, InvalidResponse)
    and error.response.status_code in _LOST_UPLOAD
    and "upload_id=" in error.response.url
  )


def _innermost(error: Exception) -> Exception | int:
  """Beam wraps what went wrong with each path, one or more times."""
  while isinstance(error, BeamIOError) and error.exception_details:
    error = next(iter(error.exception_details.values()))
  return error


def _status(error: Exception | int) -> int | None:
  if isinstance(error, InvalidResponse):
    return error.response.status_code
  if isinstance(error, GoogleAPICallError):
    return error.code
  return error if isinstance(error, int) else None


def _describe(error: Exception | int) -> str:
  if isinstance(error, int | InvalidResponse):
    return f"HTTP status {_status(error)}"
  return str(error).partition("\n")[0] or type(error).__name__
