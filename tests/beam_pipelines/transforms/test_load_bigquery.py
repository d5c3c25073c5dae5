import apache_beam as beam
import pytest

import files
from beam_pipelines.storage.runs.experiment import Skipped
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.scores.bigquery_tables import BigQueryTables
from beam_pipelines.storage.scores.staging import Staging
from beam_pipelines.storage.scores.tables import TABLE_NAMES
from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.load_bigquery import LoadBigQuery
from beam_pipelines.transforms.read_outcomes import OUTCOMES, SKIPPED
from beam_pipelines.transforms.score_outcomes import ScoreOutcomes
from beam_pipelines.transforms.select_pairs import PairSelection
from tests.helpers.cloud import list_tables, query
from tests.helpers.eager import run_eagerly
from tests.helpers.gcs import BUCKET
from tests.helpers.outcomes import make_outcomes
from tests.helpers.scores import make_request

NAMES = tuple(name for name in TABLE_NAMES if name not in ("correctness", "index"))
TEMPORARY = f"gs://{BUCKET}/loads"


class _Score(beam.PTransform):
  """Scores, loads and publishes outcomes and skipped inputs; the elements are both."""

  def __init__(self, load, runs_listed, strict=False):
    self.score = ScoreOutcomes(
      load.staging,
      make_request(strict=strict),
      runs_listed,
      PairSelection(same_class=False),
      Labels(None, None),
      block_size=64,
      load=load,
    )

  def expand(self, elements):
    outcomes = elements | "Runs" >> beam.Filter(lambda element: isinstance(element, RunOutcome))
    skipped = elements | "Skipped" >> beam.Filter(lambda element: isinstance(element, Skipped))
    return {OUTCOMES: (outcomes,), SKIPPED: skipped} | self.score


@pytest.fixture
def load(cloud, tmp_path):
  cloud.plan()
  tables = BigQueryTables(cloud.make_dataset(), "e", "job", NAMES)
  tables.stage()
  return LoadBigQuery(Staging.begin(str(tmp_path), "job"), tables, TEMPORARY)


def _rows(load, name):
  return query(f"select * from `{load.tables.dataset.replace(':', '.')}.{name}`")


def test_rows_are_loaded_and_published_with_the_parquet_tables(load, tmp_path):
  outcomes = make_outcomes(0.5, range(200))  # two parts and more
  run_eagerly(_Score(load, 201), [*outcomes, Skipped("x", 'is "bad"\n')])
  assert _rows(load, "skipped") == [{"path": "x", "reason": 'is "bad"\n'}]
  rows = {row["run"]: row for row in _rows(load, "outcomes")}
  assert len(rows) == len(outcomes)
  for outcome in outcomes:
    row = rows[outcome.key.run]
    bits = (row["in_subset"], row["train_correct"], row["test_correct"])
    assert bits == (outcome.in_subset, outcome.train_correct, outcome.test_correct)
  assert (tmp_path / "manifest.json").exists()


def test_a_table_without_rows_is_there(load):
  run_eagerly(_Score(load, 2), make_outcomes(0.5, range(2)))
  assert _rows(load, "skipped") == []
  assert len(_rows(load, "outcomes")) == 2


def test_nothing_is_published_if_refused(load, tmp_path):
  with pytest.raises(RuntimeError, match="1 inputs cannot be used"):
    run_eagerly(_Score(load, 2, strict=True), [*make_outcomes(0.5, [0]), Skipped("x", "is bad")])
  staged = {f"heldout_staging_job_{name}" for name in NAMES}
  assert list_tables(load.tables.dataset) == staged
  assert not (tmp_path / "manifest.json").exists()


def test_files_to_load_lie_in_the_directory_that_was_given(load):
  files.delete_directory(TEMPORARY)
  run_eagerly(_Score(load, 1), make_outcomes(0.5, [0]))
  # All tables have rows but those of skipped inputs and of pairs, of which one run has none.
  assert len(files.list_files(TEMPORARY)) == len(NAMES) - 2
