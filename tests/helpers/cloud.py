"""Google Cloud on this machine: Cloud Storage and BigQuery, emulated, behind proxies."""

import contextlib
import decimal
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from apache_beam.io.gcp import gcsio_retry
from apitools.base.py import util
from google.cloud.bigquery import DEFAULT_RETRY, Client

from files import retry
from tests.helpers.emulated_bigquery import PROJECT, redirect_bigquery, serve_bigquery
from tests.helpers.gcs import redirect_gcs, serve_gcs
from tests.helpers.proxy import Proxy

_WAIT = 0.01  # seconds
_numbers = itertools.count()


class Cloud(NamedTuple):
  """The proxies before the emulators."""

  gcs: Proxy
  bigquery: Proxy

  def plan(self, *, gcs=(), bigquery=()) -> None:
    """Forgets what was seen and planned before; plans these faults."""
    self.gcs.plan(*gcs)
    self.bigquery.plan(*bigquery)

  def make_dataset(self) -> str:
    """Makes a data set in BigQuery and returns it as the command line writes it."""
    name = f"scores_{next(_numbers)}"
    with Client(PROJECT) as client:
      client.create_dataset(name)
    return f"{PROJECT}:{name}"


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[Cloud]:
  """Starts the emulators, which keep their objects in a directory."""
  storage = directory / "storage"
  storage.mkdir()
  with serve_gcs(storage) as gcs_proxy, serve_bigquery(storage) as bigquery_proxy:
    yield Cloud(gcs_proxy, bigquery_proxy)


def redirect(patch: pytest.MonkeyPatch, gcs_url: str, bigquery_url: str) -> None:
  """Points this process's Google clients at emulators, and lets them wait for less."""
  redirect_gcs(patch, gcs_url)
  redirect_bigquery(patch, bigquery_url)
  patch.setattr(retry, "FIRST_WAIT", _WAIT)
  patch.setattr(util, "CalculateWaitForRetry", lambda *_, **__: _WAIT)
  for policy in (DEFAULT_RETRY, gcsio_retry.DEFAULT_RETRY_WITH_THROTTLING_COUNTER):
    patch.setattr(policy, "_initial", _WAIT)


def query(sql: str) -> list[dict]:
  """Returns the rows that BigQuery answers, decimal numbers as floats."""
  with Client(PROJECT) as client:
    return [
      {
        name: float(value) if isinstance(value, decimal.Decimal) else value
        for name, value in row.items()
      }
      for row in client.query_and_wait(sql)
    ]


def list_tables(dataset: str) -> set[str]:
  """Returns the names of the tables of a data set."""
  with Client(PROJECT) as client:
    return {table.table_id for table in client.list_tables(dataset.replace(":", "."))}
