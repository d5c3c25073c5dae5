"""The manifest of a scores directory: one type, written last and read with suspicion."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

import files
from files.errors import UsageError

MANIFEST = "manifest.json"

FORMAT = 2
"""Changes whenever a manifest of before could be misread."""

_EXACT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, config=_EXACT)
class Options:
  """What the scores were asked to be."""

  pairs: Literal["same_class", "all"] = Field(description="Which pairs could be selected.")
  min_influence: float = Field(description="Least influence of a selected pair.")
  min_memorization: float = Field(description="Least memorization of its training example.")
  top_k: int | None = Field(description="Most pairs per example; null for no limit.")
  precision: str = Field(description="Of forward passes, if checkpoints were evaluated.")
  xla: bool = Field(description="Whether XLA compiled them.")
  batch_size: int | None = Field(description="Most images in one; null for chosen by device.")
  checkpoint: Literal["latest"] | int | None = Field(
    description="Which of a run's checkpoints, an epoch; null for the only one."
  )
  gpu: str | None = Field(description="The kind of GPU that they ran on, if one was asked for.")
  dense: bool = Field(description="Whether `influence.zarr` was asked for.")
  correctness: bool = Field(description="Whether the table `correctness` was asked for.")
  strict: bool = Field(description="Whether one skipped run would have been an error.")
  bigquery: str | None = Field(description="The BigQuery data set that has the same tables.")
  bigquery_write: str = Field(description="What became of the rows that it held.")
  outcome: Literal["correct", "probability", "margin"] = Field(
    default="correct", description="What was scored of each run and example."
  )


@dataclass(frozen=True, config=_EXACT)
class Examples:
  """How many examples there are."""

  train: int = Field(description="In the training set.")
  test: int = Field(description="In the test set; 0 if no outcomes on them were recorded.")
  train_recorded: bool = Field(
    default=True,
    description="Whether outcomes on the training set were; if not, no row of it has scores.",
  )


@dataclass(frozen=True, config=_EXACT)
class SplitHalf:
  """How the memorization of two halves of some runs agrees."""

  runs: int = Field(description="Runs in both halves together.")
  correlation: float | None = Field(description="Pearson's; null if undefined.")
  spearman_brown: float | None = Field(
    description="Reliability of all these runs; null where the correlation is not positive."
  )


@dataclass(frozen=True, config=_EXACT)
class Reliability:
  """How well the scores of one subset ratio would repeat."""

  memorization: SplitHalf = Field(description="Of all runs.")
  pairs_jaccard: float | None = Field(
    description="Jaccard index of the pairs that the two halves select; null if there are none."
  )
  curve: tuple[SplitHalf, ...] = Field(description="Of growing numbers of runs.")


@dataclass(frozen=True, config=_EXACT)
class RatioSummary:
  """What is to be known of one subset ratio."""

  subset_ratio: float = Field(description="Share of the training set in each run's subset.")
  runs: int = Field(description="Runs that were scored.")
  reliability: Reliability = Field(description="How well the scores would repeat.")
  expected_false_pairs: float = Field(
    description="Pairs that would pass the thresholds if no example influenced another."
  )
  note: str | None = Field(description="A sentence, if that is at least one pair.")


@dataclass(frozen=True, order=True, config=_EXACT)
class StoredPart:
  """A file of a table or of the dense matrix."""

  table: str = Field(description="The table, or `influence.zarr`.")
  name: str = Field(description="Its path below the table's directory.")
  rows: int = Field(description="Rows that it holds; 0 for Zarr's own descriptions.")
  bytes: int = Field(description="Its size.")
  sha256: str = Field(description="Its digest, in hexadecimal.")

  @property
  def path(self) -> str:
    """Where it lies below the scores directory, or below a staging directory."""
    return files.join(self.table, self.name)


@dataclass(frozen=True, config=_EXACT)
class Request:
  """What a job was asked for: the part of its manifest that is known before it runs."""

  experiment: str = Field(description="The directory of runs.")
  job: str = Field(description="Names the command that made these scores.")
  created: str = Field(description="When it was called, in ISO 8601.")
  source: Literal["recorded", "checkpoints"] = Field(description="Where outcomes came from.")
  dataset: str | None = Field(description="Spec of the data set; null if scored without labels.")
  model: str | None = Field(description="Architecture of the checkpoints, if evaluated.")
  options: Options = Field(description="See below.")
  versions: dict[str, str] = Field(description="Of Python and of the packages that matter.")


@dataclass(frozen=True, config=_EXACT)
class Manifest(Request):
  """All that is known of a scores directory. Every reader checks what it claims."""

  examples: Examples = Field(description="See below.")
  runs_listed: int = Field(description="Inputs: those used and those skipped, and no others.")
  runs_used: int = Field(description="Runs that were scored: the rows of `runs`.")
  runs_skipped: int = Field(description="Inputs that could not be used: the rows of `skipped`.")
  ratios: tuple[RatioSummary, ...] = Field(description="By ascending subset ratio; see below.")
  warnings: tuple[str, ...] = Field(description="What to know before trusting the scores.")
  rows: dict[str, int] = Field(description="Rows by table.")
  parts: tuple[StoredPart, ...] = Field(description="Every file, sorted; see below.")
  complete: Literal[True] = Field(default=True, description="False while tables are replaced.")
  format: int = Field(default=FORMAT, description="Of this file.")

  def parts_of(self, table: str) -> tuple[StoredPart, ...]:
    """Returns the files of a table, sorted by name."""
    return tuple(part for part in self.parts if part.table == table)

  def as_json(self) -> dict[str, Any]:
    """Returns the manifest as JSON has it."""
    return _MANIFEST.dump_python(self, mode="json")


@dataclass(frozen=True)
class Stub:
  """The little that is read of a manifest that is incomplete, or of another format."""

  experiment: str | None = None
  job: str | None = None
  complete: bool = False
  format: int = 1


_MANIFEST = TypeAdapter(Manifest)
_STUB = TypeAdapter(Stub)


def count_rows(parts: tuple[StoredPart, ...]) -> dict[str, int]:
  """Returns how many rows parts hold by table, sorted by table."""
  rows: Counter[str] = Counter()
  for part in parts:
    rows[part.table] += part.rows
  return dict(sorted(rows.items()))


def write_stub(scores: str, experiment: str, job: str) -> None:
  """Says in the manifest's place that the tables of a directory are being replaced."""
  stub = Stub(experiment, job, complete=False, format=FORMAT)
  files.write_json(files.join(scores, MANIFEST), _STUB.dump_python(stub))


