import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.bits import pack_runs
from estimators.pairs import InfluencePairs
from estimators.reliability import split_halves
from estimators.soft_selection import select_soft_in_halves
from tests.helpers.means import side_means

RUNS = st.integers(2, 5) | st.sampled_from([20, 63, 64, 65, 130])


def draw(seed: int, train: int, test: int, runs: int) -> tuple[np.ndarray, np.ndarray]:
  """Draws membership and outcomes, some of which are all equal or take few values."""
  random = np.random.default_rng(seed)
  member = random.random((train, runs)) < random.choice([0.0, 0.3, 0.7, 1.0], (train, 1))
  values = random.standard_normal((test, runs)) * random.choice([0, 1, 10], (test, 1)) + 3
  coarse = np.where(random.random((test, 1)) < 0.5, np.round(values), values)
  return member, coarse.astype(np.float32)


def select_by_masks(
  member: np.ndarray,
  values: np.ndarray,
  threshold: float,
  train_labels: np.ndarray,
  test_labels: np.ndarray,
  eligible: np.ndarray,
) -> dict[tuple[int, int], tuple[float, ...]]:
  pairs = {}
  for i in np.flatnonzero(eligible):
    for j in range(len(values)):
      statistics = side_means(member[i], values[j])
      if train_labels[i] == test_labels[j] and statistics[2] - statistics[3] >= threshold:
        pairs[int(i), j] = statistics
  return pairs


def top_k_by_sorting(
  pairs: dict[tuple[int, int], tuple[float, ...]], top_k: int
) -> set[tuple[int, int]]:
  kept = set()
  for side in (0, 1):
    for example in {pair[side] for pair in pairs}:
      own = [pair for pair in pairs if pair[side] == example]
      own.sort(key=lambda pair: (pairs[pair][3] - pairs[pair][2], pair[1 - side]))
      kept.update(own[:top_k])
  return kept


def as_dict(pairs: InfluencePairs) -> dict[tuple[int, int], tuple[float, ...]]:
  keys = list(zip(pairs.train_example.tolist(), pairs.test_example.tolist(), strict=True))
  assert keys == sorted(set(keys))
  columns = zip(*(column.tolist() for column in vars(pairs.statistics).values()), strict=True)
  return dict(zip(keys, columns, strict=True))


@settings(deadline=None, max_examples=150)
@given(
  train=st.integers(0, 8),
  test=st.integers(0, 40),
  runs=RUNS,
  seed=st.integers(0, 2**32 - 1),
  classes=st.integers(1, 3),
  threshold=st.sampled_from([-100.0, -0.1, 0.137, 0.5, 2.3, 100.0]),
  top_k=st.none() | st.integers(1, 3),
)
def test_selection_is_that_of_boolean_masks(
  train: int, test: int, runs: int, seed: int, classes: int, threshold: float, top_k: int | None
) -> None:
  member, values = draw(seed, train, test, runs)
  halves = split_halves(runs, seed)
  random = np.random.default_rng(seed + 1)
  train_labels, test_labels = random.integers(0, classes, train), random.integers(0, classes, test)
  eligible = list(random.random((3, train)) < 0.7)
  selected = select_soft_in_halves(
    pack_runs(member),
    values,
    halves,
    threshold,
    train_labels=train_labels,
    test_labels=test_labels,
    eligible=eligible,
    top_k=top_k,
    threads=2,
  )
  masks = (np.ones(runs, bool), *halves)
  for pairs, mask, each in zip(selected, masks, eligible, strict=True):
    by_masks = select_by_masks(
      member[:, mask], values[:, mask], threshold, train_labels, test_labels, each
    )
    found = as_dict(pairs)
    # Means that differ by rounding alone may stand in either order, or on either side.
    borderline = {p for p, s in by_masks.items() if abs(s[2] - s[3] - threshold) < 1e-9}
    if top_k is None:
      assert found.keys() | borderline == by_masks.keys() | borderline
    elif len({round(s[2] - s[3], 9) for s in by_masks.values()}) == len(by_masks):
      assert found.keys() == top_k_by_sorting(by_masks, top_k)
    for key in found.keys() & by_masks.keys():
      np.testing.assert_allclose(found[key], by_masks[key], rtol=1e-12, atol=1e-12)


def test_without_labels_or_limits_every_defined_pair_is_selected() -> None:
  member, values = draw(0, 1100, 40, 30)
  selected = select_soft_in_halves(
    pack_runs(member), values, split_halves(30, 0), -1e6, first_train=7, threads=2
  )
  defined = member.any(axis=1) & ~member.all(axis=1)
  assert len(selected.all) == 40 * defined.sum()
  assert set(selected.all.train_example) == set(7 + np.flatnonzero(defined))


def test_a_score_on_the_threshold_is_selected_whatever_the_sums_in_float32() -> None:
  """Half of the pairs have an influence of exactly 1/4, far from a common part of 10,000."""
  runs = 512
  member = np.tile(np.arange(runs) % 2 == 0, (64, 1))
  values = np.full((64, runs), 10_000, np.float32)
  values[:32, ::2] += 0.25
  selected = select_soft_in_halves(pack_runs(member), values, split_halves(runs, 0), 0.25)
  assert len(selected.all) == len(selected.first) == len(selected.second) == 64 * 32
  assert (selected.all.influence == 0.25).all()


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"min_influence": np.inf}, "the threshold is inf: pass a finite number"),
    ({"halves": (np.ones(5, bool), np.ones(5, bool))}, "halves do not part the runs"),
    ({"test_values": np.zeros((4, 5))}, "test_values is float64"),
    ({"train_labels": np.zeros(3, int)}, "only one of train_labels and test_labels is given"),
    ({"eligible": [None, None, np.ones(2, bool)]}, r"eligible has shape \[2\]: pass one for each"),
    ({"top_k": 0}, "top_k is 0"),
  ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
  first = np.arange(5) < 2
  arguments = {
    "member_bits": np.zeros((3, 1), np.uint64),
    "test_values": np.zeros((4, 5), np.float32),
    "halves": (first, ~first),
    "min_influence": 0.5,
  }
  with pytest.raises(ValueError, match=message):
    select_soft_in_halves(**(arguments | change))
