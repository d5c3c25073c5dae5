import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.measure_outcomes import MeasureOutcomes
from beam_pipelines.transforms.pack_runs import TRAIN_BLOCKS, PackRuns
from beam_pipelines.transforms.tabulate_examples import TabulateCScores, TabulateExamples
from beam_pipelines.transforms.tabulate_runs import GatherNeighbours
from tests.helpers.eager import run_eagerly
from tests.helpers.outcomes import NUM_TRAIN, make_outcomes

LABELS = Labels(train=np.arange(NUM_TRAIN) % 3, test=None)


class _Score(beam.PTransform):
  def __init__(self, parts, labels):
    self.parts = parts
    self.labels = labels

  def expand(self, outcomes):
    labels = outcomes.pipeline | "Labels" >> beam.Create([self.labels])
    blocks = ((outcomes,) | GatherNeighbours() | PackRuns(block_size=16))[TRAIN_BLOCKS]
    return blocks | MeasureOutcomes() | self.parts(labels)


def _rows(parts, outcomes, labels=LABELS):
  found = run_eagerly(_Score(parts, labels), outcomes)
  names = [part.name for part in found]
  assert len(names) == len(set(names))
  return pa.concat_tables(part.rows for part in found).to_pylist()


def _brute_force(outcomes, subset_ratio, example):
  """Counts with a loop over runs: runs in, runs out, correct in, correct out."""
  counts = [0, 0, 0, 0]
  for outcome in outcomes:
    if outcome.key.subset_ratio == subset_ratio:
      in_subset, train_correct, _ = outcome.unpack()
      side = 0 if in_subset[example] else 1
      counts[side] += 1
      counts[2 + side] += int(train_correct[example])
  return counts


def test_examples_table_equals_brute_force():
  # Few runs at 0.9, so that some examples are in all of them and undefined.
  outcomes = make_outcomes(0.9, range(4)) + make_outcomes(0.5, range(90))
  rows = _rows(TabulateExamples, outcomes)
  assert len(rows) == 2 * NUM_TRAIN
  undefined = 0
  for row in rows:
    runs_in, runs_out, correct_in, correct_out = _brute_force(
      outcomes, row["subset_ratio"], row["example"]
    )
    assert (row["runs_in"], row["runs_out"]) == (runs_in, runs_out)
    assert (row["correct_in"], row["correct_out"]) == (correct_in, correct_out)
    assert row["label"] == row["example"] % 3
    assert row["consistency"] == (correct_out / runs_out if runs_out else None)
    if runs_in and runs_out:
      assert row["memorization"] == correct_in / runs_in - correct_out / runs_out
      adjusted_in, adjusted_out = (
        (correct_in + 1) / (runs_in + 2),
        (correct_out + 1) / (runs_out + 2),
      )
      variance = adjusted_in * (1 - adjusted_in) / (runs_in + 2)
      variance += adjusted_out * (1 - adjusted_out) / (runs_out + 2)
      assert row["memorization_se"] == pytest.approx(variance**0.5, rel=1e-12)
    else:
      undefined += 1
      assert row["memorization"] is None
      assert row["memorization_se"] is None
  assert undefined > 0


def test_cscores_average_the_ratios_at_which_an_example_was_held_out():
  outcomes = make_outcomes(0.9, range(4)) + make_outcomes(0.5, range(30)) + make_outcomes(0.1, [0])
  rows = _rows(TabulateCScores, outcomes)
  assert sorted(row["example"] for row in rows) == list(range(NUM_TRAIN))
  for row in rows:
    accuracies = []
    for ratio in (0.1, 0.5, 0.9):
      _, runs_out, _, correct_out = _brute_force(outcomes, ratio, row["example"])
      if runs_out:
        accuracies.append(correct_out / runs_out)
    assert row["ratios"] == len(accuracies)
    assert row["cscore"] == pytest.approx(sum(accuracies) / len(accuracies), rel=1e-12)
  assert {row["ratios"] for row in rows} >= {2, 3}


def test_a_cscore_without_held_out_runs_is_undefined():
  rows = _rows(TabulateCScores, make_outcomes(0.9, [0]))
  undefined = [row for row in rows if row["ratios"] == 0]
  assert undefined
  assert all(row["cscore"] is None and row["cscore_se"] is None for row in undefined)


def test_labels_are_null_without_a_data_set():
  outcomes = make_outcomes(0.5, range(3))
  for parts in (TabulateExamples, TabulateCScores):
    assert {row["label"] for row in _rows(parts, outcomes, Labels(None, None))} == {None}
