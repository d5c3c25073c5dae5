"""Inputs that are not used, with reasons in the words of whoever runs a command."""

from __future__ import annotations

import re

from beam_pipelines.storage.runs.experiment import Skipped
from beam_pipelines.storage.runs.judgement import UnusableRunError, WayOut
from files.printable import printable

_FLAGS = {
  WayOut.CHOOSE_CHECKPOINT: "--checkpoint=latest or --checkpoint=EPOCH chooses one",
  WayOut.NAME_DATASET: "--dataset names it",
  WayOut.EVALUATE_CHECKPOINTS: "--source=checkpoints finds them anew",
}


def skip(path: str, error: Exception) -> Skipped:
  """Returns why an input is skipped: one line, the same whenever the input is, with the way out.

  Args:
    path: the input.
    error: what was raised for it.
  """
  reason = str(error).partition("\n")[0] or type(error).__name__
  reason = re.sub(r" (object )?at 0x[0-9a-fA-F]+", "", reason)
  if isinstance(error, UnusableRunError) and error.way_out:
    reason += f"; {_FLAGS[error.way_out]}"
  return Skipped(printable(path), printable(reason))
