"""Publishing scores: one publisher at a time, and whatever stops it, another can finish.

A publication is written down before it changes anything: `publication.json` holds the manifest that
is to be, and names what it replaces. Only one process can make that file. Until it is gone again,
anybody who has it can carry the publication to its end, and the outcome is the same however often
and by whomever that is done.
"""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

import files
from beam_pipelines.storage.scores.conservation import PublicationError
from beam_pipelines.storage.scores.directory import check_content, find_obstacle, is_ours
from beam_pipelines.storage.scores.manifest import (
  FORMAT,
  Manifest,
  StoredPart,
  read_manifest,
  read_stub,
  write_manifest,
  write_stub,
)
from beam_pipelines.storage.scores.staging import ANY, Staging
from files.errors import UsageError

PUBLICATION = "publication.json"

_MOVES = 3


@dataclass(frozen=True)
class Publication:
  """A publication that is under way.

  Attributes:
    manifest: what is published.
    replaced: parts that are there before it, below the scores directory.
  """

  manifest: Manifest
  replaced: tuple[str, ...]

  def __post_init__(self) -> None:
    """Refuses what would touch anything but tables, whoever wrote it."""
    strange = [name for name in (*self.replaced, *self._part_names) if not is_ours(name)]
    if strange or "/" in self.manifest.job:
      raise ValueError(f"{(*strange, self.manifest.job)[0]} is no part of scores")

  @property
  def _part_names(self) -> tuple[str, ...]:
    return tuple(part.path for part in self.manifest.parts)


_PUBLICATION = TypeAdapter(Publication)


def check_base(staging: Staging) -> None:
  """Makes sure that nobody has published since a job began.

  Raises:
    PublicationError: somebody has, or is about to.
  """
  current = read_stub(staging.scores)
  if staging.base != ANY and (current and current.job) not in (staging.base, staging.job):
    raise PublicationError(
      f"{staging.scores}: other scores were published there since this job began, and nothing of "
      "it was: run it again"
    )


def publish(staging: Staging, manifest: Manifest) -> None:
  """Puts the parts of a manifest into place, removes what they replace, and writes the manifest.

  A repetition, by a worker that does its work twice, changes nothing.

  Raises:
    PublicationError: a part is not staged as the manifest says, or other scores were published
      since the job began.
  """
  scores = staging.scores
  pending = _read(scores)
  if pending is None:
    if _is_published(scores, manifest):
      return
    sizes = {info.name: info.size for info in files.list_files(scores)}
    _check_sizes(scores, manifest.parts, sizes, below=staging.name)
    obstacle = find_obstacle(sizes, (part.path for part in manifest.parts))
    if obstacle:
      raise PublicationError(
        f"{files.join(scores, obstacle)} is in the place of a table: take it away, and run it again"
      )
    replaced = tuple(sorted(name for name in sizes if is_ours(name)))
    pending = Publication(manifest, replaced)
    if files.claim(_path(scores), _PUBLICATION.dump_json(pending)):
      try:
        check_base(staging)
      except PublicationError:
        files.delete([_path(scores)])
        raise
    else:
      pending = _read(scores)
  if pending is None or pending.manifest.job != manifest.job:
    raise PublicationError(
      f"{scores}: another command is publishing there, and nothing of this job was published: "
      "run it again"
    )
  _finish(scores, pending)


def abandon(staging: Staging) -> None:
  """Deletes what a job has staged, unless its publication has begun: then somebody finishes it."""
  pending = _read(staging.scores)
  if pending is None or pending.manifest.job != staging.job:
    staging.discard()


def finish_publication(scores: str) -> bool:
  """Carries a publication to its end that was stopped in the midst; returns whether there was one.

  Raises:
    UsageError: files of it are missing.
  """
  pending = _read(scores)
  if pending is None:
    return False
  try:
    _finish(scores, pending)
  except PublicationError as error:
    raise UsageError(str(error)) from error
  return True


def _finish(scores: str, publication: Publication) -> None:
  """Does all of a publication that is not done; several processes may at the same time."""
  manifest = publication.manifest
  staging = Staging(scores, manifest.job)
  if not _is_published(scores, manifest):
    _check_pending(scores, manifest)
    write_stub(scores, manifest.experiment, manifest.job)
    _move_parts(staging, manifest.parts)
    kept = {part.path for part in manifest.parts}
    _check_pending(scores, manifest)
    files.delete(files.join(scores, name) for name in publication.replaced if name not in kept)
    for table in {name.partition("/")[0] for name in publication.replaced} - set(manifest.rows):
      files.delete_directory(files.join(scores, table))  # what is left of it where there are such
    _check_sizes(scores, manifest.parts, {i.name: i.size for i in files.list_files(scores)})
    _check_pending(scores, manifest)
    write_manifest(scores, manifest)
  staging.discard()
  files.delete([_path(scores)])


def _move_parts(staging: Staging, parts: tuple[StoredPart, ...]) -> None:
  """Moves what is staged; what is not was moved already, and is looked at."""
  for left in reversed(range(_MOVES)):
    staged = {info.name for info in files.list_files(staging.path)}
    try:
      files.move(
        (files.join(staging.path, part.path), files.join(staging.scores, part.path))
        for part in parts
        if part.path in staged
      )
      break
    except OSError:
      if not left:
        raise  # else another process may be moving them, too
  for part in parts:
    if part.path not in staged:
      path = files.join(staging.scores, part.path)
      try:
        check_content(path, part, files.read_bytes(path))
      except (FileNotFoundError, UsageError) as error:
        raise PublicationError(f"{path} cannot be published: {error}") from error


def _check_pending(scores: str, manifest: Manifest) -> None:
  """Stops a process that wakes up after another has finished its publication."""
  pending = _read(scores)
  if pending is None or pending.manifest.job != manifest.job:
    raise PublicationError(f"{scores}: another command has finished this publication")


def _is_published(scores: str, manifest: Manifest) -> bool:
  stub = read_stub(scores)
  if stub is None or not stub.complete or (stub.job, stub.format) != (manifest.job, FORMAT):
    return False
  return read_manifest(scores).parts == manifest.parts


def _check_sizes(
  scores: str, parts: tuple[StoredPart, ...], sizes: dict[str, int], below: str = ""
) -> None:
  for part in parts:
    name = files.join(below, part.path)
    if sizes.get(name) != part.bytes:
      found = f"has {sizes[name]:,} bytes, not {part.bytes:,}" if name in sizes else "is missing"
      raise PublicationError(
        f"{files.join(scores, name)} {found}: nothing is published that is not whole"
      )


def _read(scores: str) -> Publication | None:
  path = _path(scores)
  try:
    return _PUBLICATION.validate_json(files.read_document(path))
  except FileNotFoundError:
    return None
  except ValidationError as error:
    what = error.errors(include_url=False)[0]["msg"]
    raise UsageError(f"{path} is damaged ({what}): delete it and score again") from None


def _path(scores: str) -> str:
  return files.join(scores, PUBLICATION)
