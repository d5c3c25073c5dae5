"""Packs that are being written: who writes them, and what is done with those of the dead."""

from __future__ import annotations

import re

import files
from beam_pipelines.storage.runs.packs import MANIFEST, PACKED, RESULT
from files import scratch

_MARK = ".importing"
_MARKED = re.compile(rf"(?P<pack>[^/]+/{PACKED}/[^/]+){re.escape(_MARK)}")


def mark_owner(directory: str) -> None:
  """Says beside a pack that this process writes it."""
  files.write_bytes(directory + _MARK, scratch.new_name().encode())


def finish(directory: str) -> None:
  """Takes away the mark of a pack, what its job has left word of, and all of it if it is none."""
  if files.exists(files.join(directory, MANIFEST)):
    files.delete([files.join(directory, RESULT)])
    files.delete_unfinished(directory)
  else:
    files.delete_directory(directory)
  files.delete([directory + _MARK])


def discard_left_over(experiment: str) -> None:
  """Finishes the packs whose process, on this host, is dead."""
  for info in files.list_files(experiment, unfinished=True):
    if files.is_left_over(info.name):
      files.delete([files.join(experiment, info.name)])
      continue
    match = _MARKED.fullmatch(info.name)
    if match is None or info.problem:
      continue
    owner = files.read_bytes(files.join(experiment, info.name)).decode(errors="replace")
    if scratch.is_left_over(owner):
      finish(files.join(experiment, match["pack"]))
