"""The note beside outcomes that Heldout has written in another tool's layout."""

from __future__ import annotations

from typing import Literal, cast, get_args

import files
from beam_pipelines.storage.runs.notes import read_note
from beam_pipelines.storage.runs.packs import MarginKind
from files.errors import UsageError

NOTE = "heldout.json"

SIGNS = "signs"
"""In place of a kind of margins: they are none, but +1 for right and −1 for wrong."""


def write_note(
  directory: str, layout: str, margin: MarginKind | None, subset_ratio: float, origin: str
) -> None:
  """Says which margins a directory holds, and of which runs."""
  note = {
    "layout": layout,
    "experiment": origin,
    "subset_ratio": subset_ratio,
    "margin": margin or SIGNS,
  }
  files.write_json(files.join(directory, NOTE), note)


def noted_margin(directory: str, names: list[str]) -> MarginKind | Literal["signs"] | None:
  """Returns which margins the note in a directory names; None without a note.

  Raises:
    UsageError: the note is damaged.
  """
  if NOTE not in names:
    return None
  path = files.join(directory, NOTE)
  margin = read_note(path, {"margin": str})["margin"]
  if margin not in (*get_args(MarginKind), SIGNS):
    raise UsageError(f"{path}: {margin!r} is no kind of margins: delete the note, and say the kind")
  return cast("MarginKind | Literal['signs']", margin)
