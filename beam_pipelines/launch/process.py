"""How the process of a command ends, whatever it was doing, imports included."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import NoReturn

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""


def end(status: int) -> NoReturn:
  """Ends the process; at once after an interrupt, when threads of a job would go on."""
  if status != INTERRUPTED:
    sys.exit(status)
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)


def expect_interrupts() -> None:
  """Makes Ctrl-C end the process in one line while packages are imported, which takes seconds."""
  sys.excepthook = _end_in_one_line


def _end_in_one_line(
  kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
  if not issubclass(kind, KeyboardInterrupt):
    sys.__excepthook__(kind, error, trace)
    return
  print("heldout: interrupted before it began", file=sys.stderr)
  end(INTERRUPTED)
