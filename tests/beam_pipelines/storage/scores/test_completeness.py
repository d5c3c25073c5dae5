from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipelines.storage.scores.completeness import (
  Sizes,
  check_examples,
  check_pairs,
  check_tables,
  scored_sizes,
)
from files.errors import UsageError
from tests.helpers.scores import make_manifest, make_ratio

MANIFEST = make_manifest(ratios=[make_ratio(0.5)], examples=(3, 2))


def _message(check, *args):
  try:
    check(*args)
  except UsageError as error:
    return str(error)
  return None


@given(st.lists(st.integers(-2, 7), max_size=12), st.integers(1, 5))
def test_each_example_is_there_once(examples, size):
  message = _message(check_examples, "d: table t", np.array(examples, np.int64), size)
  counts = Counter(examples)
  faults = [
    (what, which)
    for what, which in (
      ("missing", [example for example in range(size) if not counts[example]]),
      ("there more than once", [example for example in range(size) if counts[example] > 1]),
      ("of another data set", [example for example in examples if not 0 <= example < size]),
    )
    if which
  ]
  if not faults:
    assert message is None
    return
  listed = ", ".join(f"{len(which)} {what} (the first: {which[0]})" for what, which in faults)
  assert message == (
    f"d: table t should have each of {size} training examples once: {listed}; "
    "run `heldout score` again"
  )


@given(st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 3)), max_size=10))
def test_pairs_are_of_scored_examples_and_there_once(pairs):
  index = np.array(pairs, np.int64).reshape(-1, 2)
  message = _message(check_pairs, "d: table t", index, Sizes(4, 3))
  inside = [pair for pair in pairs if 0 <= pair[0] < 4 and 0 <= pair[1] < 3]
  repeated, outside = len(inside) - len(set(inside)), len(pairs) - len(inside)
  if not repeated and not outside:
    assert message is None
    return
  assert message == (
    "d: table t should have pairs of 4 training and 3 test examples, each once, but "
    f"{repeated} of {len(pairs)} rows repeat another and {outside} are of another data set: "
    "run `heldout score` again"
  )


def test_a_manifest_says_how_many_examples_were_scored():
  assert scored_sizes(MANIFEST) == (3, 2)


def _examples(ratios, examples):
  return pa.table({"subset_ratio": pa.array(ratios, pa.float64()), "example": examples})


def test_each_ratio_has_each_example():
  whole = _examples([0.5] * 3, [2, 0, 1])
  check_tables("d", MANIFEST, {"examples": whole})
  with pytest.raises(
    UsageError, match=r"^d: table examples at ratio 0\.5 should .* once: 3 missing"
  ):
    check_tables("d", MANIFEST, {"examples": whole.slice(0, 0)})
  two = make_manifest(ratios=[make_ratio(0.5), make_ratio(0.7)], examples=(3, 2))
  with pytest.raises(UsageError, match=r"^d: table examples at ratio 0\.7 should"):
    check_tables("d", two, {"examples": whole})
  with pytest.raises(UsageError, match=r"^d: table examples at ratio 0\.9 should"):
    check_tables("d", MANIFEST, {"examples": pa.concat_tables([whole, _examples([0.9], [0])])})


def test_pairs_of_two_ratios_may_be_the_same():
  ratios = pa.array([0.5, 0.7, 0.5])
  pairs = pa.table({"subset_ratio": ratios, "train_example": [1, 1, 1], "test_example": [0, 0, 1]})
  check_tables("d", MANIFEST, {"influence": pairs})
  with pytest.raises(
    UsageError, match=r"^d: table influence at ratio 0\.5 .*, but 1 of 3 rows repeat"
  ):
    check_tables("d", MANIFEST, {"influence": pa.concat_tables([pairs, pairs.slice(0, 1)])})
