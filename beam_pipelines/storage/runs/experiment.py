"""Run directories of an experiment: `<experiment>/<subset ratio>/<run id>/…`."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Sequence

import files
from beam_pipelines.storage.runs.packs import PackedRuns, find_packs, lies_in_pack
from beam_pipelines.storage.runs.run_place import (
  AUX_ARRAYS,
  CHECKPOINTS,
  RunKey,
  explain_no_runs,
  find_run_directory,
  parse_key,
)
from files.errors import UsageError
from files.printable import printable

_PLACE_AND_NAME = re.compile(r"(?P<place>[^/]+/[^/]+)/(?P<name>.+)", re.DOTALL)
_INDEX_FILE = re.compile(rf"{CHECKPOINTS}/(?P<name>ckpt-\d+)\.index", re.ASCII)


@dataclasses.dataclass(frozen=True, order=True)
class RunDirectory:
  """One run as it lies on disk.

  Attributes:
    key: the run's subset ratio and id.
    path: its directory.
    files: what is in it, by names below `path`, sorted.
  """

  key: RunKey
  path: str
  files: tuple[files.FileInfo, ...]

  @property
  def complete(self) -> bool:
    """Whether `aux_arrays.npz`, which is written last, is there."""
    return any(file.name == AUX_ARRAYS and not file.problem for file in self.files)

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
  """An input that was not used, and why; both fit a line, and are text that tables can hold."""

  path: str
  reason: str


@dataclasses.dataclass(frozen=True)
class Listing:
  """What one flat listing of an experiment found, sorted by run.

  Attributes:
    runs: run directories.
    skipped: what looks like runs and is none.
    packed: packed runs, part by part.
  """

  runs: tuple[RunDirectory, ...]
  skipped: tuple[Skipped, ...]
  packed: tuple[PackedRuns, ...] = ()

  @property
  def keys(self) -> list[RunKey]:
    """All runs, directories and packed ones."""
    return [run.key for run in self.runs] + [key for packed in self.packed for key in packed.keys]

  @property
  def complete(self) -> set[RunKey]:
    """The runs whose outcome is recorded; a packed one always is."""
    packed = {key for packed in self.packed for key in packed.keys}
    return {run.key for run in self.runs if run.complete} | packed


def list_runs(experiment: str) -> Listing:
  """Lists an experiment's runs with one flat listing, and the manifests of its packs.

  Files that are not below `<ratio>/<run id>/`, or in a pack, are no runs and are left alone.
  Skipped with a reason is what looks like a run, and is none: a directory that holds a run's files
  in another place or under another name, and a second directory of the same run (such as `0.7/5`
  and `0.70/5`), of
  which the complete one is taken, or else the one that is named as we name it. A complete directory
  is taken rather than a packed run, and that rather than one that is not complete; of packs that
  hold the same run, the first. What lies in packs and is not as their manifests say is skipped, run
  by run. So is what may have been runs: a symbolic link outside of a run that leads nowhere or
  round in a circle. Other links are followed.

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
  if not listing.keys:
    first = next((f"{entry.path} {entry.reason}" for entry in listing.skipped), None)
    raise UsageError(explain_no_runs(experiment, [info.name for info in found], first))
  return listing


def arrange(experiment: str, found: Sequence[files.FileInfo]) -> Listing:
  """Returns the runs that files make up; see `list_runs`.

  Args:
    experiment: the directory that was listed.
    found: all files in it.
  """
  contents: dict[RunKey, dict[str, list[files.FileInfo]]] = defaultdict(lambda: defaultdict(list))
  strays: dict[str, str] = {}  # reasons by path below the experiment
  for info in found:
    match = _PLACE_AND_NAME.fullmatch(info.name)
    key = parse_key(match["place"]) if match else None
    if match and isinstance(key, RunKey):
      contents[key][match["place"]].append(info._replace(name=match["name"]))
    elif info.problem and not lies_in_pack(info.name):
      strays[info.name] = info.problem
    directory = find_run_directory(info.name)
    if directory is not None and isinstance(reason := parse_key(directory), str):
      strays[directory] = reason
  runs = []
  skipped = [
    Skipped(printable(files.join(experiment, stray).rstrip("/")), printable(reason))
    for stray, reason in strays.items()
  ]
  for key, places in contents.items():
    same = [
      RunDirectory(key, files.join(experiment, place), tuple(sorted(members)))
      for place, members in places.items()
    ]
    chosen, *others = sorted(same, key=_preference)
    runs.append(chosen)
    skipped += [Skipped(run.path, f"is the same run as {chosen.path}") for run in others]
  packed, problems = find_packs(experiment, found)
  skipped += [Skipped(path, reason) for path, reason in problems.items()]
  taken = {run.key: run.path for run in runs if run.complete}
  chosen_packed = []
  for part in packed:
    skipped += [
      Skipped(part.path_of(key.run), f"is the same run as {taken[key]}")
      for key in part.keys
      if key in taken
    ]
    part = part.without(taken)
    taken |= {key: part.path_of(key.run) for key in part.keys}
    chosen_packed += [part] if part.runs else []
  skipped += [
    Skipped(run.path, f"is the same run as {taken[run.key]}")
    for run in runs
    if not run.complete and run.key in taken
  ]
  runs = [run for run in runs if run.complete or run.key not in taken]
  return Listing(tuple(sorted(runs)), tuple(sorted(skipped)), tuple(sorted(chosen_packed)))


def _preference(run: RunDirectory) -> tuple[bool, bool, str]:
  canonical = run.path.endswith("/" + run.key.directory(""))
  return not run.complete, not canonical, run.path
