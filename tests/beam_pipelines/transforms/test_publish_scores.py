import apache_beam as beam
import pytest

from beam_pipelines.storage.runs.experiment import Skipped
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.scores.directory import read_table
from beam_pipelines.storage.scores.manifest import read_manifest, read_stub
from beam_pipelines.storage.scores.staging import Staging
from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.read_outcomes import OUTCOMES, SKIPPED
from beam_pipelines.transforms.score_outcomes import ScoreOutcomes
from beam_pipelines.transforms.select_pairs import PairSelection
from tests.helpers.eager import run_eagerly
from tests.helpers.outcomes import NUM_TEST, NUM_TRAIN, make_outcomes
from tests.helpers.scores import make_request, publish_tables


class _Score(beam.PTransform):
  """Scores and publishes; the elements are outcomes and `Skipped`s."""

  def __init__(self, staging, runs_listed, strict=False, warnings=()):
    self.score = ScoreOutcomes(
      staging,
      make_request(strict=strict),
      runs_listed,
      PairSelection(same_class=False),
      Labels(None, None),
      block_size=16,
      warnings=warnings,
    )

  def expand(self, elements):
    outcomes = elements | "Runs" >> beam.Filter(lambda element: isinstance(element, RunOutcome))
    skipped = elements | "Skipped" >> beam.Filter(lambda element: isinstance(element, Skipped))
    return {OUTCOMES: (outcomes,), SKIPPED: skipped} | self.score


@pytest.fixture
def staging(tmp_path):
  return Staging.begin(str(tmp_path), "job")


def test_the_manifest_counts_what_was_published(tmp_path, staging):
  elements = [*make_outcomes(0.5, range(3)), Skipped("x", "is bad")]
  (published,) = run_eagerly(_Score(staging, 4, warnings=("odd", "odd")), elements)
  manifest = read_manifest(str(tmp_path))
  assert manifest == published
  assert (manifest.examples.train, manifest.examples.test) == (NUM_TRAIN, NUM_TEST)
  assert (manifest.runs_listed, manifest.runs_used, manifest.runs_skipped) == (4, 3, 1)
  assert [(ratio.subset_ratio, ratio.runs) for ratio in manifest.ratios] == [(0.5, 3)]
  assert manifest.warnings == ("odd",)
  for name, rows in manifest.rows.items():
    assert read_table(str(tmp_path), name).num_rows == rows
  assert staging.refusal() is None
  assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
  ("strict", "runs"), [pytest.param(True, 3, id="strict"), pytest.param(False, 0, id="no run")]
)
def test_nothing_is_published_if_refused(tmp_path, staging, strict, runs):
  elements = [*make_outcomes(0.5, range(runs)), Skipped("y", "is worse"), Skipped("x", "is bad")]
  reason = "e: 2 inputs cannot be used; the first: x is bad"
  with pytest.raises(RuntimeError, match=reason):
    run_eagerly(_Score(staging, runs + 2, strict), elements)
  assert staging.refusal() == reason
  staging.discard()
  assert list(tmp_path.iterdir()) == []


def test_a_run_that_gets_lost_on_the_way_is_missed(tmp_path, staging):
  with pytest.raises(RuntimeError, match="lost or repeated some of its work"):
    run_eagerly(_Score(staging, 4), make_outcomes(0.5, range(3)))
  assert "3 inputs used or skipped, not 4" in staging.refusal()
  assert read_stub(str(tmp_path)) is None


def test_scores_published_meanwhile_stay(tmp_path, staging):
  publish_tables(tmp_path, job="other")
  with pytest.raises(RuntimeError, match="other scores were published there since"):
    run_eagerly(_Score(staging, 3), make_outcomes(0.5, range(3)))
  assert "other scores were published" in staging.refusal()
  assert read_manifest(str(tmp_path)).job == "other"
