"""Score tables in a BigQuery data set: staged by one job, then published together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from google.api_core.exceptions import Conflict, GoogleAPIError, NotFound
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError
from google.cloud.bigquery import DEFAULT_RETRY, Client, CopyJob, CopyJobConfig, DatasetReference

from beam_pipelines.storage.scores import bigquery
from beam_pipelines.storage.scores.tables import TABLE_NAMES
from estimators.outcome_kinds import CORRECT
from files.errors import UsageError

# What becomes of the rows that a table holds; the names are those of the flag.
REPLACE, APPEND, EMPTY = WRITES = ("replace", "append", "empty")

PATIENCE = 60.0  # seconds until a server that does not answer the first requests is an error

_DISPOSITIONS = {REPLACE: "WRITE_TRUNCATE", APPEND: "WRITE_APPEND", EMPTY: "WRITE_EMPTY"}
_JOB_LABEL = "heldout_job"


@dataclasses.dataclass(frozen=True)
class BigQueryTables:
  """Where one job loads its score tables and from where it publishes them.

  Nothing is visible in the tables before every load has succeeded: rows are loaded into tables
  `heldout_staging_<job>_<table>` of the same data set, from which BigQuery copies them.

  Attributes:
    dataset: `PROJECT:DATASET`.
    experiment: whose scores they are; the tables' descriptions say so.
    job: names the staged tables.
    names: the score tables that the job writes.
    write: whether rows replace those that are there, are appended, or come into empty tables only.
    outcome: the kind of outcome that is scored.
  """

  dataset: str
  experiment: str
  job: str
  names: tuple[str, ...]
  write: str = REPLACE
  outcome: str = CORRECT.name

  def staged(self, name: str) -> str:
    """Returns the table into which a score table is loaded, as Beam writes it."""
    return f"{self.dataset}.{bigquery.staging_name(self.job, name)}"

  def stage(self) -> None:
    """Creates the staged tables, without rows yet.

    Raises:
      UsageError: the data set does not exist, cannot be reached or written to, or holds score
        tables that must not be replaced.
    """
    retry = DEFAULT_RETRY.with_timeout(PATIENCE)
    with _explained_errors(self.dataset), Client(self._dataset.project) as client:
      client.get_dataset(self._dataset, retry=retry)
      self._check(client, retry)
      for name in self.names:
        self._create(client, bigquery.staging_name(self.job, name), name, retry)

  def publish(self) -> None:
    """Copies the staged tables into place and removes the score tables that they replace.

    Each table changes at once, and one after the other; those whose label `heldout_job` is the same
    belong together. Publishing again, as a worker that repeats its work does, changes nothing.
    """
    with Client(self._dataset.project) as client:
      location = client.get_dataset(self._dataset).location
      for name in self.names:  # before any row is there, so that each table says whose it is
        self._create(client, name, name)
      for copy in [self._copy(client, name, location) for name in self.names]:
        copy.result()
      for name in self.names:
        published = bigquery.define_table(self._dataset, name, name, self.outcome, self.experiment)
        published.labels = {_JOB_LABEL: self.job}
        client.update_table(published, ["description", "labels"])
      replaced = set(TABLE_NAMES) - set(self.names) if self.write == REPLACE else set()
      self._delete(client, {*replaced, *self._abandoned(client)})

  def discard(self) -> None:
    """Deletes what the job has staged."""
    with Client(self._dataset.project) as client:
      self._delete(client, (bigquery.staging_name(self.job, name) for name in self.names))

  @property
  def _dataset(self) -> DatasetReference:
    return bigquery.parse_dataset(self.dataset)

  def _check(self, client: Client, retry: Retry) -> None:
    """Makes sure that the score tables that are there are this experiment's, if there are any."""
    listed = {table.table_id for table in client.list_tables(self._dataset, retry=retry)}
    for name in sorted(listed & set(TABLE_NAMES)):
      table = client.get_table(self._dataset.table(name), retry=retry)
      owner = bigquery.owner(table.description)
      if owner != self.experiment:
        raise UsageError(
          f"--bigquery={self.dataset} holds a table {name} "
          f"of {f'experiment {owner}' if owner else 'another origin'}: "
          "choose another data set, or delete the table first"
        )
      if self.write == EMPTY:
        raise UsageError(
          f"--bigquery_write={EMPTY}: {self.dataset} holds the table {name} already: "
          f"choose another data set, or --bigquery_write={REPLACE}"
        )

  def _create(self, client: Client, name: str, table: str, retry: Retry = DEFAULT_RETRY) -> None:
    definition = bigquery.define_table(self._dataset, name, table, self.outcome, self.experiment)
    client.create_table(definition, exists_ok=True, retry=retry)

  def _copy(self, client: Client, name: str, location: str) -> CopyJob:
    """Starts the copy of a staged table, or returns the copy that an earlier attempt started."""
    source = self._dataset.table(bigquery.staging_name(self.job, name))
    config = CopyJobConfig(write_disposition=_DISPOSITIONS[self.write])
    job_id = f"heldout-{self.job}-{name}"
    try:
      return client.copy_table(
        source, self._dataset.table(name), job_id=job_id, location=location, job_config=config
      )
    except Conflict:
      return client.get_job(job_id, location=location)

  def _abandoned(self, client: Client) -> Iterator[str]:
    """Names what jobs that were killed have staged."""
    ours = {bigquery.staging_name(self.job, name) for name in self.names}
    for table in client.list_tables(self._dataset):
      if bigquery.is_staging_name(table.table_id) and table.table_id not in ours:
        yield table.table_id

  def _delete(self, client: Client, names: Iterable[str]) -> None:
    for name in names:
      client.delete_table(self._dataset.table(name), not_found_ok=True)


@contextmanager
def _explained_errors(dataset: str) -> Iterator[None]:
  """Turns what Google's client raises into one line that says what to do."""
  try:
    yield
  except NotFound as error:
    raise UsageError(
      f"--bigquery={dataset}: there is no such data set: make it with `bq mk --dataset {dataset}`"
    ) from error
  except GoogleAuthError as error:
    raise UsageError(
      f"--bigquery={dataset}: no credentials ({_first_line(error)}): "
      "run `gcloud auth application-default login`"
    ) from error
  except (GoogleAPIError, OSError) as error:  # the errors of `requests` are OSErrors
    raise UsageError(f"--bigquery={dataset} cannot be used: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
  return str(error).partition("\n")[0] or type(error).__name__
