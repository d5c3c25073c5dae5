"""Parts of packs: outcomes as Parquet, written whole, read by row groups and with suspicion.

A row is a run, with the columns that the table `outcomes` has; what is not recorded is null.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import files
from beam_pipelines.storage.parquet import read_groups
from beam_pipelines.storage.runs.misreadings import RunTrace
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.runs.packs import MANIFEST, PackedPart, PackedRuns, stretches
from beam_pipelines.storage.runs.run_place import RunKey

_SCHEMA = pa.schema(
  [
    pa.field("subset_ratio", pa.float64(), False),
    pa.field("run", pa.int64(), False),
    pa.field("num_train", pa.int64(), False),
    pa.field("num_test", pa.int64(), False),
    pa.field("in_subset", pa.binary(), False),
    pa.field("train_correct", pa.binary()),
    pa.field("test_correct", pa.binary()),
    pa.field("digest", pa.binary(16), False),
    pa.field("train_margin", pa.binary()),
    pa.field("test_margin", pa.binary()),
  ]
)
_MARGINS = ("train_margin", "test_margin")
_BITS = [name for name in _SCHEMA.names if name not in (*_MARGINS, "digest")]

_PART_BYTES = 1 << 26
_GROUP_BYTES = 1 << 24
_MOST_RUNS = 1024


class PartError(ValueError):
  """A part is not the one that was written; the message says what is wrong with it."""


class NoMarginsError(PartError):
  """A part holds no margins."""


def runs_per_part(num_train: int, num_test: int, *, margins: bool) -> int:
  """Returns how many runs a part holds, so that it fits into memory several times."""
  return max(1, min(_MOST_RUNS, _PART_BYTES // _run_bytes(num_train, num_test, margins)))


def write(directory: str, outcomes: Sequence[RunOutcome]) -> PackedPart:
  """Writes a part whose name follows from its runs and their ratio.

  Args:
    directory: of the pack.
    outcomes: at least one, of one subset ratio and equal sizes, by ascending run id.
  """
  first = outcomes[0]
  rows = pa.Table.from_pylist([_encode(outcome) for outcome in outcomes], schema=_SCHEMA)
  run_bytes = _run_bytes(first.num_train, first.num_test, first.margins is not None)
  per_group = max(1, _GROUP_BYTES // run_bytes)
  buffer = io.BytesIO()
  pq.write_table(rows, buffer, compression="zstd", row_group_size=per_group)
  content = buffer.getvalue()
  name = f"runs-from-{first.key.run:06d}.parquet"
  files.write_bytes(files.join(directory, name), content)
  ids = stretches(outcome.key.run for outcome in outcomes)
  return PackedPart(name, ids, len(content), hashlib.sha256(content).hexdigest())


def read(packed: PackedRuns, *, with_margins: bool = False) -> Iterator[RunOutcome]:
  """Yields the outcomes of packed runs, one row group in memory at a time beside the file.

  Args:
    packed: the runs.
    with_margins: whether margins are needed; otherwise they are not looked at.

  Raises:
    NoMarginsError: margins are needed, and there are none.
    PartError: the part cannot be read, or is not the one that the pack's manifest names. Runs
      that were yielded before are sound.
  """
  asked = set(packed.runs)
  for rows in _read_groups(packed, [*_BITS, *_MARGINS] if with_margins else _BITS):
    if with_margins and any(rows[name].null_count for name in _MARGINS):
      raise NoMarginsError(f"{packed.part.name} records no margins")
    for row in rows.to_pylist():
      outcome = _decode(packed, row)
      if outcome.key.run in asked:
        asked.remove(outcome.key.run)
        yield outcome
  if asked:
    raise PartError(f"{packed.part.name} does not hold run {min(asked)}, as {MANIFEST} says")


def read_digests(packed: PackedRuns) -> dict[int, bytes]:
  """Returns what tells the outcomes of packed runs apart, `RunTrace.digest`, by run id.

  Raises:
    PartError: as from `read`.
  """
  found: dict[int, bytes] = {}
  for rows in _read_groups(packed, ["run", "digest"]):
    found |= zip(rows["run"].to_pylist(), rows["digest"].to_pylist(), strict=True)
  return {run: found[run] for run in packed.runs if run in found}


def _run_bytes(num_train: int, num_test: int, margins: bool) -> int:
  bits = 2 * -(-num_train // 8) + -(-num_test // 8) + 64
  return bits + 4 * (num_train + num_test) * margins


def _encode(outcome: RunOutcome) -> dict[str, Any]:
  return {
    "subset_ratio": outcome.key.subset_ratio,
    "run": outcome.key.run,
    "num_train": outcome.num_train,
    "num_test": outcome.num_test,
    "in_subset": outcome.in_subset,
    "train_correct": outcome.train_correct if outcome.train_recorded else None,
    "test_correct": outcome.test_correct if outcome.num_test else None,
    "digest": RunTrace.of(outcome).digest,
    "train_margin": outcome.train_margin,
    "test_margin": outcome.test_margin,
  }


def _read_groups(packed: PackedRuns, columns: Sequence[str]) -> Iterator[pa.Table]:
  name, part = packed.part.name, packed.part
  try:
    content = files.read_bytes(packed.path)
  except OSError as error:
    raise PartError(f"{name} cannot be read: {error.strerror or error}") from error
  if len(content) != part.bytes or hashlib.sha256(content).hexdigest() != part.sha256:
    raise PartError(
      f"{name} is not the file that {MANIFEST} names: it was changed or damaged; put back the one "
      "that was written, or import again"
    )
  try:
    yield from read_groups(content, _SCHEMA.equals, part.rows, columns)
  except MemoryError:
    raise
  except Exception as error:  # Parquet's reader and its codecs raise a dozen kinds
    reason = str(error).strip().partition("\n")[0].rstrip(".")[:200] or type(error).__name__
    raise PartError(f"{name} is damaged ({reason}): import again") from error


def _decode(packed: PackedRuns, row: dict[str, Any]) -> RunOutcome:
  sizes = (row["num_train"], row["num_test"])
  if row["subset_ratio"] != packed.subset_ratio or sizes != (packed.num_train, packed.num_test):
    raise PartError(f"{packed.part.name} has run {row['run']} of another ratio or data set")
  for column, count in (
    ("in_subset", sizes[0]),
    ("train_correct", sizes[0]),
    ("test_correct", sizes[1]),
  ):
    bits = row[column]
    if bits is not None and not _fills(bits, count):
      raise PartError(f"{packed.part.name}: {column} of run {row['run']} has another size")
  margins = {name: row.get(name) for name in _MARGINS}
  counts = (sizes[0] if row["train_correct"] else 0, sizes[1])
  for (column, values), count in zip(margins.items(), counts, strict=True):
    if values is not None and not _are_margins(values, count):
      raise PartError(
        f"{packed.part.name}: {column} of run {row['run']} has another size, or is not finite"
      )
  return RunOutcome(
    key=RunKey(row["subset_ratio"], row["run"]),
    num_train=sizes[0],
    num_test=sizes[1],
    in_subset=row["in_subset"],
    train_correct=row["train_correct"] or b"",
    test_correct=row["test_correct"] or b"",
    **margins,
  )


def _fills(bits: bytes, count: int) -> bool:
  """Whether packed bits are of so many examples; the bits beyond them are 0."""
  if len(bits) != -(-count // 8):
    return False
  spare = np.unpackbits(np.frombuffer(bits[-1:], np.uint8), bitorder="little")[count % 8 or 8 :]
  return not spare.any()


def _are_margins(values: bytes, count: int) -> bool:
  return len(values) == 4 * count and bool(np.isfinite(np.frombuffer(values, "<f4")).all())
