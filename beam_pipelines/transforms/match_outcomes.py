"""Two outcomes of each run compared, example by example."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import apache_beam as beam

from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.runs.run_place import RunKey


@dataclasses.dataclass(frozen=True, order=True)
class RunMatches:
  """How many predictions of a run are the same twice.

  Attributes:
    key: the run.
    same: examples of each of `aux_arrays.SPLITS` that are correct in both outcomes or in neither.
    examples: all examples of each.
  """

  key: RunKey
  same: tuple[int, ...]
  examples: tuple[int, ...]

  @property
  def differing(self) -> int:
    """Examples that are correct in only one of the outcomes."""
    return sum(self.examples) - sum(self.same)

  @property
  def share_differing(self) -> float:
    """`differing` as a share of the run's examples, in [0, 1]."""
    return self.differing / sum(self.examples)


@dataclasses.dataclass
class MatchOutcomes(beam.PTransform):
  """Compares the outcomes of the runs that are in both of two collections.

  Input: a pair of PCollections of `RunOutcome`s of equal sizes, in each at most one per run.
  Membership is that of the first. Output: `RunMatches`.
  """

  def expand(
    self, outcomes: tuple[beam.PCollection[RunOutcome], beam.PCollection[RunOutcome]]
  ) -> beam.PCollection[RunMatches]:
    """Joins by run."""
    keyed = [
      side | f"Key {name}" >> beam.Map(lambda outcome: (outcome.key, outcome))
      for name, side in zip(("first", "second"), outcomes, strict=True)
    ]
    return (
      tuple(keyed)
      | "Join runs" >> beam.CoGroupByKey()
      | "Match" >> beam.FlatMapTuple(lambda _, sides: _match(*map(list, sides)))
    )


def _match(first: list[RunOutcome], second: list[RunOutcome]) -> Iterator[RunMatches]:
  for one, other in zip(first, second, strict=False):
    in_subset, train, test = one.unpack()
    _, other_train, other_test = other.unpack()
    same_train = train == other_train
    splits = (same_train[in_subset], same_train[~in_subset], test == other_test)
    yield RunMatches(
      one.key,
      same=tuple(int(same.sum()) for same in splits),
      examples=tuple(len(same) for same in splits),
    )
