"""`heldout score` into BigQuery and buckets: emulators over real HTTP, with faults, and killed."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import files
from beam_pipelines import cli
from beam_pipelines.storage.scores import bigquery, dense
from beam_pipelines.storage.scores import directory as scores
from beam_pipelines.storage.scores.bigquery_tables import BigQueryTables
from beam_pipelines.storage.scores.manifest import read_manifest
from beam_pipelines.storage.scores.tables import TABLE_NAMES
from tests.helpers.cases import write_broken_runs
from tests.helpers.cloud import list_tables, query
from tests.helpers.gcs import BUCKET
from tests.helpers.outcomes import (
  NUM_TRAIN,
  add_margins,
  make_outcomes,
  write_experiment,
  write_few_digits,
)
from tests.helpers.proxy import Fault

TEMPORARY = f"gs://{BUCKET}/temporary"
# Beam's load jobs, and our copy jobs.
LOADS, COPIES = r"POST .*/jobs\?alt=json", r"POST .*/jobs\?prettyPrint"
RENAMES = r"POST .*/(copyTo|rewriteTo)/"  # of staged files


ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "bigquery.md"
QUERIES = dict(re.findall(r"^### (.*?)$.*?```sql\n(.*?)```", PAGE.read_text(), re.S | re.M))


def _score(experiment, path, *flags):
  return cli.main(["score", f"--experiment={experiment}", f"--scores={path}", *flags])


def _into(dataset):
  return (f"--bigquery={dataset}", f"--temp_location={TEMPORARY}")


def _parquet(path):
  """The tables as lists of rows, in a canonical order."""
  tables = {}
  for name in TABLE_NAMES:
    if read_manifest(str(path)).parts_of(name):
      rows = scores.read_table(str(path), name).to_pylist()
      tables[name] = sorted((tuple(row.values()) for row in rows), key=repr)
  return tables


def _in_bigquery(dataset):
  tables = {}
  for name in sorted(list_tables(dataset)):
    rows = query(f"select * from `{dataset.replace(':', '.')}.{name}`")
    tables[name] = sorted((tuple(row.values()) for row in rows), key=repr)
  return tables


@pytest.fixture(scope="module")
def scored(cloud, tmp_path_factory):
  """Scores of an experiment in which some are undefined, locally and in BigQuery."""
  directory = tmp_path_factory.mktemp("scored")
  experiment = directory / "runs"
  write_experiment(experiment, make_outcomes(0.7, range(20)) + make_outcomes(0.3, [0]))
  write_broken_runs(experiment, first_run=100)
  dataset = cloud.make_dataset()
  labels = write_few_digits(directory / "few-digits.npz")
  flags = (f"--dataset={labels}", "--pairs=all", "--min_influence=0.1", "--correctness")
  path = directory / "scores"
  assert _score(experiment, path, *flags, *_into(dataset)) == 0
  return path, dataset


def test_tables_are_those_of_parquet_row_for_row(scored):
  path, dataset = scored
  tables = _parquet(path)
  assert _in_bigquery(dataset) == tables
  assert set(tables) == set(TABLE_NAMES)
  assert all(tables.values())


def test_undefined_values_are_null(scored):
  _, dataset = scored
  (row,) = query(
    "select countif(memorization is null) undefined, countif(is_nan(memorization)) not_numbers "
    f"from {dataset.replace(':', '.')}.examples where subset_ratio = 0.3"
  )
  assert row == {"undefined": NUM_TRAIN, "not_numbers": 0}


def test_tables_of_margins_are_those_of_parquet(cloud, tmp_path):
  outcomes = make_outcomes(0.7, range(9)) + make_outcomes(0.3, range(2))
  write_experiment(tmp_path / "runs", add_margins(outcomes))
  dataset = cloud.make_dataset()
  flags = ("--outcome=margin", "--min_influence=-1", "--correctness")
  assert _score(tmp_path / "runs", tmp_path / "scores", *flags, *_into(dataset)) == 0
  tables = _in_bigquery(dataset)
  assert tables == _parquet(tmp_path / "scores") | {"skipped": []}
  (row,) = query(
    "select countif(mean_in is null) undefined, countif(sd_in is null and runs_in = 1) single "
    f"from {dataset.replace(':', '.')}.examples where subset_ratio = 0.3"
  )
  assert row["undefined"] > 0
  assert row["single"] > 0


def test_nothing_temporary_is_left(scored):
  _, dataset = scored
  assert list_tables(dataset) == set(TABLE_NAMES)
  assert files.list_files(TEMPORARY) == []


@pytest.mark.parametrize("title", QUERIES)
def test_documented_queries_answer(scored, title):
  path, dataset = scored
  rows = query(QUERIES[title].replace("my-project.scores", dataset.replace(":", ".")))
  assert rows
  assert [tuple(row.values()) for row in rows] == list(ANSWERS[title](str(path)))


def _read(path, table, **where):
  rows = scores.read_table(path, table).to_pylist()
  return [row for row in rows if all(row[name] == value for name, value in where.items())]


def _most_memorized(path):
  rows = _read(path, "examples", subset_ratio=0.7)
  for label in sorted({row["label"] for row in rows}):
    of_class = [row for row in rows if row["label"] == label and row["memorization"] is not None]
    for row in sorted(of_class, key=lambda row: (-row["memorization"], row["example"]))[:3]:
      yield label, row["example"], row["memorization"], row["memorization_se"]


def _carriers(path):
  pairs = _read(path, "influence", subset_ratio=0.7, test_example=5)
  for row in sorted(pairs, key=lambda row: (-row["influence"], row["train_example"])):
    yield row["train_example"], row["influence"], row["influence_se"], row["memorization"]


def _disagreements(path):
  memorization = {
    row["example"]: row["memorization"]
    for row in _read(path, "examples", subset_ratio=0.7)
    if row["memorization"] is not None
  }
  cscore = {row["example"]: row["cscore"] for row in _read(path, "cscores")}
  both = [example for example in memorization if cscore[example] is not None]

  def rank(scores, example):
    return sum(scores[other] < scores[example] for other in both) / (len(both) - 1)

  found = [(example, rank(cscore, example) + rank(memorization, example) - 1) for example in both]
  for example, disagreement in sorted(found, key=lambda pair: (-abs(pair[1]), pair[0]))[:10]:
    yield example, disagreement, cscore[example], memorization[example]


def _enough_runs(path):
  for ratio, runs in ((0.3, 1), (0.7, 20)):
    rows = _read(path, "examples", subset_ratio=ratio)
    yield (
      ratio,
      runs,
      min(row["runs_in"] for row in rows),
      min(row["runs_out"] for row in rows),
      sum(row["memorization"] is None for row in rows),
      pytest.approx(np.mean([row["memorization_se"] for row in rows if row["memorization_se"]]))
      if any(row["memorization_se"] for row in rows)
      else None,
      0,
    )


ANSWERS = dict(
  zip(QUERIES, (_most_memorized, _carriers, _disagreements, _enough_runs), strict=True)
)


@pytest.fixture
def experiment(tmp_path):
  write_experiment(tmp_path / "runs", make_outcomes(0.5, range(6)))
  return tmp_path / "runs"


@pytest.mark.parametrize("jobs", [LOADS, COPIES], ids=["load", "copy"])
def test_a_job_that_fails_leaves_the_tables_as_they_were(cloud, experiment, tmp_path, jobs, capsys):
  cloud.plan()
  dataset = cloud.make_dataset()
  former = BigQueryTables(dataset, str(experiment), "former", ("skipped", "runs"))
  former.stage()
  for name in former.names:
    row = {"skipped": "'p', 'r'", "runs": "0.5, 0, 1, null, null, null"}[name]
    query(f"insert into `{former.staged(name).replace(':', '.')}` values ({row})")
  former.publish()
  former.discard()
  before = _in_bigquery(dataset)
  cloud.plan(bigquery=[Fault("status", jobs, status=400)])
  assert _score(experiment, tmp_path / "scores", *_into(dataset)) == 2
  error = capsys.readouterr().err
  assert error.startswith("heldout score: error: the job failed: ")
  assert "planned" in error
  assert error.count("\n") == 1
  cloud.plan()
  after = _in_bigquery(dataset)
  assert {name: after[name] for name in before} == before
  assert not any(rows for name, rows in after.items() if name not in before)
  assert not any(bigquery.is_staging_name(name) for name in after)
  assert files.list_files(TEMPORARY) == []
  assert list((tmp_path / "scores").iterdir()) == []


def test_appending_runs_replaces_the_tables_by_the_whole(cloud, experiment, tmp_path, capsys):
  cloud.plan()
  dataset = cloud.make_dataset()
  path = tmp_path / "scores"
  assert _score(experiment, path) == 0
  write_experiment(experiment, make_outcomes(0.5, range(9)))
  assert _score(experiment, path, "--append", *_into(dataset)) == 0
  assert f"into {path} and BigQuery's {dataset}\n" in capsys.readouterr().out
  assert read_manifest(str(path)).options.bigquery == dataset
  assert _score(experiment, tmp_path / "at-once") == 0
  assert _in_bigquery(dataset) == _parquet(path) == _parquet(tmp_path / "at-once")


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--bigquery=scores"], "argument --bigquery: 'scores' is no data set: write PROJECT:DATASET"),
    (["--bigquery=project:missing", f"--temp_location={TEMPORARY}"], "there is no such data set"),
    (["--bigquery=project:scores"], "give --temp_location=gs://BUCKET/DIRECTORY"),
    (["--bigquery=project:scores", "--temp_location=/tmp"], "give --temp_location=gs://BUCKET/"),
    (["--bigquery_write=truncate"], "argument --bigquery_write: invalid choice: 'truncate'"),
    (
      ["--bigquery=project:scores", "--template_location=gs://bucket/template"],
      "--template_location and --bigquery: a template cannot load its tables",
    ),
    (
      ["--bigquery=project:scores", "--bigquery_write=append", "--append"],
      "--append gives whole tables, which --bigquery_write=append would add to those",
    ),
  ],
)
def test_bad_flags_are_one_line(cloud, experiment, tmp_path, flags, message, capsys):
  cloud.plan()
  assert _score(experiment, tmp_path / "scores", *flags) == 2
  error = capsys.readouterr().err
  assert message in error
  assert error.startswith("heldout score: error: ")
  assert error.count("\n") == 1


def test_a_ratio_that_bigquery_cannot_hold_is_one_line(cloud, tmp_path, capsys):
  cloud.plan()
  write_experiment(tmp_path / "runs", make_outcomes(1 / 3, range(2)))
  assert _score(tmp_path / "runs", tmp_path / "scores", *_into("project:scores")) == 2
  assert capsys.readouterr().err == (
    f"heldout score: error: --bigquery: subset ratio {1 / 3} has more than the 9 decimal places of "
    "NUMERIC\n"
  )


def test_recorded_outcomes_are_read_at_the_same_time(cloud, tmp_path):
  experiment = f"gs://{BUCKET}/{tmp_path.name}"
  write_experiment(experiment, make_outcomes(0.5, range(12)))
  cloud.plan(gcs=[Fault("stall", "GET /download", times=12, seconds=0.1)])
  assert _score(experiment, tmp_path / "scores") == 0
  assert cloud.gcs.most_at_once >= 4
  cloud.plan()


def _every_tenth(kind):
  return Fault(kind, times=10_000, every=10)


def _score_until(cloud, requests, every, arguments):
  """Scores in a process of its own, which is killed in the midst of the n-th of some requests."""
  processes = []
  kill = Fault("call", requests, every=every, action=lambda: processes[0].kill())
  cloud.plan(
    gcs=[kill, _every_tenth("status")],
    bigquery=[kill, _every_tenth("reset")],
  )
  command = [sys.executable, "-m", "tests.helpers.emulated_cli", "score", *arguments]
  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE))
  _, error = processes[0].communicate(timeout=300)
  cloud.plan()
  assert processes[0].returncode == -signal.SIGKILL, error.decode()


def test_faults_and_kills_change_nothing(cloud, tmp_path):
  outcomes = make_outcomes(0.3, range(6)) + make_outcomes(0.7, range(6))
  local, bucket = tmp_path, f"gs://{BUCKET}/{tmp_path.name}"
  for where in (local, bucket):
    write_experiment(f"{where}/runs", outcomes)
  spec = write_few_digits(tmp_path / "digits.npz")
  options = (f"--dataset={spec}", "--min_influence=0", "--dense", "--correctness")
  assert _score(f"{local}/runs", f"{local}/scores", *options) == 0

  dataset = cloud.make_dataset()
  arguments = [f"--experiment={bucket}/runs", f"--scores={bucket}/scores", *options]
  arguments.append(f"--bigquery={dataset}")
  _score_until(cloud, COPIES, 4, arguments)
  assert len(list_tables(dataset)) > len(TABLE_NAMES)
  assert not files.exists(f"{bucket}/scores/manifest.json")
  _score_until(cloud, RENAMES, 3, arguments)
  assert files.read_json(f"{bucket}/scores/manifest.json")["complete"] is False

  cloud.plan(gcs=[_every_tenth("status")], bigquery=[_every_tenth("reset")])
  assert cli.main(["score", *arguments]) == 0
  cloud.plan()
  tables = _parquet(f"{local}/scores")
  assert set(tables) == set(TABLE_NAMES)
  assert _parquet(f"{bucket}/scores") == tables
  assert _in_bigquery(dataset) == tables
  for ratio in (0.3, 0.7):
    matrices = [dense.read_dense(f"{where}/scores", ratio)[:] for where in (local, bucket)]
    assert np.array_equal(*matrices, equal_nan=True)
  names = [{info.name for info in files.list_files(f"{where}/scores")} for where in (local, bucket)]
  assert names[0] == names[1]
