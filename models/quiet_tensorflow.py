"""Imports TensorFlow without its start-up messages; every other module here comes after it."""

import importlib
import os
from pathlib import Path

_STDERR = 2


def import_quietly() -> None:
  """Imports TensorFlow with the process's standard error closed, and keeps its log at errors.

  What TensorFlow writes while its libraries load cannot be switched off by any setting of its own.
  Exceptions still arrive as exceptions.
  """
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  kept = os.dup(_STDERR)
  try:
    with Path(os.devnull).open("w") as nowhere:
      os.dup2(nowhere.fileno(), _STDERR)
      importlib.import_module("tensorflow")
  finally:
    os.dup2(kept, _STDERR)
    os.close(kept)
