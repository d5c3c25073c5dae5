from beam_pipelines.storage.runs.experiment import Skipped
from beam_pipelines.transforms.tabulate_runs import (
  TabulateCorrectness,
  TabulateRuns,
  TabulateSkipped,
)
from tests.helpers.eager import run_eagerly
from tests.helpers.outcomes import NUM_TEST, NUM_TRAIN, make_outcomes


def test_runs_table_is_sorted_and_holds_the_accuracies():
  outcomes = make_outcomes(0.5, range(3)) + make_outcomes(0.1, [7])
  (part,) = run_eagerly(TabulateRuns(), [outcomes[:2], outcomes[2:]])
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
  (part,) = run_eagerly(TabulateRuns(), [make_outcomes(0.5, [0], num_test=0)])
  assert part.rows["accuracy_test"].to_pylist() == [None]


def test_skipped_table_is_sorted_and_there_even_if_empty():
  entries = [Skipped("b", "2"), Skipped("a", "1")]
  (part,) = run_eagerly(TabulateSkipped(), entries)
  assert part.rows.to_pylist() == [{"path": "a", "reason": "1"}, {"path": "b", "reason": "2"}]
  (part,) = run_eagerly(TabulateSkipped(), [])
  assert part.rows.num_rows == 0


def test_correctness_table_has_one_row_per_run_and_example():
  outcomes = make_outcomes(0.5, range(2))
  parts = run_eagerly(TabulateCorrectness(), outcomes)
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
