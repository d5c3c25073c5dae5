import apache_beam as beam
import pytest
from eager import run_eagerly
from outcomes import NUM_TEST, NUM_TRAIN, make_outcomes

from beam_pipelines.storage import scores
from beam_pipelines.storage.experiment import Skipped
from beam_pipelines.storage.scores import ScoresDirectory
from beam_pipelines.transforms.read_outcomes import common_sizes
from beam_pipelines.transforms.write_scores import (
  CorrectnessParts,
  Publish,
  RunsPart,
  SkippedPart,
  StageParts,
  refusal,
)


def test_runs_table_is_sorted_and_holds_the_accuracies():
  outcomes = make_outcomes(0.5, range(3)) + make_outcomes(0.1, [7])
  (part,) = run_eagerly(RunsPart(), outcomes)
  rows = part.rows.to_pylist()
  assert [(row["subset_ratio"], row["run"]) for row in rows] == [
    (0.1, 7),
    (0.5, 0),
    (0.5, 1),
    (0.5, 2),
  ]
  in_subset, train_correct, test_correct = outcomes[1].unpack()
  assert rows[2] == {
    "subset_ratio": 0.5,
    "run": 1,
    "examples_in": in_subset.sum(),
    "accuracy_train": train_correct[in_subset].mean(),
    "accuracy_removed": train_correct[~in_subset].mean(),
    "accuracy_test": test_correct.mean(),
  }


def test_accuracy_on_an_empty_split_is_null():
  (part,) = run_eagerly(RunsPart(), make_outcomes(0.5, [0], num_test=0))
  assert part.rows["accuracy_test"].to_pylist() == [None]


def test_skipped_table_is_sorted_and_there_even_if_empty():
  entries = [Skipped("b", "2"), Skipped("a", "1")]
  (part,) = run_eagerly(SkippedPart(), entries)
  assert part.rows.to_pylist() == [{"path": "a", "reason": "1"}, {"path": "b", "reason": "2"}]
  (part,) = run_eagerly(SkippedPart(), [])
  assert part.rows.num_rows == 0


def test_correctness_table_has_one_row_per_run_and_example():
  outcomes = make_outcomes(0.5, range(2))
  parts = run_eagerly(CorrectnessParts(), outcomes)
  assert sorted(part.name for part in parts) == ["ratio-0.5-run-000000", "ratio-0.5-run-000001"]
  for part in parts:
    rows = part.rows.to_pylist()
    in_subset, train_correct, test_correct = outcomes[rows[0]["run"]].unpack()
    train = [row for row in rows if row["split"] == "train"]
    test = [row for row in rows if row["split"] == "test"]
    assert [row["example"] for row in train] == list(range(NUM_TRAIN))
    assert [row["in_subset"] for row in train] == in_subset.tolist()
    assert [row["correct"] for row in train] == train_correct.tolist()
    assert [row["example"] for row in test] == list(range(NUM_TEST))
    assert {row["in_subset"] for row in test} == {False}
    assert [row["correct"] for row in test] == test_correct.tolist()


class _Write(beam.PTransform):
  """Stages and publishes runs and skipped inputs; the elements are outcomes and `Skipped`s."""

  def __init__(self, directory, strict):
    self.directory = directory
    self.strict = strict

  def expand(self, elements):
    skipped = elements | "Skipped" >> beam.Filter(lambda element: isinstance(element, Skipped))
    outcomes = elements | "Runs" >> beam.Filter(lambda element: not isinstance(element, Skipped))
    ratios = elements.pipeline | "Ratios" >> beam.Create([{"subset_ratio": 0.5}])
    parts = [outcomes | RunsPart(), skipped | SkippedPart()] | beam.Flatten()
    sizes = common_sizes(outcomes)
    publish = Publish(self.directory, {"experiment": "e"}, sizes, ratios, skipped, self.strict)
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
