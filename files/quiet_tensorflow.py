"""Imports TensorFlow as jobs need it; whoever uses it comes here first."""

import importlib
import os
import sys
import threading
from pathlib import Path

_STDERR = 2
_lock = threading.Lock()


def import_quietly() -> None:
  """Imports TensorFlow with the process's standard error closed, and keeps its log at errors.

  What TensorFlow writes while its libraries load cannot be switched off by any setting of its own.
  Exceptions still arrive as exceptions. Where it was imported before, nothing happens.

  On a GPU, it then takes memory as it needs it, unless `TF_FORCE_GPU_ALLOW_GROWTH` says otherwise:
  by default the first process takes all, and a second one on the device fails.
  """
  with _lock:  # threads would take the closed one for the real one
    if "tensorflow" in sys.modules:
      return
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept = os.dup(_STDERR)
    try:
      with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), _STDERR)
        importlib.import_module("tensorflow")
    finally:
      os.dup2(kept, _STDERR)
      os.close(kept)
