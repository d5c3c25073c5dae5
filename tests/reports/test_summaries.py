import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.columns import read_columns
from reports.summaries import accuracy_per_ratio, consistency_profile, score_histogram


def test_accuracy_per_ratio_of_real_runs(tables):
  rows = tables["runs"].to_pylist()
  summaries = accuracy_per_ratio(read_columns(tables, "runs"))
  assert [summary.subset_ratio for summary in summaries] == [0.3, 0.5, 0.7]
  for summary in summaries:
    chosen = [row for row in rows if row["subset_ratio"] == summary.subset_ratio]
    assert summary.runs == len(chosen)
    assert summary.examples_in == statistics.mean(row["examples_in"] for row in chosen)
    for split in ("train", "removed", "test"):
      values = [row[f"accuracy_{split}"] for row in chosen]
      assert getattr(summary, split) == pytest.approx(
        (statistics.mean(values), statistics.pstdev(values))
      )


def test_accuracy_that_no_run_has_is_undefined():
  runs = {
    "subset_ratio": np.array([1.0]),
    "examples_in": np.array([10]),
    "accuracy_train": np.array([0.9]),
    "accuracy_removed": np.array([np.nan]),
    "accuracy_test": np.array([0.8]),
  }
  (summary,) = accuracy_per_ratio(runs)
  assert summary.train == (0.9, 0.0)
  assert all(math.isnan(value) for value in summary.removed)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12), st.integers(0, 12)), min_size=1))
def test_every_score_lies_in_its_bin(fractions):
  scores = np.array([min(a, n) / n - min(b, n) / n for a, n, b in fractions])
  counts, edges = score_histogram(np.append(scores, np.nan))
  assert counts.sum() == scores.size
  assert edges[-1] == pytest.approx(1)
  np.testing.assert_allclose(np.diff(edges), 0.05)
  for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
    last = high == edges[-1]
    inside = (scores >= low - 1e-9) & ((scores < high - 1e-9) | last)
    assert count == inside.sum()


def test_threshold_value_counts_as_at_or_above_it():
  counts, edges = score_histogram(np.array([0.25, 0.7 - 0.45, 1 - 0.75]))
  assert counts[np.flatnonzero(np.isclose(edges, 0.25))[0]] == 3


@pytest.mark.parametrize("span", [1e-3, 0.9, 1, 7.3, 20, 4000])
def test_a_histogram_of_margins_covers_them_in_some_tens_of_bins(span):
  scores = np.append(np.random.default_rng(0).uniform(-0.3 * span, 0.7 * span, 1000), np.nan)
  counts, edges = score_histogram(scores, bounded=False)
  assert counts.sum() == 1000
  assert len(edges) == len(counts) + 1
  assert 19 <= len(counts) <= 53
  assert edges[0] <= np.nanmin(scores)
  assert edges[-1] >= np.nanmax(scores)
  np.testing.assert_allclose(np.diff(edges), edges[1] - edges[0])
  np.testing.assert_array_equal(counts, np.histogram(scores[:-1], edges)[0])


def test_margins_that_are_all_equal_have_a_bin():
  counts, edges = score_histogram(np.array([2.0, 2.0]), bounded=False)
  assert counts.sum() == 2
  assert edges[0] == 0


def test_consistency_profile_of_groups_by_cscore(tables):
  examples, cscores = read_columns(tables, "examples"), read_columns(tables, "cscores")
  profile = consistency_profile(examples, cscores)
  order = sorted(zip(cscores["cscore"], cscores["example"], strict=True))
  ranks = {example: rank for rank, (_, example) in enumerate(order)}
  bounds = {"lowest 5%": (0, 20), "5–20%": (20, 80), "20–50%": (80, 200), "highest 50%": (200, 400)}
  assert profile.subset_ratios.tolist() == [0.3, 0.5, 0.7]
  assert [name for name, _ in profile.groups] == list(bounds)
  rows = tables["examples"].to_pylist()
  for position, ratio in enumerate((0.3, 0.5, 0.7)):
    at_ratio = [row for row in rows if row["subset_ratio"] == ratio]
    at_ratio = [row for row in at_ratio if row["consistency"] is not None]
    mean = statistics.mean(row["consistency"] for row in at_ratio)
    assert profile.mean[position] == pytest.approx(mean)
    for name, curve in profile.groups:
      low, high = bounds[name]
      group = [row["consistency"] for row in at_ratio if low <= ranks[row["example"]] < high]
      assert curve[position] == pytest.approx(statistics.mean(group))


def test_consistency_profile_leaves_undefined_scores_out():
  examples = {
    "subset_ratio": np.array([0.5, 0.5, 1.0, 1.0]),
    "example": np.array([0, 1, 0, 1]),
    "consistency": np.array([0.25, np.nan, np.nan, np.nan]),
  }
  cscores = {"example": np.array([0, 1]), "cscore": np.array([0.25, np.nan])}
  profile = consistency_profile(examples, cscores)
  np.testing.assert_array_equal(profile.mean, [0.25, np.nan])
  ((name, curve),) = profile.groups
  assert name == "lowest 5%"
  np.testing.assert_array_equal(curve, [0.25, np.nan])
