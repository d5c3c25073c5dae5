"""Run directories of an experiment: `<experiment>/<subset ratio>/<run id>/…`."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator

import files
from files.errors import UsageError

AUX_ARRAYS = "aux_arrays.npz"
LARGEST_AUX_BYTES = 1 << 28  # packed or not; ImageNet's have 31 MB
CHECKPOINTS = "checkpoints"

_RUN_FILE = re.compile(r"(?P<run_directory>(?P<ratio>[^/]+)/(?P<run>\d+))/(?P<file>.+)")
_INDEX_FILE = re.compile(rf"{CHECKPOINTS}/(?P<name>ckpt-\d+)\.index")


@dataclasses.dataclass(frozen=True, order=True)
class RunKey:
  """Names one trained model: its subset ratio in (0, 1) and its run id."""

  subset_ratio: float
  run: int

  def directory(self, experiment: str) -> str:
    """Returns the path of the run's directory."""
    return files.join(experiment, str(self.subset_ratio), str(self.run))


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

  Files that are not below `<ratio>/<run id>/` are no runs and are left alone. A directory in the
  place of a ratio whose name is no number in (0, 1), and a second directory of the same run (such
  as `0.7/5` and `0.70/5`), are skipped with a reason.
  """
  runs: dict[RunKey, RunDirectory] = {}
  skipped: list[Skipped] = []
  for ratio, name, contents in _run_directories(experiment):
    path = files.join(experiment, ratio, name)
    subset_ratio = _parse_ratio(ratio)
    if subset_ratio is None:
      skipped.append(Skipped(path, f"{ratio!r} is not a subset ratio in (0, 1)"))
      continue
    key = RunKey(subset_ratio, int(name))
    if key in runs:
      skipped.append(Skipped(path, f"is the same run as {runs[key].path}"))
      continue
    runs[key] = RunDirectory(key, path, contents)
  return Listing(tuple(sorted(runs.values())), tuple(skipped))


def list_some_runs(experiment: str) -> Listing:
  """Lists an experiment's runs as `list_runs` does.

  Raises:
    UsageError: there are none.
  """
  listing = list_runs(experiment)
  if not listing.runs:
    raise UsageError(
      f"--experiment={experiment} holds no runs: they lie in <subset ratio>/<run id>/"
    )
  return listing


def _run_directories(experiment: str) -> Iterator[tuple[str, str, tuple[files.FileInfo, ...]]]:
  matches = ((_RUN_FILE.fullmatch(info.name), info) for info in files.list_files(experiment))
  run_files = ((match, info) for match, info in matches if match)
  for _, group in itertools.groupby(run_files, key=lambda pair: pair[0]["run_directory"]):
    members = list(group)
    first = members[0][0]
    contents = tuple(files.FileInfo(match["file"], info.size) for match, info in members)
    yield first["ratio"], first["run"], contents


def _parse_ratio(name: str) -> float | None:
  try:
    ratio = float(name)
  except ValueError:
    return None
  return ratio if math.isfinite(ratio) and 0 < ratio < 1 else None
