"""Google Cloud Storage on this machine: the emulator, behind a proxy that makes faults."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from apache_beam.internal.gcp import auth

from files import systems
from tests.helpers.proxy import Proxy, behind_proxy

BUCKET = "bucket"

_ENVIRONMENT = {
  "FSSPEC_GS_TOKEN": "anon",
  "GOOGLE_CLOUD_PROJECT": "project",
  "NO_GCE_CHECK": "true",
}


@contextlib.contextmanager
def emulated_gcs(patch: pytest.MonkeyPatch) -> Iterator[Proxy]:
  """Starts emulator and proxy and points this process's Google clients at them."""
  with serve_gcs() as proxy:
    redirect_gcs(patch, proxy.url)
    yield proxy
    systems.forget()


def serve_gcs(storage: Path | None = None) -> contextlib.AbstractContextManager[Proxy]:
  """Starts emulator and proxy; without a directory for the objects they are kept in memory."""
  command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--quiet"]
  command += ["--host=127.0.0.1", "--port={port}", f"--default-bucket={BUCKET}"]
  if storage is None:
    return behind_proxy([*command, "--in-memory"], {})
  environment = {"STORAGE_BASE": str(storage.parent), "STORAGE_DIR": storage.name}
  return behind_proxy(command, environment)


def redirect_gcs(patch: pytest.MonkeyPatch, url: str) -> None:
  """Points this process's clients of Cloud Storage at an emulator; `patch` undoes it."""
  for name, value in {**_ENVIRONMENT, "STORAGE_EMULATOR_HOST": url}.items():
    patch.setenv(name, value)
  # fsspec reads its environment once, on import.
  patch.setitem(fsspec.config.conf, "gs", {"token": _ENVIRONMENT["FSSPEC_GS_TOKEN"]})
  # Beam reads its own temporary files. Without this, looking for credentials that are not there
  # takes it 20 seconds.
  patch.setattr(auth._Credentials, "_credentials_init", True)
  systems.forget()  # those of another server