def write_manifest(scores: str, manifest: Manifest) -> None:
  """Writes the manifest of a scores directory: from then on it is complete."""
  files.write_json(files.join(scores, MANIFEST), manifest.as_json())


def read_stub(scores: str) -> Stub | None:
  """Returns whose tables a directory holds, whatever the manifest's format; None for none.

  Raises:
    UsageError: the file is no manifest.
  """
  path = files.join(scores, MANIFEST)
  if not files.exists(path):
    return None
  return _read(path, _STUB)


def read_manifest(scores: str) -> Manifest:
  """Returns the manifest of a complete scores directory.

  Raises:
    UsageError: there are no scores, they were not published completely, or their manifest is
      damaged or of another version of Heldout.
  """
  path = files.join(scores, MANIFEST)
  stub = read_stub(scores)
  if stub is None:
    raise UsageError(f"{scores} holds no {MANIFEST}: run `heldout score` first")
  if stub.format != FORMAT:
    raise UsageError(
      f"{path} is of format {stub.format}, and this version of Heldout reads format {FORMAT}: "
      "score again"
    )
  if not stub.complete:
    raise UsageError(f"{scores} is incomplete: run `heldout score` again")
  return _read(path, _MANIFEST)


def describe_manifest() -> str:
  """Returns the manifest's fields as Markdown, the body of docs/manifest.md."""
  described = [Manifest, Options, Examples, RatioSummary, Reliability, SplitHalf, StoredPart]
  return "\n\n".join("\n".join(_describe(kind)) for kind in described) + "\n"


def _read(path: str, kind: TypeAdapter[Any]) -> Any:
  try:
    return kind.validate_json(files.read_document(path))
  except ValidationError as error:
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    what = f"{where}: {first['msg']}" if where else first["msg"]
    raise UsageError(
      f"{path} is no manifest of scores ({what}): delete the directory and score again"
    ) from None


def _describe(kind: type) -> Iterator[str]:
  summary = (kind.__doc__ or "").partition("\n")[0]
  yield f"## {kind.__name__}\n\n{summary}\n\n| field | type | meaning |\n|---|---|---|"
  for field in dataclasses.fields(kind):
    described: Any = field.default  # what pydantic's `Field` returns
    yield f"| {field.name} | {_type_name(str(field.type))} | {described.description} |"


def _type_name(annotation: str) -> str:
  """Says a type in words that no language has for its own."""
  if annotation.startswith("Literal["):
    return annotation.removeprefix("Literal[").removesuffix("]").replace(", ", " or ").lower()
  named = re.sub(r"dict\[str, (\w+)\]", r"\1 by name", annotation)
  named = re.sub(r"tuple\[(\w+), \.\.\.\]", r"list of \1", named)
  return re.sub(r"\bstr\b", "text", named).replace("|", "or").replace("None", "null")
