"""Drawing items in a thread of its own, so that making them and using them take turns no longer."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class _End:
  pass


_END = _End()


def read_ahead(items: Iterable[T], depth: int) -> Generator[T, None, None]:
  """Yields `items` in order; another thread draws up to `depth` of them ahead.

  What drawing raises is raised here, in its place among the items.
  """
  iterator = iter(items)
  pool = ThreadPoolExecutor(1)  # an iterator yields to one thread at a time
  drawn = deque(pool.submit(next, iterator, _END) for _ in range(depth))
  try:
    while not isinstance(item := drawn.popleft().result(), _End):
      drawn.append(pool.submit(next, iterator, _END))
      yield item
  finally:
    pool.shutdown(cancel_futures=True)
