import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

from beam_pipelines.storage.runs.experiment import RunKey
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.pack_runs import PackRuns
from beam_pipelines.transforms.select_pairs import PAIRS, PairSelection, SelectPairs
from beam_pipelines.transforms.tabulate_pairs import TabulatePairs
from beam_pipelines.transforms.tabulate_runs import GatherNeighbours
from tests.helpers.eager import run_eagerly
from tests.helpers.exact import exactly_reaches
from tests.helpers.outcomes import NUM_TEST, NUM_TRAIN, make_outcomes

LABELS = Labels(train=np.arange(NUM_TRAIN) % 3, test=np.arange(NUM_TEST) % 3)


class _Select(beam.PTransform):
  def __init__(self, selection, labels, block_size):
    self.selection = selection
    self.labels = labels
    self.block_size = block_size

  def expand(self, outcomes):
    labels = outcomes.pipeline | "Labels" >> beam.Create([self.labels])
    packed = (outcomes,) | GatherNeighbours() | PackRuns(self.block_size)
    return (packed | SelectPairs(self.selection, labels))[PAIRS] | TabulatePairs(labels)


def _rows(selection, outcomes, labels=LABELS, block_size=16):
  parts = run_eagerly(_Select(selection, labels, block_size), outcomes)
  assert len({part.name for part in parts}) == len(parts)
  return pa.concat_tables(part.rows for part in parts).to_pylist()


def _counts(seen, correct):
  return len(correct[seen]), len(correct[~seen]), correct[seen].sum(), correct[~seen].sum()


def _score(runs_in, runs_out, correct_in, correct_out):
  return correct_in / runs_in - correct_out / runs_out


def _brute_force(outcomes, ratio, selection, labels=LABELS):
  """Loops over all pairs; the value is (influence, memorization)."""
  unpacked = [outcome.unpack() for outcome in outcomes if outcome.key.subset_ratio == ratio]
  member, train, test = (np.array(bits) for bits in zip(*unpacked, strict=True))
  pairs = {}
  for i in range(NUM_TRAIN):
    on_itself = [int(count) for count in _counts(member[:, i], train[:, i])]
    if not exactly_reaches(*on_itself, selection.min_memorization):
      continue
    for j in range(NUM_TEST):
      if selection.same_class and labels.train[i] != labels.test[j]:
        continue
      on_other = [int(count) for count in _counts(member[:, i], test[:, j])]
      if exactly_reaches(*on_other, selection.min_influence):
        pairs[i, j] = _score(*on_other), _score(*on_itself)
  return pairs


def _keep_top_k(pairs, k):
  kept = set()
  for side in (0, 1):
    for example in {pair[side] for pair in pairs}:
      group = [pair for pair in pairs if pair[side] == example]
      kept.update(sorted(group, key=lambda pair: (-pairs[pair][0], pair))[:k])
  return {pair: pairs[pair] for pair in kept}


@pytest.mark.parametrize("same_class", [True, False])
@pytest.mark.parametrize("block_size", [8, 64])
def test_selected_pairs_equal_brute_force(same_class, block_size):
  outcomes = make_outcomes(0.7, range(130)) + make_outcomes(0.3, range(20))
  selection = PairSelection(0.1, 0.2, same_class)
  rows = _rows(selection, outcomes, block_size=block_size)
  for ratio in (0.3, 0.7):
    found = {
      (row["train_example"], row["test_example"]): (row["influence"], row["memorization"])
      for row in rows
      if row["subset_ratio"] == ratio
    }
    expected = _brute_force(outcomes, ratio, selection)
    assert found == expected
    assert expected
  for row in rows:
    assert row["train_label"] == row["train_example"] % 3
    assert row["test_label"] == row["test_example"] % 3
    accuracy_in, accuracy_out = (
      row["correct_in"] / row["runs_in"],
      row["correct_out"] / row["runs_out"],
    )
    assert row["influence"] == accuracy_in - accuracy_out
    assert row["influence_se"] > 0


@pytest.mark.parametrize("top_k", [1, 2])
def test_top_k_is_that_of_all_blocks_together(top_k):
  outcomes = make_outcomes(0.7, range(40))
  selection = PairSelection(-1, -1, same_class=False, top_k=top_k)
  rows = _rows(selection, outcomes, block_size=8)
  found = {
    (row["train_example"], row["test_example"]): (row["influence"], row["memorization"])
    for row in rows
  }
  assert found == _keep_top_k(_brute_force(outcomes, 0.7, selection), top_k)


def test_scores_that_equal_the_thresholds_are_selected():
  """Of 20 and 20 runs, 7 and 4 are correct: 0.15 exactly, but in floats a little less."""
  outcomes = []
  for run in range(40):
    seen, right = run < 20, run < 7 or 20 <= run < 24
    key = RunKey(0.5, run)
    outcomes.append(RunOutcome.pack(key, *np.array([[seen], [right], [right]])))
  labels = Labels(train=np.zeros(1, int), test=np.zeros(1, int))
  (row,) = _rows(PairSelection(0.15, 0.15), outcomes, labels)
  assert row["influence"] == row["memorization"] == 7 / 20 - 4 / 20 < 0.15
  for selection in (PairSelection(0.16, 0.15), PairSelection(0.15, 0.16)):
    assert _rows(selection, outcomes, labels) == []


def test_no_pairs_are_an_empty_table():
  assert _rows(PairSelection(1, 1), make_outcomes(0.7, range(30))) == []


def test_all_pairs_need_no_labels():
  selection = PairSelection(0.1, 0.2, same_class=False)
  rows = _rows(selection, make_outcomes(0.7, range(30)), Labels(None, None))
  assert rows
  assert {row["train_label"] for row in rows} == {row["test_label"] for row in rows} == {None}
