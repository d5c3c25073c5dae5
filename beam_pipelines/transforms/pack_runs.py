"""From one outcome per run to all runs' outcomes on a block of examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import TaggedOutput

from beam_pipelines.storage.runs.outcome import RunOutcome
from estimators.bits import transpose_runs
from estimators.outcome_kinds import CORRECT, OutcomeKind
from files.errors import UsageError

TRAIN_BLOCKS = "train_blocks"
TEST_SETS = "test_sets"


_PROCESS_BYTES = 700_000_000
# Of a run and an example: 2 bits each of packed bits, of rows and, at most, of copies. Of reals it
# is 1 bit and 4 bytes.
_BYTES_PER_RUN = 0.75
_SOFT_BYTES_PER_RUN = 3 * (4 + 1 / 8)

# Rows of reals that are gathered before they are transposed: of each example one cache line.
_ROWS_AT_ONCE = 16
_BLOCK_SIZES = (64, 16_384)  # smallest and largest

# The subset ratio, and the index of the block's first training example. A plain tuple, because Beam
# knows how to encode that as a key.
BlockKey = tuple[float, int]


@dataclasses.dataclass(frozen=True)
class PackedTrainBlock:
  """What all runs of a subset ratio did with a block of training examples.

  Attributes:
    runs: int64 [runs], run ids in ascending order; bit r of the packed bits is run `runs[r]`.
    member: uint64 [examples, ceil(runs / 64)], whether the run saw the example.
    outcomes: what it makes of the example: uint64 [examples, ceil(runs / 64)], whether it is
      correct, or float32 [examples, runs]. Of no examples where that was not recorded.
  """

  runs: np.ndarray
  member: np.ndarray
  outcomes: np.ndarray

  @property
  def recorded(self) -> bool:
    """Whether it is known what the runs make of the examples."""
    return len(self.outcomes) == len(self.member)


@dataclasses.dataclass(frozen=True)
class PackedTestSet:
  """What all runs of a subset ratio did with the test set.

  Attributes:
    runs: int64 [runs], as in `PackedTrainBlock`.
    outcomes: likewise, of the test examples.
  """

  runs: np.ndarray
  outcomes: np.ndarray


@dataclasses.dataclass
class PackRuns(beam.PTransform):
  """Transposes outcomes: from examples packed per run to runs packed per example.

  Input: `RunOutcome`s of equal sizes. Output: a dict of `train_blocks`
  (`(BlockKey, PackedTrainBlock)`) and `test_sets` (`(subset ratio, PackedTestSet)`). Runs come in
  ascending order whatever the order of arrival. One shuffled record per run and block.

  Args:
    block_size: training examples per block, a multiple of 8. More blocks spread work wider and
      need less memory each; each costs a record per run.
    kind: what is taken of outcomes: bits, or reals that follow from their margins.
  """

  block_size: int = 8192
  kind: OutcomeKind = CORRECT

  def expand(self, outcomes: beam.PCollection[RunOutcome]) -> dict[str, beam.PCollection]:
    """Cuts, combines per key, transposes."""
    cut = outcomes | "Cut into blocks" >> beam.ParDo(_cut, self.block_size, self.kind).with_outputs(
      TEST_SETS, main=TRAIN_BLOCKS
    )
    return {
      TRAIN_BLOCKS: cut[TRAIN_BLOCKS]
      | "Stack training rows" >> beam.CombinePerKey(_StackRows())
      | "Transpose training rows" >> beam.Map(_train_block, self.kind),
      TEST_SETS: cut[TEST_SETS]
      | "Stack test rows" >> beam.CombinePerKey(_StackRows())
      | "Transpose test rows" >> beam.Map(_test_set, self.kind),
    }


def choose_block_size(
  worker_memory: int, runs: int, num_test: int, dense: bool, kind: OutcomeKind = CORRECT
) -> int:
  """Returns how many training examples a block may have, a multiple of 8, within a worker's memory.

  A quarter of what is left beside the process itself and the test set goes to one block: its packed
  outcomes, the rows that they are transposed from, a copy of half of them while halves of the runs
  are compared, and for a dense matrix 8 bytes per pair.

  Args:
    worker_memory: bytes.
    runs: most runs at any subset ratio.
    num_test: test examples.
    dense: whether the dense matrix is written.
    kind: what outcomes are.

  Raises:
    UsageError: the memory does not hold even the smallest block.
  """
  per_run = _SOFT_BYTES_PER_RUN if kind.is_soft else _BYTES_PER_RUN
  per_example = runs * per_run + (8 * num_test if dense else 0)
  left = worker_memory - _PROCESS_BYTES - num_test * runs * per_run
  block_size = int(left / 4 / per_example) // 8 * 8
  if block_size < _BLOCK_SIZES[0]:
    needed = worker_memory - left + 4 * per_example * _BLOCK_SIZES[0]
    raise UsageError(
      f"--worker_memory={worker_memory / 1e9:.2f}GB is too little for {runs:,} runs and "
      f"{num_test:,} test examples: give at least {needed / 1e9:.2f}GB"
    )
  return min(block_size, _BLOCK_SIZES[1])


# What one run makes of some examples: the run id, how many examples, one `bytes` per kind of
# outcome. A plain tuple, which Beam encodes without pickling it.
_Row = tuple[int, int, tuple[bytes, ...]]


def _cut(
  outcome: RunOutcome, block_size: int, kind: OutcomeKind
) -> Iterator[tuple[BlockKey, _Row] | TaggedOutput]:
  ratio, run = outcome.key.subset_ratio, outcome.key.run
  of_train, of_test, item_bits = outcome.train_correct, outcome.test_correct, 1
  if kind.is_soft:
    assert outcome.train_margin is not None
    assert outcome.test_margin is not None
    of_train, of_test, item_bits = outcome.train_margin, outcome.test_margin, 32
  for start in range(0, outcome.num_train, block_size):
    stop = min(start + block_size, outcome.num_train)
    cut = (_slice(outcome.in_subset, start, stop, 1), _slice(of_train, start, stop, item_bits))
    yield (ratio, start), (run, stop - start, cut)
  test = (run, outcome.num_test, (of_test,))
  yield TaggedOutput(TEST_SETS, (ratio, test))


def _slice(packed: bytes, start: int, stop: int, item_bits: int) -> bytes:
  """Returns the bytes that hold some items, of which the first starts a byte."""
  return packed[start * item_bits // 8 : (stop * item_bits + 7) // 8]


class _StackRows(beam.CombineFn):
  """Collects rows and sorts them by run: a union of sets, so any order of combining will do."""

  def create_accumulator(self) -> list[_Row]:
    return []

  def add_input(self, accumulator: list[_Row], row: _Row) -> list[_Row]:
    accumulator.append(row)
    return accumulator

  def merge_accumulators(self, accumulators: Iterable[list[_Row]]) -> list[_Row]:
    return [row for accumulator in accumulators for row in accumulator]

  def extract_output(self, accumulator: list[_Row]) -> list[_Row]:
    return sorted(accumulator)


def _train_block(
  keyed: tuple[BlockKey, list[_Row]], kind: OutcomeKind
) -> tuple[BlockKey, PackedTrainBlock]:
  key, rows = keyed
  return key, PackedTrainBlock(_run_ids(rows), _transpose_bits(rows, 0), _outcomes(rows, 1, kind))


def _test_set(keyed: tuple[float, list[_Row]], kind: OutcomeKind) -> tuple[float, PackedTestSet]:
  subset_ratio, rows = keyed
  return subset_ratio, PackedTestSet(_run_ids(rows), _outcomes(rows, 0, kind))


def _run_ids(rows: list[_Row]) -> np.ndarray:
  return np.array([run for run, _, _ in rows], np.int64)


def _outcomes(rows: list[_Row], column: int, kind: OutcomeKind) -> np.ndarray:
  """Returns what the runs make of the examples, of none where that was not recorded."""
  if kind.of_margins is None:
    return _transpose_bits(rows, column)
  outcomes = np.empty((_examples(rows, column), len(rows)), np.float32)
  for first in range(0, len(rows), _ROWS_AT_ONCE):
    some = [np.frombuffer(row[2][column], "<f4") for row in rows[first : first + _ROWS_AT_ONCE]]
    outcomes[:, first : first + len(some)] = kind.of_margins(np.stack(some)).T
  return outcomes


def _transpose_bits(rows: list[_Row], column: int) -> np.ndarray:
  packed = [np.frombuffer(row[2][column], np.uint8) for row in rows]
  return transpose_runs(packed, _examples(rows, column))


def _examples(rows: list[_Row], column: int) -> int:
  _, examples, outcomes = rows[0]
  return examples if outcomes[column] else 0
