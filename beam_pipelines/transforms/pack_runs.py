"""From one outcome per run to all runs' bits of a block of examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import TaggedOutput

from beam_pipelines.storage.runs.outcome import RunOutcome
from estimators.bits import transpose_runs
from files.errors import UsageError

TRAIN_BLOCKS = "train_blocks"
TEST_SETS = "test_sets"


_PROCESS_BYTES = 700_000_000
# Of a run and an example: 2 bits each of packed bits, of rows and, at most, of copies.
_BYTES_PER_RUN = 0.75
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
    correct: uint64 [examples, ceil(runs / 64)], whether it classifies the example correctly; None
      where that was not recorded.
  """

  runs: np.ndarray
  member: np.ndarray
  correct: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class PackedTestSet:
  """What all runs of a subset ratio did with the test set.

  Attributes:
    runs: int64 [runs], as in `PackedTrainBlock`.
    correct: uint64 [test examples, ceil(runs / 64)].
  """

  runs: np.ndarray
  correct: np.ndarray


@dataclasses.dataclass
class PackRuns(beam.PTransform):
  """Transposes outcomes: from examples packed per run to runs packed per example.

  Input: `RunOutcome`s of equal sizes. Output: a dict of `train_blocks`
  (`(BlockKey, PackedTrainBlock)`) and `test_sets` (`(subset ratio, PackedTestSet)`). Runs come in
  ascending order whatever the order of arrival. One shuffled record per run and block.

  Args:
    block_size: training examples per block, a multiple of 8. More blocks spread work wider and
      need less memory each; each costs a record per run.
  """

  block_size: int = 8192

  def expand(self, outcomes: beam.PCollection[RunOutcome]) -> dict[str, beam.PCollection]:
    """Cuts, combines per key, transposes."""
    cut = outcomes | "Cut into blocks" >> beam.ParDo(_cut, self.block_size).with_outputs(
      TEST_SETS, main=TRAIN_BLOCKS
    )
    return {
      TRAIN_BLOCKS: cut[TRAIN_BLOCKS]
      | "Stack training rows" >> beam.CombinePerKey(_StackRows())
      | "Transpose training rows" >> beam.MapTuple(_train_block),
      TEST_SETS: cut[TEST_SETS]
      | "Stack test rows" >> beam.CombinePerKey(_StackRows())
      | "Transpose test rows" >> beam.MapTuple(_test_set),
    }


def choose_block_size(worker_memory: int, runs: int, num_test: int, dense: bool) -> int:
  """Returns how many training examples a block may have, a multiple of 8, within a worker's memory.

  A quarter of what is left beside the process itself and the test set goes to one block: its packed
  bits, the rows that they are transposed from, a copy of half of them while halves of the runs are
  compared, and for a dense matrix 8 bytes per pair.

  Args:
    worker_memory: bytes.
    runs: most runs at any subset ratio.
    num_test: test examples.
    dense: whether the dense matrix is written.

  Raises:
    UsageError: the memory does not hold even the smallest block.
  """
  per_example = runs * _BYTES_PER_RUN + (8 * num_test if dense else 0)
  left = worker_memory - _PROCESS_BYTES - num_test * runs * _BYTES_PER_RUN
  block_size = int(left / 4 / per_example) // 8 * 8
  if block_size < _BLOCK_SIZES[0]:
    needed = worker_memory - left + 4 * per_example * _BLOCK_SIZES[0]
    raise UsageError(
      f"--worker_memory={worker_memory / 1e9:.2f}GB is too little for {runs:,} runs and "
      f"{num_test:,} test examples: give at least {needed / 1e9:.2f}GB"
    )
  return min(block_size, _BLOCK_SIZES[1])


# One run's bits of some examples: the run id, how many examples, one `bytes` per kind of bit.
# A plain tuple, which Beam encodes without pickling it.
_Row = tuple[int, int, tuple[bytes, ...]]


def _cut(outcome: RunOutcome, block_size: int) -> Iterator[tuple[BlockKey, _Row] | TaggedOutput]:
  ratio, run = outcome.key.subset_ratio, outcome.key.run
  for start in range(0, outcome.num_train, block_size):
    stop = min(start + block_size, outcome.num_train)
    part = slice(start // 8, (stop + 7) // 8)
    bits: tuple[bytes, ...] = (outcome.in_subset[part],)
    if outcome.train_recorded:
      bits += (outcome.train_correct[part],)
    yield (ratio, start), (run, stop - start, bits)
  test = (run, outcome.num_test, (outcome.test_correct,))
  yield TaggedOutput(TEST_SETS, (ratio, test))


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


def _train_block(key: BlockKey, rows: list[_Row]) -> tuple[BlockKey, PackedTrainBlock]:
  recorded = len(rows[0][2]) > 1
  correct = _transpose(rows, 1) if recorded else None
  return key, PackedTrainBlock(_run_ids(rows), _transpose(rows, 0), correct)


def _test_set(subset_ratio: float, rows: list[_Row]) -> tuple[float, PackedTestSet]:
  return subset_ratio, PackedTestSet(_run_ids(rows), _transpose(rows, 0))


def _run_ids(rows: list[_Row]) -> np.ndarray:
  return np.array([run for run, _, _ in rows], np.int64)


def _transpose(rows: list[_Row], kind: int) -> np.ndarray:
  packed = [np.frombuffer(bits[kind], np.uint8) for _, _, bits in rows]
  return transpose_runs(packed, rows[0][1])
