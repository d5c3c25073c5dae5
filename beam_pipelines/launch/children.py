"""Workers that are processes on this machine: Beam's, but for what they do at Ctrl-C."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from beam_pipelines.launch.command import is_in_process

# A terminal interrupts them, too: they end then, and leave it to the command to say so. Where that
# is killed, they would be at work until they notice, or wait a minute for it if they just start.
_MAIN = "apache_beam.runners.worker.sdk_worker_main"
_WORKER = """
import os, signal, threading, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
def watch():
  while os.getppid() == {parent}:
    time.sleep(0.5)
  os._exit(1)
threading.Thread(target=watch, daemon=True).start()
from {module} import main
main([])
"""


def runner_of_processes(options: PipelineOptions) -> FnApiRunner | None:
  """Returns the runner for `--direct_running_mode=multi_processing`; None for any other.

  The mode is taken out of the options, or Beam would start workers of its own.
  """
  direct = options.view_as(DirectOptions)
  if not is_in_process(options) or direct.direct_running_mode != "multi_processing":
    return None
  direct.direct_running_mode = None
  worker = _WORKER.format(parent=os.getpid(), module=_MAIN)
  command = shlex.join([sys.executable, "-c", worker])
  return FnApiRunner(SubprocessSDKEnvironment.from_command_string(f"exec {command}"))


@contextmanager
def interrupted_together() -> Iterator[None]:
  """An interrupt of this process alone ends its workers too, as that of a terminal does.

  Otherwise one that is just starting waits a minute for whoever does not want it any longer, and
  this process for the worker.
  """
  former = signal.getsignal(signal.SIGINT)
  if threading.current_thread() is not threading.main_thread() or not callable(former):
    yield
    return
  handle = former

  def interrupt(*received: Any) -> None:
    for child in psutil.Process().children():
      with suppress(psutil.Error):
        if any(_MAIN in word for word in child.cmdline()):
          child.kill()
    handle(*received)

  signal.signal(signal.SIGINT, interrupt)
  try:
    yield
  finally:
    signal.signal(signal.SIGINT, former)
