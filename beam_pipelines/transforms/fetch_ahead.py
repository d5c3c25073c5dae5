"""Run directories read by several threads, ahead of whoever uses them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from beam_pipelines.storage.experiment import RunDirectory

_AHEAD = 4

T = TypeVar("T")


def fetch_ahead(
  runs: Iterable[RunDirectory], fetch: Callable[[RunDirectory], T], ahead: int = _AHEAD
) -> Iterator[tuple[RunDirectory, Future[T]]]:
  """Yields each run with its fetch, which other threads have begun; the next ones follow it.

  One run more than `ahead` is held at a time. When the iterator is closed, no thread is left.

  Args:
    runs: what to fetch, in this order.
    fetch: is called on threads.
    ahead: how many fetches go on at the same time.
  """
  with ThreadPoolExecutor(ahead) as pool:
    begun: deque[tuple[RunDirectory, Future[T]]] = deque()
    for run in runs:
      begun.append((run, pool.submit(fetch, run)))
      if len(begun) > ahead:
        yield begun.popleft()
    while begun:
      yield begun.popleft()
