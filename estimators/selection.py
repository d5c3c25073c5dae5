"""Selection of influential pairs without a dense matrix."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from estimators.bits import check_bits, keep_runs, popcount
from estimators.counts import InOutCounts
from estimators.kernels.class_tiles import lay_out_tests
from estimators.kernels.select_rows import TrainSide, select_rows
from estimators.kernels.tiles import map_rows
from estimators.pairs import InfluencePairs, keep_top_k, merge_pairs
from estimators.thresholds import least_lead

# Pairs that pile up before they are cut to the top k.
_PAIRS_HELD = 1 << 20


class HalvesPairs(NamedTuple):
  """Pairs that all runs select, and those that each half of the runs selects on its own."""

  all: InfluencePairs
  first: InfluencePairs
  second: InfluencePairs


def select_pairs(
  member_bits: np.ndarray,
  test_bits: np.ndarray,
  runs: int,
  min_influence: float,
  *,
  train_labels: np.ndarray | None = None,
  test_labels: np.ndarray | None = None,
  eligible: np.ndarray | None = None,
  top_k: int | None = None,
  first_train: int = 0,
  threads: int | None = None,
) -> InfluencePairs:
  """Selects the pairs whose influence is defined and at least `min_influence`.

  The comparison is that of `reaches`, exact. With labels, only pairs of one class are counted at
  all. Memory beside the result: a copy of `test_bits`.

  Args:
    member_bits: uint64 [train, words], run-packed: the run was trained on the example. All
      training examples or a block of them.
    test_bits: uint64 [test, words], run-packed: the run classifies the test example correctly.
    runs: number of runs in the bits.
    min_influence: least influence of a selected pair, a decimal number; the papers use 0.15, -1
      selects all.
    train_labels: int [train]; with `test_labels`, only pairs of the same label are selected.
    test_labels: int [test].
    eligible: bool [train], training examples to consider, such as those whose memorization
      reaches a threshold. None: all.
    top_k: of these pairs keep those among the k largest of their training or test example, as
      `keep_top_k` does. Several blocks go through `merge_pairs` with the same `top_k`.
    first_train: index of the block's first training example; it is added to `train_example`.
    threads: number of threads. None: NUMBA_NUM_THREADS, by default all cores of the process.

  Raises:
    ValueError: shapes or types do not fit, `min_influence` is not finite or `top_k` not positive.
  """
  _check_bits(member_bits, test_bits, runs)
  (selected,) = _select(
    [_Part(member_bits, test_bits, runs)],
    min_influence,
    train_labels,
    test_labels,
    [eligible],
    top_k,
    first_train,
    threads,
  )
  return selected


def select_in_halves(
  member_bits: np.ndarray,
  test_bits: np.ndarray,
  halves: tuple[np.ndarray, np.ndarray],
  min_influence: float,
  *,
  train_labels: np.ndarray | None = None,
  test_labels: np.ndarray | None = None,
  eligible: Sequence[np.ndarray | None] = (None, None, None),
  top_k: int | None = None,
  first_train: int = 0,
  threads: int | None = None,
) -> HalvesPairs:
  """Selects pairs by all runs and by each half of them, at hardly more than the cost of the first.

  The counts of all runs are the sums of those of the halves, so no pair is counted twice. Memory
  beside the result: a copy of `member_bits`, two of `test_bits`.

  Args:
    member_bits: as for `select_pairs`.
    test_bits: as for `select_pairs`.
    halves: two bool [runs], from `split_halves`: each run is in one of them.
    min_influence: as for `select_pairs`.
    train_labels: as for `select_pairs`.
    test_labels: as for `select_pairs`.
    eligible: three times bool [train] or None, training examples to consider for all runs, for the
      first half and for the second. None: all.
    top_k: as for `select_pairs`.
    first_train: as for `select_pairs`.
    threads: as for `select_pairs`.

  Raises:
    ValueError: as for `select_pairs`, or a run is in no half or in both.
  """
  check_halves(halves)
  _check_bits(member_bits, test_bits, len(halves[0]))
  parts = [
    _Part(keep_runs(member_bits, half), keep_runs(test_bits, half), int(np.count_nonzero(half)))
    for half in halves
  ]
  return HalvesPairs(
    *_select(parts, min_influence, train_labels, test_labels, eligible, top_k, first_train, threads)
  )


class _Part(NamedTuple):
  """Some of the runs."""

  member_bits: np.ndarray
  test_bits: np.ndarray
  runs: int


def _select(
  parts: Sequence[_Part],
  min_influence: float,
  train_labels: np.ndarray | None,
  test_labels: np.ndarray | None,
  eligible: Sequence[np.ndarray | None],
  top_k: int | None,
  first_train: int,
  threads: int | None,
) -> list[InfluencePairs]:
  """Selects by all runs and, if they come in two parts, by the first and by the second."""
  train, test = len(parts[0].member_bits), len(parts[0].test_bits)
  train_labels, test_labels = check_selection_labels(train_labels, test_labels, train, test)
  if not math.isfinite(min_influence):
    raise ValueError(f"min_influence is {min_influence}: pass a finite number; -1 selects all")

  runs = _with_sum([np.array(part.runs) for part in parts])
  runs_in = _with_sum([popcount(part.member_bits) for part in parts])
  correct = _with_sum([popcount(part.test_bits) for part in parts])
  test_side, classes = lay_out_tests([part.test_bits for part in parts], correct, test_labels)
  considered = (runs_in > 0) & (runs_in < runs[:, None]) & np.isin(train_labels, classes)
  for some, each in zip(considered, eligible, strict=True):
    check_length("eligible", each, train)
    if each is not None:
      some &= each
  train_side = TrainSide(
    member_bits=np.concatenate([part.member_bits for part in parts], axis=1),
    test_class=np.searchsorted(classes, train_labels),
    considered=considered,
    runs_in=runs_in,
    least_lead=least_lead(runs_in, runs[:, None] - runs_in, min_influence),
    runs=runs,
  )
  rows = np.flatnonzero(considered.any(axis=0))
  rows = rows[np.argsort(train_labels[rows], kind="stable")]

  def select(some: slice) -> list[InfluencePairs]:
    found = select_rows(train_side, test_side, rows[some])
    return [pairs_in(each, found[found[:, 0] == each, 1:].T) for each in range(len(runs))]

  def pairs_in(each: int, found: np.ndarray) -> InfluencePairs:
    train_example, test_example, correct_in = found
    seen = runs_in[each, train_example]
    all_counts = (
      seen,
      runs[each] - seen,
      correct_in,
      correct[each, test_example] - correct_in,
    )
    pairs = InfluencePairs(
      train_example.astype(np.int64) + first_train,
      test_example.astype(np.int64),
      InOutCounts(*(counts.astype(np.int32) for counts in all_counts)),
    )
    return pairs if top_k is None else keep_top_k(pairs, top_k)

  return merge_selected(map_rows(select, len(rows), threads), len(runs), top_k)


def _with_sum(values: Sequence[np.ndarray]) -> np.ndarray:
  """Stacks the values of all parts together and, if there are several, of each."""
  return np.stack(values if len(values) == 1 else [sum(values), *values])


def merge_selected(
  blocks: Iterable[list[InfluencePairs]], sets: int, top_k: int | None
) -> list[InfluencePairs]:
  """Merges each set's pairs as they come; with `top_k`, cuts them whenever many are held."""
  held: list[list[InfluencePairs]] = [[] for _ in range(sets)]
  most = [_PAIRS_HELD] * sets
  for block in blocks:
    for each, pairs in enumerate(block):
      held[each].append(pairs)
      if top_k is not None and sum(map(len, held[each])) > most[each]:
        held[each] = [merge_pairs(held[each], top_k)]
        most[each] = max(_PAIRS_HELD, 2 * len(held[each][0]))
  return [merge_pairs(pairs, top_k) for pairs in held]


