"""What all outcomes of an experiment tell together: that it is not what its directories say."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.runs.run_place import RunKey

_SHOWN = 3
_DEVIATIONS = 6  # of a coin: chance exceeds them once in 500 million subsets
_NEGLIGIBLE_SHARE = 0.005


@dataclasses.dataclass(frozen=True, order=True)
class RunTrace:
  """What is kept of an outcome to compare it with all others: a few bytes, whatever its size.

  Attributes:
    key: the run.
    num_train: training examples.
    examples_in: how many of them the run saw.
    digest: equal where subset, training outcomes and test outcomes are equal, 16 bytes.
  """

  key: RunKey
  num_train: int
  examples_in: int
  digest: bytes

  @classmethod
  def of(cls, outcome: RunOutcome) -> RunTrace:
    """Returns the trace of an outcome."""
    digest = hashlib.blake2b(f"{outcome.num_train} {outcome.num_test}".encode(), digest_size=16)
    for bits in (outcome.in_subset, outcome.train_correct, outcome.test_correct):
      digest.update(bits)
    return cls(outcome.key, outcome.num_train, outcome.examples_in, digest.digest())

  @property
  def share_in(self) -> float:
    """Share of the training examples that the run saw, in [0, 1]; NaN without examples."""
    return self.examples_in / self.num_train if self.num_train else math.nan


def find_misreadings(traces: Iterable[RunTrace]) -> list[str]:
  """Returns a sentence for each kind of misreading that outcomes show, in an order of their own.

  - Runs with the subset and all outcomes of another, at whatever subset ratio: copies, which
    count twice.
  - A subset ratio whose runs, or some of them, saw another share of the training set. A subset
    of fixed size has that share up to a rounding; one drawn by coins, each example by itself,
    has it up to chance, of which six standard deviations are granted.
  """
  ordered = sorted(traces)
  return [*_describe_copies(ordered), *_describe_other_shares(ordered)]


def _describe_copies(traces: Sequence[RunTrace]) -> Iterator[str]:
  first: dict[bytes, RunKey] = {}
  copies = [
    (trace.key, original)
    for trace in traces
    if (original := first.setdefault(trace.digest, trace.key)) != trace.key
  ]
  if copies:
    examples = _first([f"{_name(key)} those of {_name(original)}" for key, original in copies])
    yield (
      f"{len(copies):,} of {len(traces):,} runs have the very subset and outcomes of another, "
      f"{examples}: copies count twice, and make scores look more reliable than they are; "
      "take them out of the experiment"
    )


def _describe_other_shares(traces: Sequence[RunTrace]) -> Iterator[str]:
  by_ratio: dict[float, list[RunTrace]] = defaultdict(list)
  for trace in traces:
    if trace.num_train:
      by_ratio[trace.key.subset_ratio].append(trace)
  for ratio, runs in by_ratio.items():
    mean = math.fsum(trace.share_in for trace in runs) / len(runs)
    apart = [
      trace for trace in runs if abs(trace.share_in - ratio) > _tolerance(ratio, trace.num_train, 1)
    ]
    if abs(mean - ratio) > _tolerance(ratio, min(trace.num_train for trace in runs), len(runs)):
      yield (
        f"the {len(runs):,} runs at subset ratio {ratio} saw {mean:.1%} of the training set on "
        f"average, such as {_first(_shares(runs))}: their scores would go by a ratio that is not "
        "theirs; name the directory by the share that they saw"
      )
    elif apart:
      yield (
        f"{len(apart):,} of {len(runs):,} runs at subset ratio {ratio} saw another share of the "
        f"training set, such as {_first(_shares(apart))}: move them to the directory of the share "
        "that they saw"
      )


def _tolerance(ratio: float, num_train: int, num_runs: int) -> float:
  deviation = math.sqrt(ratio * (1 - ratio) / (num_train * num_runs))
  return max(_NEGLIGIBLE_SHARE, 1 / num_train + _DEVIATIONS * deviation)


def _shares(traces: Iterable[RunTrace]) -> list[str]:
  return [f"{_name(trace.key)} {trace.share_in:.1%}" for trace in traces]


def _first(examples: Sequence[str]) -> str:
  more = ["…"] if len(examples) > _SHOWN else []
  return ", ".join([*examples[:_SHOWN], *more])


def _name(key: RunKey) -> str:
  return f"{key.subset_ratio}/{key.run}"
