"""The note beside outcomes that Heldout has written in another tool's layout."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, cast, get_args

import files
from beam_pipelines.storage.runs.notes import read_note
from beam_pipelines.storage.runs.packs import MarginKind
from files import scratch
from files.errors import UsageError

NOTE = "heldout.json"

SIGNS = "signs"
"""In place of a kind of margins: they are none, but +1 for right and −1 for wrong."""


_UNFINISHED = "unfinished"
"""In a note: the token of who is writing the directory."""


def begin_note(directory: str) -> bool:
  """Says that a directory is being written by this process; returns whether nobody else is."""
  return files.claim_json(files.join(directory, NOTE), {_UNFINISHED: scratch.new_name()})


def is_abandoned(directory: str, names: Collection[str]) -> bool:
  """Whether a directory was being written by a process of this host which is dead."""
  if NOTE not in names:
    return False
  return scratch.is_left_over(_unfinished(files.join(directory, NOTE)))


def write_note(
  directory: str, layout: str, margin: MarginKind | None, subset_ratio: float, origin: str
) -> None:
  """Says which margins a directory holds, and of which runs, and that it is whole."""
  note = {
    "layout": layout,
    "experiment": origin,
    "subset_ratio": subset_ratio,
    "margin": margin or SIGNS,
  }
  files.write_json(files.join(directory, NOTE), note)


def noted_margin(directory: str, names: Collection[str]) -> MarginKind | Literal["signs"] | None:
  """Returns which margins the note in a directory names; None without a note.

  Raises:
    UsageError: the note is damaged, or says that the directory is not whole.
  """
  if NOTE not in names:
    return None
  path = files.join(directory, NOTE)
  if _unfinished(path):
    raise UsageError(
      f"{directory}: its export is not finished: wait for it, or run `heldout export` again"
    )
  margin = read_note(path, {"margin": str})["margin"]
  if margin not in (*get_args(MarginKind), SIGNS):
    raise UsageError(f"{path}: {margin!r} is no kind of margins: delete the note, and say the kind")
  return cast("MarginKind | Literal['signs']", margin)


def _unfinished(path: str) -> str:
  return str(read_note(path, {_UNFINISHED: str}, {_UNFINISHED: ""})[_UNFINISHED])
