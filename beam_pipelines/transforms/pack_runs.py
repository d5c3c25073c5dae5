"""From one outcome per run to all runs' outcomes on a block of examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import TaggedOutput

from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.transforms.spill_values import SpillValues
from estimators.bits import transpose_runs
from estimators.outcome_kinds import CORRECT, OutcomeKind
from files.errors import UsageError
from files.spill import Spill, Spilled, load

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

  Input: lists of `RunOutcome`s of equal sizes, each of one subset ratio, in ascending order, and of
  runs that are neighbours, as `GatherNeighbours` makes them. Output: a dict of `train_blocks`
  (`(BlockKey, PackedTrainBlock)`, for whoever takes one to `load`) and `test_sets` (`(subset ratio,
  PackedTestSet)`). Runs come in ascending order whatever the order of arrival. One shuffled record
  per list and block.

  Args:
    block_size: training examples per block, a multiple of 8. More blocks spread work wider and
      need less memory each; each costs a record per list.
    kind: what is taken of outcomes: bits, or reals that follow from their margins.
    spill: where rows and blocks wait for the others, or None: in memory.
  """

  block_size: int = 8192
  kind: OutcomeKind = CORRECT
  spill: Spill | None = None

  def expand(self, gathered: beam.PCollection[list[RunOutcome]]) -> dict[str, beam.PCollection]:
    """Cuts, combines per key, transposes."""
    cut = gathered | "Cut into blocks" >> beam.ParDo(_cut, self.block_size, self.kind).with_outputs(
      TEST_SETS, main=TRAIN_BLOCKS
    )
    return {
      TRAIN_BLOCKS: cut[TRAIN_BLOCKS]
      | "Let training rows wait" >> SpillValues(self.spill)
      | "Stack training rows" >> beam.CombinePerKey(_StackRows())
      | "Transpose training rows" >> beam.Map(_train_block, self.kind)
      | "Let blocks wait" >> SpillValues(self.spill),
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


class _Rows(NamedTuple):
  """What some runs make of some examples.

  Attributes:
    runs: ids in ascending order, all below or above those of other rows.
    examples: how many.
    outcomes: of each kind of outcome, the bits or reals of the runs, one run after the other.
  """

  runs: list[int]
  examples: int
  outcomes: tuple[bytes, ...]


_Stack = list[_Rows | Spilled]


def _cut(
  group: Sequence[RunOutcome], block_size: int, kind: OutcomeKind
) -> Iterator[tuple[BlockKey, _Rows] | TaggedOutput]:
  ratio, runs = group[0].key.subset_ratio, [outcome.key.run for outcome in group]
  num_train, num_test = group[0].num_train, group[0].num_test
  item_bits = 32 if kind.is_soft else 1
  for start in range(0, num_train, block_size):
    stop = min(start + block_size, num_train)
    members = [_slice(outcome.in_subset, start, stop, 1) for outcome in group]
    outcomes = [_slice(_of_train(outcome, kind), start, stop, item_bits) for outcome in group]
    rows = _Rows(runs, stop - start, (b"".join(members), b"".join(outcomes)))
    yield (ratio, start), rows
  of_test = b"".join(_of_test(outcome, kind) for outcome in group)
  yield TaggedOutput(TEST_SETS, (ratio, _Rows(runs, num_test, (of_test,))))


def _of_train(outcome: RunOutcome, kind: OutcomeKind) -> bytes:
  if not kind.is_soft:
    return outcome.train_correct
  assert outcome.train_margin is not None
  return outcome.train_margin


def _of_test(outcome: RunOutcome, kind: OutcomeKind) -> bytes:
  if not kind.is_soft:
    return outcome.test_correct
  assert outcome.test_margin is not None
  return outcome.test_margin


def _slice(packed: bytes, start: int, stop: int, item_bits: int) -> bytes:
  """Returns the bytes that hold some items, of which the first starts a byte."""
  return packed[start * item_bits // 8 : (stop * item_bits + 7) // 8]


class _StackRows(beam.CombineFn):
  """Collects rows, which are put in order once all are there: any order of combining will do."""

  def create_accumulator(self) -> _Stack:
    return []

  def add_input(self, accumulator: _Stack, rows: _Rows | Spilled) -> _Stack:
    accumulator.append(rows)
    return accumulator

  def merge_accumulators(self, accumulators: Iterable[_Stack]) -> _Stack:
    return [rows for accumulator in accumulators for rows in accumulator]

  def extract_output(self, accumulator: _Stack) -> _Stack:
    return accumulator


def _train_block(
  keyed: tuple[BlockKey, _Stack], kind: OutcomeKind
) -> tuple[BlockKey, PackedTrainBlock]:
  key, stacked = keyed
  rows = _in_order(stacked)
  return key, PackedTrainBlock(_run_ids(rows), _transpose_bits(rows, 0), _outcomes(rows, 1, kind))


def _test_set(keyed: tuple[float, _Stack], kind: OutcomeKind) -> tuple[float, PackedTestSet]:
  subset_ratio, stacked = keyed
  rows = _in_order(stacked)
  return subset_ratio, PackedTestSet(_run_ids(rows), _outcomes(rows, 0, kind))


def _in_order(stacked: _Stack) -> list[_Rows]:
  return sorted(map(load, stacked), key=lambda rows: rows.runs[0])


def _run_ids(rows: list[_Rows]) -> np.ndarray:
  return np.concatenate([np.array(some.runs, np.int64) for some in rows])


def _outcomes(rows: list[_Rows], column: int, kind: OutcomeKind) -> np.ndarray:
  """Returns what the runs make of the examples, of none where that was not recorded."""
  if kind.of_margins is None:
    return _transpose_bits(rows, column)
  each = _of_each_run(rows, column, np.dtype("<f4"))
  outcomes = np.empty((_examples(rows, column), len(each)), np.float32)
  for first in range(0, len(each), _ROWS_AT_ONCE):
    some = each[first : first + _ROWS_AT_ONCE]
    outcomes[:, first : first + len(some)] = kind.of_margins(np.stack(some)).T
  return outcomes


def _transpose_bits(rows: list[_Rows], column: int) -> np.ndarray:
  return transpose_runs(_of_each_run(rows, column, np.dtype(np.uint8)), _examples(rows, column))


def _of_each_run(rows: list[_Rows], column: int, dtype: np.dtype) -> list[np.ndarray]:
  return [
    of_run
    for some in rows
    for of_run in np.frombuffer(some.outcomes[column], dtype).reshape(len(some.runs), -1)
  ]


def _examples(rows: list[_Rows], column: int) -> int:
  return rows[0].examples if rows[0].outcomes[column] else 0
