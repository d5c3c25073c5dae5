"""What fails for a passing reason: one policy for repeating it, and the count of what was repeated.

Requests are made, and repeated, by other threads than the one that asked for them. Each thread that
works for another counts into that one's `Tally`, and that one reports it to Beam, which knows by
the thread which step of which pipeline a count belongs to.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from google.api_core.retry import AsyncRetry, Retry

T = TypeVar("T")

# In seconds.
FIRST_WAIT, LONGEST_WAIT = 1.0, 32.0
PATIENCE = 600.0


class Tally:
  """Counts repeated requests."""

  def __init__(self) -> None:
    self._lock = threading.Lock()
    self._unreported = 0
    self.total = 0

  def add(self) -> None:
    """Counts one."""
    with self._lock:
      self.total += 1
      self._unreported += 1

  def report(self) -> None:
    """Adds what is not reported yet to the metric `heldout:gcs_retries` of this thread's step."""
    with self._lock:
      count, self._unreported = self._unreported, 0
    if count:
      from apache_beam.metrics.metric import Metrics  # which this package can do without

      Metrics.counter("heldout", "gcs_retries").inc(count)


repeats = Tally()  # of this process

_tally: ContextVar[Tally | None] = ContextVar("tally", default=None)


def count_into(tally: Tally) -> None:
  """Makes this thread, and the requests it makes, count into a tally that another one reports."""
  _tally.set(tally)


@contextmanager
def reporting() -> Iterator[None]:
  """Reports what is repeated within the block, unless this thread works for another."""
  if _tally.get() is not None:
    yield
    return
  tally = Tally()
  token = _tally.set(tally)
  try:
    yield
  finally:
    _tally.reset(token)
    tally.report()


def repeat(do: Callable[[], T], is_passing: Callable[[Exception], bool]) -> T:
  """Calls a function again and again while it fails as `is_passing` says, until `PATIENCE` ends.

  The waits are drawn from 0 to 1 s, then to 2 s, 4 s, … 32 s, so that many workers that failed
  together do not come back together.

  Raises:
    google.api_core.exceptions.RetryError: it was in vain; `cause` is the last error.
  """
  return Retry(is_passing, FIRST_WAIT, LONGEST_WAIT, 2.0, PATIENCE, _count)(do)()


async def repeat_async(
  do: Callable[[], Awaitable[T]], is_passing: Callable[[Exception], bool]
) -> T:
  """Does as `repeat`, within an event loop."""
  return await AsyncRetry(is_passing, FIRST_WAIT, LONGEST_WAIT, 2.0, PATIENCE, _count)(do)()


def _count(_: Exception) -> None:
  repeats.add()
  tally = _tally.get()
  if tally is not None:
    tally.add()
