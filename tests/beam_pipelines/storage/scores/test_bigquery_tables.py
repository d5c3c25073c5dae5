"""Staging and publishing over the real protocol; rows come by SQL, in place of loads."""

import google.auth
import pytest
from google.api_core.exceptions import NotFound
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.bigquery import Client

from beam_pipelines.storage.scores import bigquery, bigquery_tables
from beam_pipelines.storage.scores.bigquery_tables import BigQueryTables
from files.errors import UsageError
from tests.helpers.cloud import list_tables, query
from tests.helpers.emulated_bigquery import PROJECT
from tests.helpers.proxy import Fault, free_port

COPIES = "POST .*/jobs"


@pytest.fixture
def dataset(cloud):
  cloud.plan()
  return cloud.make_dataset()


def _tables(dataset, job="job", names=("skipped", "runs"), **options):
  return BigQueryTables(dataset, "gs://bucket/runs", job, names, **options)


def _sql_name(dataset, table):
  return f"`{dataset.replace(':', '.')}.{table}`"


def _stage(tables, *paths):
  """Stages the tables, with these rows in `skipped`."""
  tables.stage()
  for path in paths:
    staged = _sql_name(tables.dataset, bigquery.staging_name(tables.job, "skipped"))
    query(f"insert into {staged} (path, reason) values ('{path}', 'bad')")


def _paths(dataset):
  return [
    row["path"] for row in query(f"select path from {_sql_name(dataset, 'skipped')} order by 1")
  ]


def _get(dataset, table):
  with Client(PROJECT) as client:
    return client.get_table(f"{dataset.replace(':', '.')}.{table}")


def test_nothing_is_visible_before_publishing(dataset):
  tables = _tables(dataset)
  _stage(tables, "a")
  assert list_tables(dataset) == {"heldout_staging_job_skipped", "heldout_staging_job_runs"}
  tables.publish()
  assert _paths(dataset) == ["a"]
  tables.discard()
  assert list_tables(dataset) == {"skipped", "runs"}


def test_published_tables_are_as_defined_and_say_whose_they_are(dataset):
  names = ("influence", "cscores", "runs")
  tables = _tables(dataset, names=names)
  _stage(tables)
  tables.publish()
  for name in names:
    table = _get(dataset, name)
    assert table.schema == bigquery.schema_fields(name, "correct")
    assert (table.clustering_fields or []) == bigquery.clustering(name)
    assert bigquery.owner(table.description) == "gs://bucket/runs"
    assert table.labels == {"heldout_job": "job"}


def test_replacing_removes_former_score_tables_and_keeps_others(dataset):
  former = _tables(dataset, "former", ("skipped", "correctness"))
  _stage(former, "a", "b")
  former.publish()
  former.discard()
  query(f"create table {_sql_name(dataset, 'mine')} (x int64)")
  tables = _tables(dataset)
  _stage(tables, "c")
  tables.publish()
  tables.discard()
  assert _paths(dataset) == ["c"]
  assert list_tables(dataset) == {"skipped", "runs", "mine"}


def test_publishing_twice_changes_nothing(dataset):
  tables = _tables(dataset)
  _stage(tables, "a")
  tables.publish()
  tables.publish()
  assert _paths(dataset) == ["a"]


def test_publishing_without_what_was_staged_leaves_the_tables_alone(dataset):
  tables = _tables(dataset)
  _stage(tables, "a")
  tables.publish()
  tables.discard()
  with pytest.raises(NotFound, match="heldout_staging_job_"):
    tables.publish()
  assert _paths(dataset) == ["a"]


def test_what_killed_jobs_have_staged_goes_with_the_next_publication(dataset):
  _stage(_tables(dataset, "killed"), "a")
  tables = _tables(dataset)
  _stage(tables, "b")
  tables.discard()
  assert list_tables(dataset) == {"heldout_staging_killed_skipped", "heldout_staging_killed_runs"}
  _stage(tables, "b")
  tables.publish()
  tables.discard()
  assert list_tables(dataset) == {"skipped", "runs"}


