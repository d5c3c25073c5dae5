"""Packs: many runs in a few Parquet files, beside the run directories of an experiment.

A pack is `<experiment>/<subset ratio>/packed/<name>/`: parts, and `manifest.json`, which is written
last and names them with runs, size and digest. What it does not name is never read.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

import files
from beam_pipelines.storage.runs.run_place import RunKey, parse_ratio
from files.errors import UsageError

PACKED = "packed"
MANIFEST = "manifest.json"
RESULT = "result.json"
"""What a job leaves for the command that waits for it, which takes it away."""

_LARGEST_RUN = 2**63 - 1
_EXACT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_PACK_FILE = re.compile(rf"(?P<pack>(?P<ratio>[^/]+)/{PACKED}/[^/]+)/(?P<name>.+)")
_STRAY_PART = re.compile(rf"(?P<ratio>[^/]+)/{PACKED}/[^/]+\.parquet")
_MOST_ROWS = 1 << 20

_Run = Annotated[int, Field(ge=0, le=_LARGEST_RUN)]
_Count = Annotated[int, Field(ge=0)]

MarginKind = Literal["logsumexp", "max"]
"""A margin is the label's logit minus this of the others: the log-odds of the label, or less."""

RECORDED = ("train_correct", "test_correct", "train_margin", "test_margin")
"""What a pack may record of each run, beside its subset."""


@dataclass(frozen=True, order=True, config=_EXACT)
class PackedPart:
  """A file of a pack.

  Attributes:
    name: of the file, in the pack's directory.
    runs: first and last id of each stretch of run ids that it holds, ascending.
    bytes: its size.
    sha256: its digest, in hexadecimal.
  """

  name: str
  runs: tuple[tuple[_Run, _Run], ...]
  bytes: _Count
  sha256: str

  @property
  def ids(self) -> tuple[int, ...]:
    """The run ids, ascending."""
    return tuple(run for first, last in self.runs for run in range(first, last + 1))

  @property
  def rows(self) -> int:
    """How many runs it holds."""
    return sum(last - first + 1 for first, last in self.runs)


@dataclass(frozen=True, config=_EXACT)
class Pack:
  """The manifest of a pack.

  Attributes:
    subset_ratio: of its runs.
    num_train: training examples.
    num_test: test examples; 0 where no outcomes on them are recorded.
    recorded: those of `RECORDED` that it holds.
    missing: why it does not hold the others, by name.
    origin: where the runs are from and how they were read, by name.
    rows: what became of the rows that were read, by name.
    created: when, in ISO 8601.
    parts: its files, sorted.
    margin: kind of its margins, `logsumexp` or `max`; null without any.
    format: of this file.
  """

  subset_ratio: Annotated[float, Field(gt=0, lt=1)]
  num_train: _Count
  num_test: _Count
  recorded: tuple[str, ...]
  missing: dict[str, str]
  origin: dict[str, str]
  rows: dict[str, _Count]
  created: str
  parts: tuple[PackedPart, ...]
  margin: MarginKind | None = None
  format: Literal[1] = 1


_PACK = TypeAdapter(Pack)


@dataclasses.dataclass(frozen=True, order=True)
class PackedRuns:
  """Runs that lie in one part of a pack: all that it holds, or those that are asked for.

  Attributes:
    subset_ratio: theirs.
    runs: their ids, ascending.
    directory: of the pack.
    part: the file that they lie in.
    num_train: training examples.
    num_test: test examples.
    margin: kind of their margins; None without any.
  """

  subset_ratio: float
  runs: tuple[int, ...]
  directory: str
  part: PackedPart
  num_train: int
  num_test: int
  margin: MarginKind | None = None

  @property
  def path(self) -> str:
    """Where the part lies."""
    return files.join(self.directory, self.part.name)

  @property
  def keys(self) -> list[RunKey]:
    """The runs' names."""
    return [RunKey(self.subset_ratio, run) for run in self.runs]

  def path_of(self, run: int) -> str:
    """Says where one of the runs lies, as run directories have their path."""
    return f"{self.directory}#{run}"

  def without(self, keys: Collection[RunKey]) -> PackedRuns:
    """Returns the runs that are not among these."""
    left = tuple(key.run for key in self.keys if key not in keys)
    return dataclasses.replace(self, runs=left)


def directory_of(experiment: str, subset_ratio: float, name: str) -> str:
  """Returns the directory of a pack."""
  return files.join(experiment, str(subset_ratio), PACKED, name)


def lies_in_pack(name: str) -> bool:
  """Whether a file, by its path below the experiment, lies where packs do."""
  match = _PACK_FILE.fullmatch(name)
  return match is not None and parse_ratio(match["ratio"]) is not None


def stretches(runs: Iterable[int]) -> tuple[tuple[int, int], ...]:
  """Returns first and last of each stretch of neighbours among ascending numbers."""
  found: list[tuple[int, int]] = []
  for run in runs:
    if found and found[-1][1] + 1 == run:
      found[-1] = (found[-1][0], run)
    else:
      found.append((run, run))
  return tuple(found)


