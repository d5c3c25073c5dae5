import apache_beam as beam
import pytest

from beam_pipelines.storage.runs.experiment import Skipped
from beam_pipelines.storage.scores import directory as scores
from beam_pipelines.storage.scores.directory import ScoresDirectory
from beam_pipelines.transforms.publish_scores import PublishScores, refusal
from beam_pipelines.transforms.read_outcomes import common_sizes
from beam_pipelines.transforms.stage_parts import StageParts
from beam_pipelines.transforms.tabulate_runs import (
  TabulateRuns,
  TabulateSkipped,
)
from tests.helpers.eager import run_eagerly
from tests.helpers.outcomes import NUM_TEST, NUM_TRAIN, make_outcomes


class _Write(beam.PTransform):
  """Stages and publishes runs and skipped inputs; the elements are outcomes and `Skipped`s."""

  def __init__(self, directory, strict):
    self.directory = directory
    self.strict = strict

  def expand(self, elements):
    skipped = elements | "Skipped" >> beam.Filter(lambda element: isinstance(element, Skipped))
    outcomes = elements | "Runs" >> beam.Filter(lambda element: not isinstance(element, Skipped))
    ratios = elements.pipeline | "Ratios" >> beam.Create([{"subset_ratio": 0.5}])
    parts = [outcomes | TabulateRuns(), skipped | TabulateSkipped()] | beam.Flatten()
    sizes = common_sizes(outcomes)
    publish = PublishScores(
      self.directory, {"experiment": "e"}, sizes, ratios, skipped, self.strict
    )
    return parts | StageParts(self.directory) | publish


def test_the_manifest_counts_what_was_published(tmp_path):
  directory = ScoresDirectory(str(tmp_path), "job")
  elements = [*make_outcomes(0.5, range(3)), Skipped("x", "is bad")]
  run_eagerly(_Write(directory, strict=False), elements)
  assert scores.read_manifest(str(tmp_path)) == {
    "experiment": "e",
    "examples": {"train": NUM_TRAIN, "test": NUM_TEST},
    "runs_used": 3,
    "runs_skipped": 1,
    "ratios": [{"subset_ratio": 0.5}],
    "rows": {"runs": 3, "skipped": 1},
    "complete": True,
  }
  assert refusal(directory) is None


@pytest.mark.parametrize(
  ("strict", "runs"), [pytest.param(True, 3, id="strict"), pytest.param(False, 0, id="no run")]
)
def test_nothing_is_published_if_refused(tmp_path, strict, runs):
  directory = ScoresDirectory(str(tmp_path), "job")
  elements = [*make_outcomes(0.5, range(runs)), Skipped("y", "is worse"), Skipped("x", "is bad")]
  reason = "2 inputs cannot be used; the first: x is bad"
  with pytest.raises(RuntimeError, match=reason):
    run_eagerly(_Write(directory, strict), elements)
  assert refusal(directory) == reason
  directory.discard()
  assert list(tmp_path.iterdir()) == []
