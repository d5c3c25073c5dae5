"""What one job has written of its score tables, where nobody reads yet."""

from __future__ import annotations

import dataclasses
import hashlib
import io

import pyarrow as pa
import pyarrow.parquet as pq

import files
from beam_pipelines.storage.scores.directory import decode_part
from beam_pipelines.storage.scores.manifest import StoredPart, read_stub
from files import scratch

STAGING = ".staging-"

_REFUSAL = "refusal.txt"

ANY = "any"
"""The base of a job that may replace whatever is there: one that runs long after it was made."""


@dataclasses.dataclass(frozen=True)
class Staging:
  """Where one job stages its tables, below `<scores>/.staging-<job>/`.

  Nothing is visible in the tables before the whole job has succeeded: see `publication`.

  Attributes:
    scores: the scores directory.
    job: names the job.
    base: the job whose scores the directory held when this one began, None for none: if they are
      other ones when it ends, somebody has published meanwhile.
  """

  scores: str
  job: str
  base: str | None = None

  @classmethod
  def begin(cls, scores: str, job: str) -> Staging:
    """Returns the staging of a job that begins now."""
    stub = read_stub(scores)
    return cls(scores, job, stub.job if stub else None)

  @property
  def name(self) -> str:
    """The staging directory's name below the scores directory."""
    return STAGING + self.job

  @property
  def path(self) -> str:
    """Where the job writes what is not published yet."""
    return files.join(self.scores, self.name)

  def mark_owner(self) -> None:
    """Says that the job ends with this process: what a killed one leaves, the next takes away."""
    files.write_bytes(files.join(self.path, scratch.new_name()), b"")

  def stage(self, table: str, name: str, rows: pa.Table) -> StoredPart:
    """Writes one part; a repetition overwrites it with the same content."""
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd")
    content = buffer.getvalue()
    part = describe_part(table, f"{name}.parquet", rows.num_rows, content)
    files.write_bytes(self._staged(part), content)
    return part

  def read(self, part: StoredPart) -> pa.Table:
    """Returns the rows of a part that this job has staged."""
    return decode_part(self._staged(part), part)

  def refuse(self, reason: str) -> None:
    """Leaves word for whoever started the job why it does not publish."""
    files.write_bytes(files.join(self.path, _REFUSAL), reason.encode())

  def refusal(self) -> str | None:
    """Returns the reason that `refuse` was given, if it was."""
    path = files.join(self.path, _REFUSAL)
    return files.read_bytes(path).decode() if files.exists(path) else None

  def discard(self) -> None:
    """Deletes what the job has staged."""
    files.delete_directory(self.path)

  def _staged(self, part: StoredPart) -> str:
    return files.join(self.path, part.path)


def discard_left_over(scores: str) -> list[str]:
  """Deletes what jobs have staged whose process, on this host, is dead.

  Returns:
    The directories of what may still be at work: of a living process, of another host, or of a job
    on an engine that goes on without the command that started it.
  """
  staged: dict[str, bool] = {}
  for info in files.list_files(scores):
    directory, _, name = info.name.partition("/")
    if directory.startswith(STAGING):
      staged[directory] = staged.get(directory, False) or scratch.is_left_over(name)
  for directory, left_over in staged.items():
    if left_over:
      files.delete_directory(files.join(scores, directory))
  return [files.join(scores, directory) for directory, left_over in staged.items() if not left_over]


def describe_part(table: str, name: str, rows: int, content: bytes) -> StoredPart:
  """Returns what is to be known of a file of a table or of the dense matrix."""
  return StoredPart(table, name, rows, len(content), hashlib.sha256(content).hexdigest())
