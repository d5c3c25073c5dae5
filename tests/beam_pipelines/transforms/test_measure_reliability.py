import apache_beam as beam
import numpy as np
import pytest

from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.scores.manifest import Reliability, SplitHalf
from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.measure_reliability import MeasureReliability
from beam_pipelines.transforms.pack_runs import PackRuns
from beam_pipelines.transforms.select_pairs import HALVES, PairSelection, SelectPairs
from beam_pipelines.transforms.tabulate_runs import GatherNeighbours
from estimators import split_halves
from tests.helpers.eager import run_eagerly
from tests.helpers.outcomes import NUM_TEST, NUM_TRAIN, make_outcomes

LABELS = Labels(train=np.arange(NUM_TRAIN) % 3, test=np.arange(NUM_TEST) % 3)


class _Compare(beam.PTransform):
  def __init__(self, selection, block_size=16):
    self.selection = selection
    self.block_size = block_size

  def expand(self, outcomes):
    labels = outcomes.pipeline | "Labels" >> beam.Create([LABELS])
    packed = (outcomes,) | GatherNeighbours() | PackRuns(self.block_size)
    halves = (packed | SelectPairs(self.selection, labels))[HALVES]
    return packed | MeasureReliability(self.selection, labels, halves)


def _scores(outcomes):
  """Memorization [train] and influence [train, test] by the definition, NaN where undefined."""
  member, train, test = (
    np.array(bits, float) for bits in zip(*(o.unpack() for o in outcomes), strict=True)
  )
  with np.errstate(invalid="ignore"):
    inside, outside = member.sum(0), (1 - member).sum(0)
    memorization = (member * train).sum(0) / inside - ((1 - member) * train).sum(0) / outside
    influence = member.T @ test / inside[:, None] - (1 - member).T @ test / outside[:, None]
  return memorization, influence


def _pairs(outcomes, selection):
  memorization, influence = _scores(outcomes)
  chosen = (memorization[:, None] >= selection.min_memorization) & (
    influence >= selection.min_influence
  )
  if selection.same_class:
    chosen &= LABELS.train[:, None] == LABELS.test
  pairs = list(zip(*np.nonzero(chosen), strict=True))
  if selection.top_k is None:
    return set(pairs)
  kept = set()
  for side in (0, 1):
    for example in {pair[side] for pair in pairs}:
      group = sorted((-influence[pair], pair) for pair in pairs if pair[side] == example)
      kept.update(pair for _, pair in group[: selection.top_k])
  return kept


@pytest.mark.parametrize("block_size", [8, 64])
@pytest.mark.parametrize(
  "selection",
  [PairSelection(0.05, 0.1), PairSelection(-1, -1, same_class=False, top_k=2)],
  ids=["thresholds", "top k"],
)
def test_halves_score_on_their_own(selection, block_size):
  outcomes = make_outcomes(0.5, range(41))
  (found,) = run_eagerly(_Compare(selection, block_size), outcomes[::-1])
  halves = [
    [outcome for outcome, chosen in zip(outcomes, half, strict=True) if chosen]
    for half in split_halves(41, seed=0)
  ]
  first, second = (_scores(half)[0] for half in halves)
  correlation = np.corrcoef(first, second)[0, 1]
  memorization = found.reliability.memorization
  assert memorization.correlation == pytest.approx(correlation, rel=1e-9)
  assert memorization.spearman_brown == pytest.approx(2 * correlation / (1 + correlation))
  pairs = [_pairs(half, selection) for half in halves]
  assert pairs[0] & pairs[1]
  jaccard = len(pairs[0] & pairs[1]) / len(pairs[0] | pairs[1])
  assert found.reliability.pairs_jaccard == pytest.approx(jaccard)
  assert (found.subset_ratio, found.runs) == (0.5, 41)


def test_the_curve_grows_to_all_runs():
  (found,) = run_eagerly(_Compare(PairSelection()), make_outcomes(0.5, range(40)))
  curve = found.reliability.curve
  assert [point.runs for point in curve] == [5, 10, 15, 20, 25, 30, 35, 40]
  assert curve[-1] == found.reliability.memorization


def test_too_few_runs_are_noted():
  (few,) = run_eagerly(_Compare(PairSelection(0.1, 0)), make_outcomes(0.5, range(10)))
  assert few.expected_false_pairs > 1
  assert few.note.startswith("10 runs are few for these thresholds: about ")
  (enough,) = run_eagerly(_Compare(PairSelection(0.5, 0.5)), make_outcomes(0.5, range(200)))
  assert enough.expected_false_pairs < 1
  assert enough.note is None


def test_halves_that_disagree_have_no_spearman_brown_value():
  """Each run of one half has its opposite in the other."""
  first, second = split_halves(20, seed=0)
  outcomes = make_outcomes(0.5, range(20))
  for one, other in zip(np.flatnonzero(first), np.flatnonzero(second), strict=True):
    in_subset, train_correct, test_correct = outcomes[one].unpack()
    opposite = RunOutcome.pack(outcomes[other].key, in_subset, ~train_correct, test_correct)
    outcomes[other] = opposite
  (found,) = run_eagerly(_Compare(PairSelection()), outcomes)
  memorization = found.reliability.memorization
  assert memorization.correlation == pytest.approx(-1)
  assert memorization.spearman_brown is None


def test_a_single_run_has_no_reliability():
  (found,) = run_eagerly(_Compare(PairSelection()), make_outcomes(0.5, [3]))
  assert found.reliability == Reliability(SplitHalf(1, None, None), None, ())
