"""Bars on a terminal, whenever their command ends."""

import sys

from tests.helpers import terminals

# Ctrl-C is typed when the job has failed and its bar, which is counting, has yet to end.
_INTERRUPTED_AT_THE_END = """
import os, signal, threading, time
from beam_pipelines.launch.progress import show_progress
counting, interrupted = threading.Event(), threading.Event()

def count():
  counting.set()
  interrupted.wait()
  return 1

def interrupt():
  time.sleep(0.2)  # until the main thread waits for the bar; nothing fails if it does not
  os.kill(os.getpid(), signal.SIGINT)
  time.sleep(0.2)
  interrupted.set()

try:
  with show_progress(count, 2, "run"):
    counting.wait()
    threading.Thread(target=interrupt).start()
    raise ValueError
except KeyboardInterrupt:
  print("interrupted")
"""


def test_a_bar_ends_before_anything_is_said_of_an_interrupt():
  session = terminals.run([sys.executable, "-c", _INTERRUPTED_AT_THE_END])
  assert len(session.lines) == 3, session.written
  bar, said, cursor = session.lines
  assert bar.startswith("1/2 runs |"), session.written
  assert (said, cursor) == ("interrupted", "")