def test_appending_adds_rows(dataset):
  for job, path in (("one", "a"), ("two", "b")):
    tables = _tables(dataset, job, write="append")
    _stage(tables, path)
    tables.publish()
  assert _paths(dataset) == ["a", "b"]


def test_only_an_empty_data_set_is_written_to_if_asked_for(dataset):
  query(f"create table {_sql_name(dataset, 'mine')} (x int64)")
  tables = _tables(dataset, write="empty")
  _stage(tables, "a")
  tables.publish()
  assert _paths(dataset) == ["a"]
  message = (
    f"^--bigquery_write=empty: {dataset} holds the table runs already: "
    "choose another data set, or --bigquery_write=replace$"
  )
  with pytest.raises(UsageError, match=message):
    _tables(dataset, "other", write="empty").stage()


def test_another_experiments_tables_are_not_replaced(dataset):
  tables = _tables(dataset)
  _stage(tables)
  tables.publish()
  other = BigQueryTables(dataset, "gs://bucket/other", "job2", ("runs",))
  message = (
    f"^--bigquery={dataset} holds a table runs of experiment gs://bucket/runs: "
    "choose another data set, or delete the table first$"
  )
  with pytest.raises(UsageError, match=message):
    other.stage()
  assert not any("job2" in name for name in list_tables(dataset))


def test_tables_of_another_origin_are_not_replaced(dataset):
  query(f"create table {_sql_name(dataset, 'examples')} (x int64)")
  with pytest.raises(UsageError, match="holds a table examples of another origin: choose another"):
    _tables(dataset).stage()


@pytest.mark.usefixtures("cloud")
def test_a_data_set_that_is_not_there_is_named():
  with pytest.raises(UsageError) as error:
    _tables("project:missing").stage()
  assert str(error.value) == (
    "--bigquery=project:missing: there is no such data set: "
    "make it with `bq mk --dataset project:missing`"
  )


def test_a_refusal_is_one_line(cloud, dataset):
  cloud.plan(bigquery=[Fault("status", status=403)])
  with pytest.raises(UsageError, match=rf"^--bigquery={dataset} cannot be used: 403 .*planned$"):
    _tables(dataset).stage()
  assert len(cloud.bigquery.seen) == 1


def test_a_server_that_is_not_there_is_said(cloud, monkeypatch):
  monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
  monkeypatch.setattr(bigquery_tables, "PATIENCE", 0.1)
  with pytest.raises(UsageError, match=r"^--bigquery=project:scores cannot be used: ") as error:
    _tables("project:scores").stage()
  assert "\n" not in str(error.value)


def test_missing_credentials_are_said(cloud, monkeypatch):
  def find_none(*_, **__):
    raise DefaultCredentialsError("none found")

  monkeypatch.setattr(google.auth, "default", find_none)
  monkeypatch.delenv("BIGQUERY_EMULATOR_HOST")
  with pytest.raises(UsageError) as error:
    _tables("project:scores").stage()
  assert str(error.value) == (
    "--bigquery=project:scores: no credentials (none found): "
    "run `gcloud auth application-default login`"
  )


@pytest.mark.parametrize("kind", ["status", "reset"])
def test_every_third_request_may_fail(cloud, dataset, kind):
  tables = _tables(dataset)
  faults = [Fault(kind, times=1_000, every=3)]
  cloud.plan(bigquery=faults)
  tables.stage()
  cloud.plan()
  _stage(tables, "a")
  cloud.plan(bigquery=faults)
  tables.publish()
  tables.discard()
  cloud.plan()
  assert _paths(dataset) == ["a"]
  assert list_tables(dataset) == {"skipped", "runs"}


def test_a_copy_whose_answer_was_lost_is_not_started_again(cloud, dataset):
  """BigQuery then knows the job's name already."""
  tables = _tables(dataset, names=("skipped",))
  _stage(tables, "a")
  cloud.plan(bigquery=[Fault("lose", COPIES), Fault("status", COPIES, status=409)])
  tables.publish()
  assert len(cloud.bigquery.requests(COPIES)) == 2
  assert len(cloud.bigquery.requests("GET .*/jobs/heldout-job-skipped")) == 1
  assert _paths(dataset) == ["a"]
