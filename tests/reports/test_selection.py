import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reports.selection import highest_mean_classes, ordered_per_class, top_carriers

# Few distinct values, so that ties are common.
SCORES = st.sampled_from([math.nan, -0.25, 0.0, 0.5, 0.75, 1.0])


@given(st.lists(st.tuples(SCORES, st.integers(0, 3)), max_size=30), st.randoms())
def test_ordered_per_class_is_a_sort_of_each_class(rows, random):
  examples = list(range(100, 100 + len(rows)))
  random.shuffle(examples)
  scores = np.array([score for score, _ in rows])
  labels = np.array([label for _, label in rows], dtype=np.int64)
  expected = {}
  for row, (score, label) in enumerate(rows):
    if not math.isnan(score):
      expected.setdefault(label, []).append((score, examples[row], row))
  expected = {label: [row for *_, row in sorted(expected[label])] for label in sorted(expected)}
  actual = ordered_per_class(scores, labels, np.array(examples, dtype=np.int64))
  assert {label: found.tolist() for label, found in actual.items()} == expected
  assert list(actual) == list(expected)


@given(st.lists(st.tuples(SCORES, st.integers(0, 5)), max_size=30), st.integers(1, 6))
def test_highest_mean_classes(rows, count):
  defined = [row for row in rows if not math.isnan(row[0])]
  per_class = {label: [s for s, other in defined if other == label] for _, label in defined}
  means = sorted((-math.fsum(scores) / len(scores), label) for label, scores in per_class.items())
  expected = sorted(label for _, label in means[:count])
  scores = np.array([score for score, _ in rows])
  labels = np.array([label for _, label in rows], dtype=np.int64)
  assert highest_mean_classes(scores, labels, count) == expected


@given(
  st.dictionaries(
    st.tuples(st.integers(0, 5), st.integers(0, 9)),
    st.sampled_from([0.25, 0.5, 0.75]),
    max_size=30,
  ),
  st.integers(1, 7),
)
def test_top_carriers(influences, count):
  pairs = list(influences)
  train = np.array([i for i, _ in pairs], dtype=np.int64)
  test = np.array([j for _, j in pairs], dtype=np.int64)
  actual = top_carriers(train, test, np.array(list(influences.values())), count)

  expected = []
  for i, group in itertools.groupby(sorted(pairs), key=lambda pair: pair[0]):
    group = sorted(group, key=lambda pair: (-influences[pair], pair[1]))
    expected.append((-sum(influences[pair] for pair in group), i, group))
  expected = sorted(expected)[:count]
  assert [
    (-carrier.total, carrier.train_example, [pairs[row] for row in carrier.rows])
    for carrier in actual
  ] == expected
