import apache_beam as beam

from beam_pipelines.transforms.match_outcomes import MatchOutcomes, RunMatches
from tests.helpers.eager import run_eagerly
from tests.helpers.outcomes import make_outcomes


class _MatchSides(beam.PTransform):
  """Splits one list of (side, outcome) in two, as the eager runner has one input."""

  def expand(self, sides):
    pair = tuple(
      sides | f"Side {name}" >> beam.FlatMap(lambda side, name=name: side[1:] * (side[0] == name))
      for name in ("first", "second")
    )
    return pair | MatchOutcomes()


def _count(recorded, evaluated):
  in_subset, *bits = (array.tolist() for array in recorded.unpack())
  _, *other_bits = (array.tolist() for array in evaluated.unpack())
  same, examples = {}, {}
  for name, here, there in zip(("train", "test"), bits, other_bits, strict=True):
    for example, (one, other) in enumerate(zip(here, there, strict=True)):
      split = "removed" if name == "train" and not in_subset[example] else name
      same[split] = same.get(split, 0) + (one == other)
      examples[split] = examples.get(split, 0) + 1
  order = ("train", "removed", "test")
  return RunMatches(
    recorded.key, tuple(same[split] for split in order), tuple(examples[split] for split in order)
  )


def test_counts_per_split_and_joins_by_run():
  recorded = make_outcomes(0.5, range(6)) + make_outcomes(0.7, range(3))
  evaluated = make_outcomes(0.5, range(2, 8), seed=1) + make_outcomes(0.7, range(3))
  sides = [("first", outcome) for outcome in recorded]
  sides += [("second", outcome) for outcome in reversed(evaluated)]
  matches = sorted(run_eagerly(_MatchSides(), sides))
  others = {outcome.key: outcome for outcome in evaluated}
  expected = [_count(outcome, others[outcome.key]) for outcome in recorded if outcome.key in others]
  assert matches == expected
  assert [run.differing > 0 for run in matches] == [True] * 4 + [False] * 3
  assert all(run.share_differing == run.differing / 48 for run in matches)
