"""Run directories of an experiment: `<experiment>/<subset ratio>/<run id>/…`."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterable

import files
from beam_pipelines.storage.runs.run_place import (
  AUX_ARRAYS,
  CHECKPOINTS,
  RunKey,
  explain_no_runs,
  find_run_directory,
  parse_key,
)
from files.errors import UsageError

_PLACE_AND_NAME = re.compile(r"(?P<place>[^/]+/[^/]+)/(?P<name>.+)")
_INDEX_FILE = re.compile(rf"{CHECKPOINTS}/(?P<name>ckpt-\d+)\.index", re.ASCII)


@dataclasses.dataclass(frozen=True, order=True)
class RunDirectory:
  """One run as it lies on disk.

  Attributes:
    key: the run's subset ratio and id.
    path: its directory.
    files: names (below `path`) and sizes in bytes of what is in it, sorted by name.
  """

  key: RunKey
  path: str
  files: tuple[files.FileInfo, ...]

  @property
  def complete(self) -> bool:
    """Whether `aux_arrays.npz`, which is written last, is there."""
    return any(file.name == AUX_ARRAYS for file in self.files)

  @property
  def bytes(self) -> int:
    """Total size of the run's files in bytes."""
    return sum(file.size for file in self.files)

  @property
  def aux_arrays_path(self) -> str:
    """Path of the recorded outcome."""
    return files.join(self.path, AUX_ARRAYS)

  @property
  def checkpoint_names(self) -> tuple[str, ...]:
    """Names (`ckpt-<epoch>`) of the checkpoints that have an index file; a good run has one."""
    matches = (_INDEX_FILE.fullmatch(file.name) for file in self.files)
    return tuple(match["name"] for match in matches if match)


@dataclasses.dataclass(frozen=True, order=True)
class Skipped:
  """An input that was not used, and why."""

  path: str
  reason: str


@dataclasses.dataclass(frozen=True)
class Listing:
  """What one flat listing of an experiment found, sorted by run."""

  runs: tuple[RunDirectory, ...]
  skipped: tuple[Skipped, ...]


def list_runs(experiment: str) -> Listing:
  """Lists an experiment's runs with one flat listing.

  Files that are not below `<ratio>/<run id>/` are no runs and are left alone. Skipped with a reason
  is what looks like a run, and is none: a directory that holds a run's files in another place or
  under another name, and a second directory of the same run (such as `0.7/5` and `0.70/5`), of
  which the complete one is taken, or else the one that is named as we name it.

  Raises:
    OSError: there is no such bucket, or something in it may not be listed.
  """
  return arrange(experiment, files.list_files(experiment))


def require_runs(experiment: str) -> Listing:
  """Lists an experiment's runs as `list_runs` does.

  Raises:
    UsageError: there are none; the message says what is there instead.
    OSError: there is no such bucket, or something in it may not be listed.
  """
  found = files.list_files(experiment)
  listing = arrange(experiment, found)
  if not listing.runs:
    raise UsageError(explain_no_runs(experiment, [info.name for info in found]))
  return listing


def arrange(experiment: str, found: Iterable[files.FileInfo]) -> Listing:
  """Returns the runs that files make up; see `list_runs`.

  Args:
    experiment: the directory that was listed.
    found: all files in it.
  """
  contents: dict[str, list[files.FileInfo]] = defaultdict(list)
  look_like_runs: set[str] = set()
  for info in found:
    if match := _PLACE_AND_NAME.fullmatch(info.name):
      contents[match["place"]].append(files.FileInfo(match["name"], info.size))
    if (directory := find_run_directory(info.name)) is not None:
      look_like_runs.add(directory)
  candidates: dict[RunKey, list[RunDirectory]] = defaultdict(list)
  for place, members in contents.items():
    key = parse_key(place)
    if isinstance(key, RunKey):
      path = files.join(experiment, place)
      candidates[key].append(RunDirectory(key, path, tuple(sorted(members))))
  runs, skipped = [], []
  for same in candidates.values():
    chosen, *others = sorted(same, key=_preference)
    runs.append(chosen)
    skipped += [Skipped(run.path, f"is the same run as {chosen.path}") for run in others]
  for directory in look_like_runs:
    reason = parse_key(directory)
    if isinstance(reason, str):
      skipped.append(Skipped(files.join(experiment, directory).rstrip("/"), reason))
  return Listing(tuple(sorted(runs)), tuple(sorted(skipped)))


def _preference(run: RunDirectory) -> tuple[bool, bool, str]:
  canonical = run.path.endswith("/" + run.key.directory(""))
  return not run.complete, not canonical, run.path
