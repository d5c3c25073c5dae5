"""A published scores directory: Parquet tables that are what the manifest says they are."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

import pyarrow as pa

import files
from beam_pipelines.storage.parquet import read_groups
from beam_pipelines.storage.scores.damage import explained_damage
from beam_pipelines.storage.scores.manifest import (
  MANIFEST,
  Manifest,
  StoredPart,
  read_manifest,
  read_stub,
)
from beam_pipelines.storage.scores.tables import TABLE_NAMES, is_table, table_schema
from files.errors import UsageError
from files.inflate import ordinary_limit

DENSE = "influence.zarr"

_TABLE_FILE = re.compile(r"(?P<table>[^/]+)/[^/]+\.parquet")


class Scores:
  """Score tables that can be read; see `open_scores`.

  Attributes:
    path: the scores directory.
    manifest: what it says of them.
  """

  def __init__(self, path: str, manifest: Manifest):
    self.path = path
    self.manifest = manifest

  def table(self, name: str) -> pa.Table:
    """Returns all rows of a score table, in the order of its parts' names.

    Raises:
      UsageError: a part is not there, or is not the one that was published; or all together unpack
        to more than tables do.
    """
    parts = self.manifest.parts_of(name)
    limit = left = ordinary_limit(sum(part.bytes for part in parts))
    tables: list[pa.Table] = []
    for part in parts:
      tables.append(read_part(self.path, part))
      left -= tables[-1].nbytes
      if left < 0:
        raise UsageError(
          f"{files.join(self.path, name)} unpacks to more than {limit:,} bytes, which no table "
          "does: score again, or fetch the scores again"
        )
    if not tables:
      return table_schema(name, self.manifest.options.outcome).empty_table()
    return pa.concat_tables(tables)


@contextmanager
def open_scores(path: str) -> Iterator[Scores]:
  """Yields the scores of a directory; all that the body reads is of one publication.

  Raises:
    UsageError: there are no complete scores, files are there that the manifest does not know, or
      other scores were published while the body was reading.
  """
  manifest = read_manifest(path)
  _check_files(path, manifest)
  yield Scores(path, manifest)
  stub = read_stub(path)
  if stub is None or stub.job != manifest.job or not stub.complete:
    raise UsageError(f"{path}: other scores were published while these were read: run it again")


def read_table(path: str, name: str) -> pa.Table:
  """Returns all rows of one score table, as `Scores.table` does."""
  with open_scores(path) as scores:
    return scores.table(name)


def read_part(path: str, part: StoredPart) -> pa.Table:
  """Returns the rows of a part of the scores in a directory.

  Raises:
    UsageError: it is not there, or is not the one that was published.
  """
  return decode_part(files.join(path, part.path), part)


def decode_part(path: str, part: StoredPart) -> pa.Table:
  """Returns the rows of a part that lies at `path`.

  Raises:
    UsageError: it is not there, or is not the one that was written.
  """
  try:
    content = files.read_bytes(path)
  except FileNotFoundError:
    raise UsageError(f"{path} is missing: score again, or put it back") from None
  check_content(path, part, content)
  with explained_damage(path):
    fits = functools.partial(is_table, part.table)
    return pa.concat_tables(read_groups(content, fits, part.rows))


def check_content(path: str, part: StoredPart, content: bytes) -> None:
  """Makes sure that a file is the one that was written.

  Raises:
    UsageError: it is not.
  """
  if len(content) != part.bytes or hashlib.sha256(content).hexdigest() != part.sha256:
    raise UsageError(
      f"{path} is not the file that {MANIFEST} names: it was changed or damaged; "
      "score again, or put back the one that was written"
    )


def check_owner(path: str, experiment: str) -> None:
  """Makes sure that a scores directory is new or holds this experiment's tables, and has room.

  Raises:
    UsageError: it holds tables of another experiment, tables and no manifest, or something in the
      place of a table.
  """
  owner = read_stub(path)
  names = [info.name for info in files.list_files(path)]
  if owner is None:
    if any(is_ours(name) for name in names):
      raise UsageError(f"{path} holds tables without a {MANIFEST}: choose another directory")
  elif owner.experiment != experiment:
    whose = f"experiment {owner.experiment}" if owner.experiment else "an experiment without name"
    raise UsageError(
      f"{path} holds the tables of {whose}: choose another directory, or delete it first"
    )
  obstacle = find_obstacle(names, [f"{table}/part" for table in (*TABLE_NAMES, DENSE)])
  if obstacle:
    raise UsageError(f"{files.join(path, obstacle)} is in the place of a table: take it away")


def find_obstacle(names: Iterable[str], wanted: Iterable[str]) -> str | None:
  """Returns a file in the way of others: in the place of a directory of theirs, or below one.

  Args:
    names: the files that are there, below one directory.
    wanted: those that are to be there.
  """
  wanted = set(wanted)
  directories = set().union(*map(_parents, wanted))
  in_place = (name for name in names if name in directories or wanted & _parents(name))
  return min(in_place, default=None)


def _parents(name: str) -> set[str]:
  return {str(parent) for parent in PurePosixPath(name).parents}


def is_ours(name: str) -> bool:
  """Whether a file, by its name below the scores directory, is a part of some scores."""
  match = _TABLE_FILE.fullmatch(name)
  in_table = match is not None and match["table"] in TABLE_NAMES
  return in_table or (name.startswith(f"{DENSE}/") and ".." not in name.split("/"))


def _check_files(path: str, manifest: Manifest) -> None:
  found = {info.name: info.size for info in files.list_files(path) if is_ours(info.name)}
  known = {part.path: part.bytes for part in manifest.parts}
  for what, names in (
    ("is missing: score again, or put it back", known.keys() - found.keys()),
    (f"is no part of these scores, {MANIFEST} says: take it away", found.keys() - known.keys()),
    (
      f"has not the size that {MANIFEST} says: it was changed or damaged; score again",
      {name for name in known.keys() & found.keys() if known[name] != found[name]},
    ),
  ):
    if names:
      raise UsageError(f"{files.join(path, min(names))} {what}{_and_more(names)}")


def _and_more(names: Iterable[str]) -> str:
  others = len(set(names)) - 1
  return f" ({others:,} more such files)" if others else ""
