"""How the process of a command ends, whatever it was doing, imports included."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""


def end(status: int) -> NoReturn:
  """Ends the process; at once after an interrupt, when threads of a job would go on."""
  signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))  # all has been said
  if status != INTERRUPTED:
    sys.exit(status)
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)


def expect_interrupts() -> None:
  """Makes Ctrl-C end the process in one line while packages are imported, which takes seconds.

  Not as an exception, which some of them take for a failure of their own.
  """
  try:
    stderr = os.dup(2)  # there is none for a while where TensorFlow is imported
  except OSError:  # there never is
    return

  def say(*_: object) -> NoReturn:
    os.write(stderr, b"heldout: interrupted before it began\n")
    os._exit(INTERRUPTED)

  signal.signal(signal.SIGINT, say)
