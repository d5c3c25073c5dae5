"""BigQuery on this machine: the emulator, behind a proxy that makes faults."""

import contextlib
from pathlib import Path

import google.auth
import pytest
from apache_beam.io.gcp.internal.clients import bigquery as beam_bigquery
from google.auth.credentials import AnonymousCredentials

from tests.helpers.proxy import Proxy, behind_proxy, free_port

PROJECT = "project"

_ENVIRONMENT = Path(__file__).parents[2] / ".venv-bqemulator"


def serve_bigquery(storage: Path) -> contextlib.AbstractContextManager[Proxy]:
  """Starts emulator and proxy; `storage` is where the emulator of Cloud Storage keeps objects."""
  if not _ENVIRONMENT.exists():
    raise RuntimeError("there is no emulator of BigQuery: `make test` makes .venv-bqemulator")
  command = [str(_ENVIRONMENT / "bin" / "bqemulator"), "start", f"--project={PROJECT}"]
  command += ["--rest-port={port}", f"--grpc-port={free_port()}", "--log-level=error"]
  # Its extensions lie below the home directory.
  return behind_proxy(command, {"HOME": str(_ENVIRONMENT), "BQEMU_GCS_LOCAL_ROOT": str(storage)})


def redirect_bigquery(patch: pytest.MonkeyPatch, url: str) -> None:
  """Points this process's clients of BigQuery, Google's and Beam's, at an emulator."""
  patch.setenv("BIGQUERY_EMULATOR_HOST", url)
  patch.setattr(google.auth, "default", lambda *_, **__: (AnonymousCredentials(), PROJECT))
  make_client = beam_bigquery.BigqueryV2.__init__

  def make_anonymous(client, *arguments, **options):
    make_client(client, *arguments, **{**options, "get_credentials": False})

  patch.setattr(beam_bigquery.BigqueryV2, "__init__", make_anonymous)
  patch.setattr(beam_bigquery.BigqueryV2, "BASE_URL", f"{url}/bigquery/v2/")
