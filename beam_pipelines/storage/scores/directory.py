"""A scores directory: Parquet tables and the manifest that says what they are."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Collection
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import files
from beam_pipelines.storage.scores import dense
from beam_pipelines.storage.scores.damage import explained_damage
from beam_pipelines.storage.scores.tables import SCORE_TABLES
from files.errors import UsageError

MANIFEST = "manifest.json"

_STAGING = ".staging-"
_TABLE_FILE = re.compile(r"(?P<table>\w+)/[^/]+\.parquet")


@dataclasses.dataclass(frozen=True)
class StagedPart:
  """A file that one job has written and not yet published.

  Attributes:
    table: the table (or Zarr group) that it is a part of.
    name: its name in the table's directory, the same whenever the same rows are written.
    rows: how many rows it holds.
  """

  table: str
  name: str
  rows: int


@dataclasses.dataclass(frozen=True)
class ScoresDirectory:
  """Where one job stages its tables and from where it publishes them.

  Nothing is visible in the tables before the whole job has succeeded: parts are written below
  `.staging-<job>/`, then renamed into place, and the manifest comes last.
  """

  path: str
  job: str

  @property
  def staging(self) -> str:
    """Where the job writes what is not published yet."""
    return files.join(self.path, _STAGING + self.job)

  def discard(self) -> None:
    """Deletes what the job has staged."""
    files.delete_directory(self.staging)

  def stage(self, table: str, name: str, rows: pa.Table) -> StagedPart:
    """Writes one part; a repetition overwrites it with the same content."""
    part = StagedPart(table, f"{name}.parquet", rows.num_rows)
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd")
    files.write_bytes(self._staged(part), buffer.getvalue())
    return part

  def read_staged(self, part: StagedPart) -> pa.Table:
    """Returns the rows of a part that this job has staged."""
    return read_part(self._staged(part))

  def publish(self, parts: Collection[StagedPart], manifest: dict[str, Any]) -> None:
    """Puts staged parts into place, removes what they replace, and writes the manifest.

    The manifest first says `"complete": false`: whoever reads a directory whose publisher was
    stopped sees whose tables they are, and that they are not whole. Publishing again after that
    finishes the work.
    """
    incomplete = {"experiment": manifest["experiment"], "complete": False}
    files.write_json(files.join(self.path, MANIFEST), incomplete)
    # A part may be named more than once, and was moved already if a stopped publication goes on.
    moves = {self._staged(part): self._published(part) for part in parts}
    files.move((source, target) for source, target in moves.items() if files.exists(source))
    kept = set(moves.values())
    listed = files.list_files(self.path)
    ours = (files.join(self.path, info.name) for info in listed if _is_ours(info.name))
    files.delete(path for path in ours if path not in kept)
    for table in {*SCORE_TABLES, dense.GROUP} - {part.table for part in parts}:
      files.delete_directory(files.join(self.path, table))
    stagings = {info.name.partition("/")[0] for info in listed if info.name.startswith(_STAGING)}
    for staging in stagings:
      files.delete_directory(files.join(self.path, staging))
    self.discard()
    files.write_json(files.join(self.path, MANIFEST), {**manifest, "complete": True})

  def _staged(self, part: StagedPart) -> str:
    return files.join(self.staging, part.table, part.name)

  def _published(self, part: StagedPart) -> str:
    return files.join(self.path, part.table, part.name)


def check_owner(scores: str, experiment: str) -> None:
  """Makes sure that a scores directory is new or holds this experiment's tables.

  Raises:
    UsageError: it holds tables of another experiment, or tables and no manifest.
  """
  owner = _read_manifest(scores)
  if owner is None:
    if any(_is_table_file(info.name) for info in files.list_files(scores)):
      raise UsageError(
        f"--scores={scores} holds tables without a {MANIFEST}: choose another directory"
      )
  elif owner.get("experiment") != experiment:
    raise UsageError(
      f"--scores={scores} holds the tables of experiment {owner.get('experiment')}: "
      "choose another directory, or delete it first"
    )


def read_manifest(scores: str) -> dict[str, Any]:
  """Returns the manifest of a complete scores directory.

  Raises:
    UsageError: there are no scores, or they were not published completely.
  """
  manifest = _read_manifest(scores)
  if manifest is None:
    raise UsageError(f"--scores={scores} holds no {MANIFEST}: run `heldout score` first")
  if not manifest.get("complete"):
    raise UsageError(f"--scores={scores} is incomplete: run `heldout score` again")
  return manifest


def read_table(scores: str, name: str) -> pa.Table:
  """Returns all rows of a score table, in the order of its parts' names."""
  parts = [read_part(path) for path in list_parts(scores, name)]
  return pa.concat_tables(parts) if parts else SCORE_TABLES[name].empty_table()


def list_parts(scores: str, name: str) -> list[str]:
  """Returns the paths of a score table's Parquet files, sorted."""
  return [
    files.join(scores, info.name)
    for info in files.list_files(scores)
    if info.name.startswith(f"{name}/") and _is_table_file(info.name)
  ]


def read_part(path: str) -> pa.Table:
  """Returns the rows of one of a score table's Parquet files.

  Raises:
    UsageError: it is damaged.
  """
  content = io.BytesIO(files.read_bytes(path))
  with explained_damage(path):
    table = pq.read_table(content)
    table.validate(full=True)
    _ = table.column_names  # decodes them, which may fail
  return table


def _is_table_file(name: str) -> bool:
  match = _TABLE_FILE.fullmatch(name)
  return match is not None and match["table"] in SCORE_TABLES


def _is_ours(name: str) -> bool:
  return _is_table_file(name) or name.startswith(f"{dense.GROUP}/")


def _read_manifest(scores: str) -> dict[str, Any] | None:
  path = files.join(scores, MANIFEST)
  if not files.exists(path):
    return None
  try:
    manifest = files.read_json(path)
  except json.JSONDecodeError as error:
    raise UsageError(
      f"{path} is not JSON ({error}): delete the directory and score again"
    ) from None
  if not isinstance(manifest, dict):
    raise UsageError(f"{path} is no manifest: delete the directory and score again")
  return manifest