def _check_bits(member_bits: np.ndarray, test_bits: np.ndarray, runs: int) -> None:
  check_bits("member_bits", member_bits, runs)
  check_bits("test_bits", test_bits, runs)


def check_halves(halves: tuple[np.ndarray, np.ndarray]) -> None:
  """Raises ValueError unless each run is in one of two halves, bool [runs] each."""
  if len(halves[0]) != len(halves[1]) or not (halves[0] ^ halves[1]).all():
    raise ValueError("halves do not part the runs: each run must be in one of them")


def check_selection_labels(
  train_labels: np.ndarray | None, test_labels: np.ndarray | None, train: int, test: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns labels for so many training and test examples; without any, all are of one class.

  Raises:
    ValueError: only one side has labels, or not one for each example.
  """
  check_length("train_labels", train_labels, train)
  check_length("test_labels", test_labels, test)
  if (train_labels is None) != (test_labels is None):
    raise ValueError("only one of train_labels and test_labels is given: pass both or neither")
  if train_labels is None or test_labels is None:
    return np.zeros(train, np.int64), np.zeros(test, np.int64)
  return train_labels, test_labels


def check_length(name: str, values: np.ndarray | None, examples: int) -> None:
  """Raises ValueError, naming the argument, unless it is None or has one value per example."""
  if values is not None and values.shape != (examples,):
    raise ValueError(
      f"{name} has shape {list(values.shape)}: pass one for each of the {examples} examples"
    )
