"""Work in other threads, ahead of whoever uses it, so that both no longer take turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from files.retry import Tally, count_into

R = TypeVar("R")
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


def map_ahead(
  function: Callable[[T], R], items: Iterable[T], depth: int
) -> Generator[tuple[T, Future[R]], None, None]:
  """Yields each item, in order, with what `function` returns for it or will return.

  Other threads work on the next `depth` items meanwhile; one item more than that is held at a time.
  When the iterator is closed, no thread is left. Requests that they repeat are reported by the
  thread that iterates.
  """
  tally = Tally()
  pool = ThreadPoolExecutor(depth, initializer=count_into, initargs=(tally,))
  begun: deque[tuple[T, Future[R]]] = deque()
  try:
    for item in items:
      begun.append((item, pool.submit(function, item)))
      if len(begun) > depth:
        yield begun.popleft()
        tally.report()
    while begun:
      yield begun.popleft()
      tally.report()
  finally:
    pool.shutdown(cancel_futures=True)
    tally.report()
