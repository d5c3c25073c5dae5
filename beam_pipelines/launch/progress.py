"""Progress on a terminal, counted from what lies on the file system: it works on any runner."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

_SECONDS_BETWEEN_COUNTS = 2.0


@contextmanager
def show_progress(count: Callable[[], int], total: int, unit: str) -> Iterator[None]:
  """Shows done, rate per minute and time left while the body runs; silent if not on a terminal.

  Args:
    count: returns how much of `total` is done; called every two seconds from another thread.
    total: how much there is to do.
    unit: what is counted, such as "run".
  """
  if not sys.stderr.isatty():
    yield
    return
  ended, succeeded, drawn = threading.Event(), threading.Event(), threading.Event()

  def draw() -> None:
    try:
      with _PerMinute(total=total, unit=unit) as bar:
        while not ended.wait(_SECONDS_BETWEEN_COUNTS):
          _update(bar, count)
        if succeeded.is_set():
          _update(bar, count)
    finally:
      drawn.set()

  # Ctrl-C interrupts the main thread, which must not be drawing then.
  threading.Thread(target=draw, daemon=True).start()
  try:
    yield
    succeeded.set()
  finally:
    ended.set()
    _wait_for(drawn)


def columns() -> int | None:
  """Returns how wide a bar may be: `^C`, where it ends, must not begin another line.

  None where nobody knows, since no terminal is there.
  """
  try:
    return os.get_terminal_size(sys.stderr.fileno()).columns - len("^C") - 1
  except OSError:
    return None


class LogAboveBars(logging.Handler):
  """Writes log records above whatever bars there are, so that they do not tear them."""

  def __init__(self) -> None:
    super().__init__()
    self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

  def emit(self, record: logging.LogRecord) -> None:
    """Writes one."""
    try:
      tqdm.write(self.format(record), file=sys.stderr)
    except Exception:
      self.handleError(record)


class NoticesAboveBars(LogAboveBars):
  """Writes only what one package has to say, without saying who says it."""

  def __init__(self, package: str) -> None:
    super().__init__()
    self.setLevel(logging.WARNING)
    self.addFilter(logging.Filter(package))
    self.setFormatter(logging.Formatter("%(message)s"))


class _PerMinute(tqdm):
  """A bar whose rate is per minute: runs take seconds to hours."""

  def __init__(self, total: int, unit: str):
    super().__init__(
      total=total,
      unit=unit,
      ncols=columns(),
      bar_format="{n_fmt}/{total_fmt} {unit}s |{bar}| {per_minute}, {remaining} left",
    )

  @property
  def format_dict(self) -> MutableMapping[str, Any]:
    values = super().format_dict
    rate = values["n"] / values["elapsed"] if values["elapsed"] else 0.0
    values["per_minute"] = f"{60 * rate:,.1f} {self.unit}s/min"
    return values


def _wait_for(drawn: threading.Event) -> None:
  """Waits also if Ctrl-C is typed meanwhile, which counts afterwards."""
  try:
    drawn.wait()
  except KeyboardInterrupt:
    drawn.wait()
    raise


def _update(bar: tqdm, count: Callable[[], int]) -> None:
  with contextlib.suppress(OSError):  # if it matters, whoever does the work says so
    bar.update(count() - bar.n)
