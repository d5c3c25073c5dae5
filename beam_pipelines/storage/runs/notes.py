"""Notes of commands beside the runs of an experiment: small JSON objects, read with suspicion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import files
from files.errors import UsageError

_KINDS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
_ADVICE = "restore the file, or choose another directory"


def read_note(
  path: str, kinds: Mapping[str, type], defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
  """Returns what a note says under the names that matter.

  Args:
    path: the note.
    kinds: the type of each entry: `str`, `bool`, `int` or `float`. Others are left out.
    defaults: what entries say that notes of before lack.

  Raises:
    UsageError: it is no JSON object, or an entry is missing or of another type.
    OSError: it cannot be read.
  """
  note = files.read_json(path)
  if not isinstance(note, dict):
    raise UsageError(f"{path} is {_describe(note)}, not what Heldout wrote: {_ADVICE}")
  note = {**(defaults or {}), **note}
  for name, kind in kinds.items():
    if name not in note:
      raise UsageError(f'{path} has no "{name}": {_ADVICE}')
    if type(note[name]) is not kind and not (kind is float and type(note[name]) is int):
      raise UsageError(
        f'{path}: "{name}" is {_describe(note[name])}, not {_KINDS[kind]}: {_ADVICE}'
      )
  return {name: note[name] for name in kinds}


def _describe(value: object) -> str:
  if value is None:
    return "null"
  return {list: "a list", dict: "an object", **_KINDS}[type(value)]
