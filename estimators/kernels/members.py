"""Sets of examples from lists of their indices."""

import numba
import numpy as np


def mark_members(index: np.ndarray, size: int) -> tuple[np.ndarray, int | None]:
  """Returns which examples a list of indices names, and the first entry that makes it no set.

  Args:
    index: integers [n].
    size: number of examples; indices count from 0.

  Returns:
    bool [size], true for the examples that are named; and the position in `index` of the first
    entry that is out of range or there before, or None if there is none such.
  """
  member = np.zeros(size, bool)
  marked = _mark(index.astype(np.int64, copy=False), member)
  return member, None if marked == len(index) else marked


@numba.njit(nogil=True, cache=True)
def _mark(index: np.ndarray, member: np.ndarray) -> int:
  """Marks members until an entry is out of range or repeated; returns how many it marked."""
  for position in range(len(index)):
    example = index[position]
    if example < 0 or example >= len(member) or member[example]:
      return position
    member[example] = True
  return len(index)