def write_manifest(directory: str, pack: Pack) -> None:
  """Writes the manifest of a pack whose parts are there: from then on it is one."""
  files.write_json(files.join(directory, MANIFEST), _PACK.dump_python(pack, mode="json"))


def read_manifest(directory: str) -> Pack:
  """Returns the manifest of a pack.

  Raises:
    UsageError: it is none, or damaged.
    OSError: it cannot be read.
  """
  return _parse(directory, files.read_document(files.join(directory, MANIFEST)))


def find_packs(
  experiment: str, found: Iterable[files.FileInfo]
) -> tuple[list[PackedRuns], dict[str, str]]:
  """Returns the runs that lie in packs, and by path what belongs to packs and is of no use, why.

  Of a part that is not there, or has another size, each run is of no use.

  Args:
    experiment: the directory that was listed.
    found: all files in it.
  """
  contents: dict[str, dict[str, files.FileInfo]] = defaultdict(dict)
  problems: dict[str, str] = {}
  for info in found:
    inside = _PACK_FILE.fullmatch(info.name)
    if inside and lies_in_pack(info.name):
      contents[inside["pack"]][inside["name"]] = info
    elif (stray := _STRAY_PART.fullmatch(info.name)) and parse_ratio(stray["ratio"]) is not None:
      problems[files.join(experiment, info.name)] = (
        "lies in no pack: put it back where it was, or delete it"
      )
  contents = {name: members for name, members in contents.items() if members.keys() != {RESULT}}
  packed: list[PackedRuns] = []
  for name, pack in _read_manifests(experiment, contents):
    directory = files.join(experiment, name)
    if isinstance(pack, str):
      problems[directory] = pack
      continue
    for part in pack.parts:
      sizes = (pack.num_train, pack.num_test)
      runs = PackedRuns(pack.subset_ratio, part.ids, directory, part, *sizes, pack.margin)
      if problem := _find_problem(part, contents[name].get(part.name)):
        problems |= {runs.path_of(run): problem for run in runs.runs}
      else:
        packed.append(runs)
    for other in contents[name].keys() - {MANIFEST, RESULT, *(part.name for part in pack.parts)}:
      problems[files.join(directory, other)] = (
        f"is no part of its pack, {MANIFEST} says: take it away"
      )
  return packed, problems


def _read_manifests(
  experiment: str, contents: Mapping[str, Collection[str]]
) -> Iterator[tuple[str, Pack | str]]:
  """Yields packs by name, sorted: the manifest, or why there is none to go by."""
  whole = sorted(name for name, members in contents.items() if MANIFEST in members)
  paths = [files.join(experiment, name, MANIFEST) for name in whole]
  read = dict(files.read_many(paths))
  for name in sorted(contents):
    directory = files.join(experiment, name)
    content = read.get(files.join(directory, MANIFEST))
    if content is None:
      yield name, f"has no {MANIFEST}: an import was stopped; import again, and delete this"
    elif isinstance(content, OSError):
      yield name, f"has a {MANIFEST} that cannot be read: {content.strerror or content}"
    else:
      try:
        pack = _parse(directory, content)
      except UsageError as error:
        yield name, f"has a damaged manifest: {error}"
        continue
      ratio = parse_ratio(name.partition("/")[0])
      if ratio != pack.subset_ratio:
        yield name, f"is of subset ratio {pack.subset_ratio}, not {ratio}: move it back"
      else:
        yield name, pack


def _parse(directory: str, content: bytes) -> Pack:
  try:
    pack: Pack = _PACK.validate_json(content)
  except ValidationError as error:
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    what = f"{where}: {first['msg']}" if where else first["msg"]
    raise UsageError(
      f"{directory}/{MANIFEST} is no manifest of packed runs ({what}): import again"
    ) from None
  if problem := _find_contradiction(pack):
    raise UsageError(f"{directory}/{MANIFEST} contradicts itself ({problem}): import again")
  return pack


def _find_contradiction(pack: Pack) -> str | None:
  last = -1
  for first, end in (stretch for part in pack.parts for stretch in part.runs):
    if not last < first <= end:
      return f"runs {first} to {end} come after run {last}"
    last = end
  if max((part.rows for part in pack.parts), default=0) > _MOST_ROWS:
    return f"a part holds more than {_MOST_ROWS:,} runs"
  names = [part.name for part in pack.parts]
  if len(set(names)) < len(names) or any("/" in name for name in names):
    return "the names of its parts are not what they were"
  if not set(pack.recorded) <= set(RECORDED):
    return f"it records {', '.join(pack.recorded)}"
  return None


def _find_problem(part: PackedPart, info: files.FileInfo | None) -> str | None:
  if info is None:
    return f"{part.name} is missing: put it back, or import again"
  if info.problem:
    return f"{part.name} {info.problem}"
  if info.size != part.bytes:
    return (
      f"{part.name} has {info.size:,} bytes, not the {part.bytes:,} that {MANIFEST} says: it was "
      "changed or damaged; put back the one that was written, or import again"
    )
  return None
