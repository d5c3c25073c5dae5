import concurrent.futures
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators import (
  InfluencePairs,
  keep_runs,
  keep_top_k,
  merge_pairs,
  pack_runs,
  select_in_halves,
  select_pairs,
)
from tests.helpers.exact import exactly_reaches

RUNS = st.integers(1, 5) | st.sampled_from([20, 63, 64, 65, 128])


def draw_runs(train: int, test: int, runs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Draws membership and correctness, with all-equal rows and many equal scores among them."""
  random = np.random.default_rng(seed)
  member = random.random((train, runs)) < random.choice([0.0, 0.3, 0.7, 1.0], (train, 1))
  correct = random.random((test, runs)) < random.choice([0.0, 0.04, 0.5, 0.97, 1.0], (test, 1))
  return member, correct


def pairs_by_masks(member: np.ndarray, correct: np.ndarray) -> dict[tuple[int, int], list[int]]:
  """Returns runs_in, runs_out, correct_in, correct_out of every pair with a defined score."""
  return {
    (i, j): [int(s.sum()) for s in (inside, ~inside, right[inside], right[~inside])]
    for i, inside in enumerate(member)
    for j, right in enumerate(correct)
    if inside.any() and not inside.all()
  }


def influence_of(counts: list[int]) -> float:
  runs_in, runs_out, correct_in, correct_out = counts
  return correct_in / runs_in - correct_out / runs_out


def top_k_by_sorting(
  pairs: dict[tuple[int, int], list[int]], top_k: int
) -> dict[tuple[int, int], list[int]]:
  kept = set()
  for side in (0, 1):
    for example in {pair[side] for pair in pairs}:
      own = [pair for pair in pairs if pair[side] == example]
      own.sort(key=lambda pair: (-influence_of(pairs[pair]), pair[1 - side]))
      kept.update(own[:top_k])
  return {pair: pairs[pair] for pair in sorted(kept)}


def as_dict(pairs: InfluencePairs) -> dict[tuple[int, int], list[int]]:
  """Checks that pairs ascend without repetition, and returns them like `pairs_by_masks`."""
  keys = list(zip(pairs.train_example.tolist(), pairs.test_example.tolist(), strict=True))
  assert keys == sorted(set(keys))
  counts = pairs.statistics
  columns = (counts.runs_in, counts.runs_out, counts.correct_in, counts.correct_out)
  return dict(zip(keys, np.stack(columns, axis=1).tolist(), strict=True))


@settings(deadline=None, max_examples=200)
@given(
  train=st.integers(0, 10),
  test=st.integers(0, 40),
  runs=RUNS,
  seed=st.integers(0, 2**32 - 1),
  classes=st.none() | st.integers(1, 4),
  filtered=st.booleans(),
  top_k=st.none() | st.integers(1, 3),
  data=st.data(),
)
def test_selection_is_that_of_boolean_masks(
  train: int,
  test: int,
  runs: int,
  seed: int,
  classes: int | None,
  filtered: bool,
  top_k: int | None,
  data: st.DataObject,
) -> None:
  member, correct = draw_runs(train, test, runs, seed)
  pairs = pairs_by_masks(member, correct)
  # A threshold that some score meets exactly tells >= from >, and one that rounds such a score
  # tells whole numbers from floats.
  scores = sorted({influence_of(counts) for counts in pairs.values()})
  twentieths = st.integers(-20, 20).map(lambda number: number / 20)
  threshold = data.draw(st.floats(-1.5, 1.5) | twentieths | st.sampled_from([-1.0, 0.0, *scores]))
  random = np.random.default_rng(seed + 1)
  options: dict[str, np.ndarray] = {}
  if classes is not None:
    options["train_labels"] = random.integers(0, classes, train) * 10
    options["test_labels"] = random.integers(0, classes, test) * 10
    pairs = {
      (i, j): counts
      for (i, j), counts in pairs.items()
      if options["train_labels"][i] == options["test_labels"][j]
    }
  if filtered:
    options["eligible"] = random.random(train) < 0.5
    pairs = {(i, j): counts for (i, j), counts in pairs.items() if options["eligible"][i]}
  pairs = {pair: counts for pair, counts in pairs.items() if exactly_reaches(*counts, threshold)}
  if top_k is not None:
    pairs = top_k_by_sorting(pairs, top_k)
  selected = select_pairs(
    pack_runs(member), pack_runs(correct), runs, threshold, top_k=top_k, **options
  )
  assert as_dict(selected) == pairs
  assert selected.influence.tolist() == [influence_of(counts) for counts in pairs.values()]


@settings(deadline=None)
@given(
  seed=st.integers(0, 2**32 - 1),
  runs=st.sampled_from([3, 8, 65]),
  top_k=st.none() | st.integers(1, 4),
  cuts=st.lists(st.integers(0, 12), max_size=3),
  threshold=st.sampled_from([-1.0, 0.0, 0.2]),
)
def test_merged_blocks_are_one_block(
  seed: int, runs: int, top_k: int | None, cuts: list[int], threshold: float
) -> None:
  member, correct = draw_runs(12, 20, runs, seed)
  member_bits, test_bits = pack_runs(member), pack_runs(correct)
  bounds = [0, *sorted(cuts), 12]
  blocks = [
    select_pairs(
      member_bits[first:stop], test_bits, runs, threshold, top_k=top_k, first_train=first
    )
    for first, stop in itertools.pairwise(bounds)
  ]
  whole = as_dict(select_pairs(member_bits, test_bits, runs, threshold, top_k=top_k))
  assert as_dict(merge_pairs(blocks, top_k)) == whole
  nested = merge_pairs([merge_pairs(blocks[1:], top_k), blocks[0]], top_k)
  assert as_dict(nested) == whole


@pytest.mark.parametrize("top_k", [None, 7])
def test_selection_larger_than_every_buffer(
  top_k: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
  """More rows than one call takes, and more pairs than are held before they are cut."""
  monkeypatch.setattr("estimators.selection._PAIRS_HELD", 20_000)
  member = np.random.default_rng(0).random((2300, 40)) < 0.5
  correct = np.random.default_rng(1).random((900, 40)) < 0.5
  pairs = select_pairs(pack_runs(member), pack_runs(correct), 40, -1, top_k=top_k, threads=2)
  seen, right = member.sum(1)[:, None], correct.sum(1)
  inside = member.astype(np.float32) @ correct.T.astype(np.float32)
  influence = inside / np.float64(seen) - (right - inside) / np.float64(40 - seen)
  kept = np.ones_like(influence, bool)
  if top_k is not None:
    rank_by_train = np.argsort(np.argsort(-influence, axis=1, kind="stable"), axis=1)
    rank_by_test = np.argsort(np.argsort(-influence, axis=0, kind="stable"), axis=0)
    kept = (rank_by_train < top_k) | (rank_by_test < top_k)
  expected_train, expected_test = np.nonzero(kept)
  assert np.array_equal(pairs.train_example, expected_train)
  assert np.array_equal(pairs.test_example, expected_test)
  assert np.array_equal(pairs.influence, influence[kept])


def test_tiles_out_of_reach_do_not_hide_pairs() -> None:
  """Test examples at every accuracy, so that some tiles are passed over at both ends."""
  runs = 400
  member = np.arange(runs) < np.array([[100], [280], [300]])
  correct = np.arange(runs) < np.arange(runs + 1)[:, None]
  for threshold in (0.05, 0.15, 0.5, 0.95, 1.0):
    selected = as_dict(select_pairs(pack_runs(member), pack_runs(correct), runs, threshold))
    expected = {
      pair: counts
      for pair, counts in pairs_by_masks(member, correct).items()
      if exactly_reaches(*counts, threshold)
    }
    assert selected == expected
    assert 0 < len(selected) < 3 * (runs + 1)


@settings(deadline=None)
@given(
  runs=RUNS | st.sampled_from([130, 200]),
  seed=st.integers(0, 2**32 - 1),
  first_share=st.sampled_from([0.0, 0.5, 1.0]),
  classes=st.integers(1, 3),
  filtered=st.booleans(),
  top_k=st.none() | st.integers(1, 3),
  threshold=st.sampled_from([-1.0, 0.0, 0.2, 0.6]),
)
def test_halves_select_as_if_each_were_alone(
  runs: int,
  seed: int,
  first_share: float,
  classes: int,
  filtered: bool,
  top_k: int | None,
  threshold: float,
) -> None:
  member, test = (pack_runs(values) for values in draw_runs(9, 40, runs, seed))
  random = np.random.default_rng(seed)
  labels = {
    "train_labels": random.integers(0, classes, 9),
    "test_labels": random.integers(0, classes, 40),
  }
  first = random.random(runs) < first_share
  eligible = random.random((3, 9)) < 0.6 if filtered else (None, None, None)
  found = select_in_halves(
    member,
    test,
    (first, ~first),
    threshold,
    eligible=list(eligible),
    top_k=top_k,
    first_train=100,
    **labels,
  )
  kept = (np.ones(runs, bool), first, ~first)
  for pairs, chosen, considered in zip(found, kept, eligible, strict=True):
    alone = select_pairs(
      keep_runs(member, chosen),
      keep_runs(test, chosen),
      int(chosen.sum()),
      threshold,
      eligible=considered,
      top_k=top_k,
      first_train=100,
      **labels,
    )
    assert as_dict(pairs) == as_dict(alone)


@pytest.mark.parametrize(
  "halves",
  [
    (np.ones(5, bool), np.ones(5, bool)),
    (np.zeros(5, bool), np.arange(5) < 4),
    (np.ones(5, bool), np.zeros(4, bool)),
  ],
)
def test_halves_must_part_the_runs(halves: tuple[np.ndarray, np.ndarray]) -> None:
  with pytest.raises(ValueError, match="halves do not part the runs: each run must be in one"):
    select_in_halves(BITS, BITS, halves, 0.1)


def test_threads_may_call_at_once() -> None:
  drawn = [
    tuple(pack_runs(values) for values in draw_runs(700, 300, 130, seed)) for seed in range(4)
  ]
  alone = [as_dict(select_pairs(*bits, 130, 0.1, threads=1)) for bits in drawn]
  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    for _ in range(3):
      together = pool.map(lambda bits: select_pairs(*bits, 130, 0.1, threads=2), drawn)
      assert [as_dict(pairs) for pairs in together] == alone


BITS = pack_runs(np.eye(3, 5, dtype=bool))


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"train_labels": np.zeros(2, int)}, r"train_labels has shape \[2\].*each of the 3 examples"),
    ({"test_labels": np.zeros(4, int)}, r"test_labels has shape \[4\].*each of the 3 examples"),
    ({"eligible": np.ones(4, bool)}, r"eligible has shape \[4\]"),
    ({"train_labels": np.zeros(3, int)}, "only one of train_labels and test_labels is given"),
    ({"min_influence": math.nan}, "min_influence is nan: pass a finite number"),
    ({"min_influence": -math.inf}, "min_influence is -inf: pass a finite number"),
    ({"top_k": 0}, "top_k is 0: pass a positive number"),
    ({"member_bits": np.zeros((3, 2), np.uint64)}, "member_bits is uint64"),
    ({"test_bits": np.full((3, 1), 32, np.uint64)}, "test_bits has bits set beyond run 4"),
  ],
)
def test_arguments_that_do_not_fit_are_named(options: dict, message: str) -> None:
  arguments = {"member_bits": BITS, "test_bits": BITS, "runs": 5, "min_influence": 0.1}
  with pytest.raises(ValueError, match=message):
    select_pairs(**(arguments | options))


def test_cutting_to_no_pair_is_refused() -> None:
  with pytest.raises(ValueError, match="top_k is -1"):
    keep_top_k(select_pairs(BITS, BITS, 5, 0.1), -1)
