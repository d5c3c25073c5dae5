import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators import mark_members


@settings(deadline=None)
@given(
  index=st.lists(st.integers(-2, 12), max_size=14),
  size=st.integers(0, 11),
  dtype=st.sampled_from([np.int8, np.int32, np.int64]),
)
def test_marks_up_to_the_first_entry_out_of_range_or_repeated(
  index: list[int], size: int, dtype: type
) -> None:
  bad = next(
    (k for k, example in enumerate(index) if not 0 <= example < size or example in index[:k]),
    None,
  )
  member, found = mark_members(np.array(index, dtype), size)
  assert found == bad
  assert set(np.flatnonzero(member)) == set(index[:bad])
  assert member.dtype == bool
  assert len(member) == size


@pytest.mark.parametrize("example", [2**63, 2**64 - 1])
def test_an_index_beyond_int64_is_out_of_range(example: int) -> None:
  assert mark_members(np.array([0, example], np.uint64), 5)[1] == 1


def test_other_byte_orders_are_read() -> None:
  member, found = mark_members(np.array([3, 1], ">i4"), 5)
  assert (member.tolist(), found) == ([False, True, False, True, False], None)
