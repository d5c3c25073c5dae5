"""Damaged tables and matrices: their rows, or one line that names the file."""

import dataclasses
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import zstandard

from beam_pipelines.storage.scores.damage import explained_damage
from beam_pipelines.storage.scores.dense import create_dense, read_dense, row_blocks, write_rows
from beam_pipelines.storage.scores.directory import decode_part
from beam_pipelines.storage.scores.manifest import read_manifest, write_manifest
from beam_pipelines.storage.scores.publication import publish
from beam_pipelines.storage.scores.staging import Staging, describe_part
from beam_pipelines.storage.scores.tables import make_table
from files.errors import UsageError
from tests.helpers.mutations import mutate
from tests.helpers.scores import make_manifest

ADVICE = ": score again, or fetch the scores again"
BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
ZSTD = {"name": "zstd", "configuration": {"level": 0, "checksum": False}}
MATRIX = np.random.default_rng(0).random((40, 30), np.float32)


@pytest.fixture
def part(tmp_path):
  rng = np.random.default_rng(0)
  table = make_table(
    "outcomes",
    subset_ratio=rng.random(500),
    run=np.arange(500),
    num_train=70,
    num_test=9,
    in_subset=[rng.bytes(9) for _ in range(500)],
    train_correct=[rng.bytes(9) for _ in range(500)],
    test_correct=[rng.bytes(2) for _ in range(500)],
  )
  path = tmp_path / "part.parquet"
  pq.write_table(table, path, compression="zstd")
  return path


@pytest.fixture
def scores(tmp_path):
  staging = Staging.begin(str(tmp_path), "job")
  group = f"{staging.path}/influence.zarr"
  parts = create_dense(group, 0.7, MATRIX.shape, 16)
  for start in range(0, 40, 16):
    parts += write_rows(group, 0.7, start, MATRIX[start : start + 16])
  publish(staging, make_manifest(parts, examples=MATRIX.shape))
  return tmp_path


def _vouch_for(scores, path):
  """Makes the manifest say that a file is what it is: the damage is older than the manifest."""
  manifest = read_manifest(str(scores))
  name = path.relative_to(scores / "influence.zarr").as_posix()
  content = path.read_bytes()
  parts = [
    describe_part(part.table, name, part.rows, content) if part.name == name else part
    for part in manifest.parts
  ]
  write_manifest(str(scores), dataclasses.replace(manifest, parts=tuple(parts)))


def _error(read, *arguments):
  """Returns the message of the one error that may come, or None."""
  try:
    read(*arguments)
  except UsageError as error:
    return str(error)
  return None


def _read_rows(path):
  table = decode_part(path, describe_part("outcomes", "x", 500, Path(path).read_bytes()))
  for name in table.column_names:
    table[name].to_pylist()


def _fuzz_part(path):
  """Reads damaged copies of a part; prints what was said of each."""
  content = path.read_bytes()
  footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
  spots = (0, len(content) - 40, *range(footer, len(content), 40))
  damaged_path = path.with_name("damaged.parquet")
  for damaged in mutate(content, seed=0, count=800, spots=spots):
    damaged_path.write_bytes(damaged)
    print(json.dumps(_error(_read_rows, str(damaged_path))))


def _read_matrix(scores):
  for _ in row_blocks(str(scores), read_dense(str(scores), 0.7)):
    pass


def test_a_damaged_part_is_one_line_whatever_the_damage(part):
  """In a process of its own, with little memory: sizes in a footer are taken at their word."""
  code = (
    f"from {__name__} import _fuzz_part; import pathlib; _fuzz_part(pathlib.Path({str(part)!r}))"
  )
  bytes_ = 4 << 30  # of addresses; NumPy, Arrow and threads take most of them
  process = subprocess.run(
    [sys.executable, "-c", code],
    capture_output=True,
    text=True,
    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_)),
  )
  assert process.returncode == 0, process.stderr[-2000:]
  messages = [message for line in process.stdout.splitlines() if (message := json.loads(line))]
  assert len(messages) > 300
  path = part.with_name("damaged.parquet")
  for message in messages:
    assert message.startswith(f"{path} is damaged (")
    assert message.endswith(ADVICE)
    assert "\n" not in message


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_a_part_that_was_cut_is_one_line(part, share):
  content = part.read_bytes()
  part.write_bytes(content[: int(share * len(content))])
  with pytest.raises(UsageError, match=rf"^{part} is damaged \(.*\){ADVICE}$"):
    _read_rows(str(part))


def test_a_table_of_other_columns_is_one_line(part):
  pq.write_table(pq.read_table(part).drop(["num_test"]), part)
  with pytest.raises(UsageError, match=rf"^{part} is damaged \(its 500 rows or their columns"):
    _read_rows(str(part))


def test_rows_beyond_those_of_the_manifest_are_never_unpacked(tmp_path, monkeypatch):
  """A few kilobytes claim, and have, a hundred thousand times as many."""
  path = tmp_path / "bomb.parquet"
  rows = make_table("skipped", path=["x"] * 1_000_000, reason=["y"] * 1_000_000)
  pq.write_table(rows, path, compression="zstd", row_group_size=1_000_000)
  assert path.stat().st_size < 10_000
  monkeypatch.setattr(pq.ParquetFile, "read", None)
  part = describe_part("skipped", "bomb.parquet", 10, path.read_bytes())
  with pytest.raises(UsageError, match=rf"^{path} is damaged \(its 1,000,000 rows or their colu"):
    decode_part(str(path), part)


@pytest.mark.parametrize("name", ["ratio-0.7/zarr.json", "ratio-0.7/c/1/0"])
def test_a_damaged_matrix_is_one_line_whatever_the_damage(scores, name):
  path = scores / "influence.zarr" / name
  messages = []
  for damaged in mutate(path.read_bytes(), seed=0, count=300):
    path.write_bytes(damaged)
    _vouch_for(scores, path)
    messages.append(_error(_read_matrix, scores))
  said = [message for message in messages if message]
  assert len(said) > 100
  for message in said:
    assert message.startswith((f"{scores}/influence.zarr/ratio-0.7/", f"{scores} holds no dense"))
    assert "\n" not in message


def test_a_chunk_that_was_cut_is_named(scores):
  path = scores / "influence.zarr/ratio-0.7/c/1/0"
  path.write_bytes(path.read_bytes()[:-100])
  _vouch_for(scores, path)
  with pytest.raises(UsageError, match=rf"^{path} is damaged \(.*\){ADVICE}$"):
    _read_matrix(scores)


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("data_type", "float64"),
    ("shape", [1200]),
    ("shape", [40, 300_000]),
    ("chunk_grid", {}),
    ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [16, 300_000]}}),
    ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [4000, 30]}}),
    ("chunk_key_encoding", {"name": "default", "configuration": {"separator": "."}}),
    ("codecs", 3),
    ("codecs", [BYTES, {"name": "gzip", "configuration": {"level": 1}}]),
    ("codecs", [BYTES, ZSTD, ZSTD]),
    ("codecs", [{"name": "transpose", "configuration": {"order": [1, 0]}}, BYTES, ZSTD]),
    ("attributes", {"": "x" * 100_000}),
  ],
)
def test_a_matrix_of_another_kind_is_one_line(scores, field, value):
  path = scores / "influence.zarr/ratio-0.7/zarr.json"
  path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
  _vouch_for(scores, path)
  with pytest.raises(UsageError, match=rf"^{path} is damaged \(.*\){ADVICE}$"):
    read_dense(str(scores), 0.7)


def test_a_chunk_that_unpacks_to_more_than_its_rows_is_never_unpacked(scores):
  """Forty kilobytes for a gigabyte."""
  path = scores / "influence.zarr/ratio-0.7/c/1/0"
  path.write_bytes(zstandard.compress(bytes(1 << 30)))
  assert path.stat().st_size < 100_000
  _vouch_for(scores, path)
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  reason = r"it unpacks to 1,073,741,824 bytes, not 1,920"
  with pytest.raises(UsageError, match=rf"^{path} is damaged \({reason}\){ADVICE}$"):
    _read_matrix(scores)
  assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 19


def test_a_chunk_that_no_manifest_names_is_not_taken_for_nothing(scores):
  manifest = read_manifest(str(scores))
  parts = tuple(part for part in manifest.parts if not part.name.endswith("c/1/0"))
  write_manifest(str(scores), dataclasses.replace(manifest, parts=parts))
  with pytest.raises(UsageError, match=r"chunk ratio-0.7/c/1/0 is not among the files of the mani"):
    read_dense(str(scores), 0.7)


def test_memory_that_is_short_is_no_damage():
  with pytest.raises(MemoryError, match=r"^of 8 bytes$"), explained_damage("x"):
    raise MemoryError("of 8 bytes")


def test_long_reasons_are_cut_and_empty_ones_named():
  def damaged(error):
    with explained_damage("x"):
      raise error

  assert _error(damaged, ValueError("y" * 500)) == f"x is damaged ({'y' * 200}){ADVICE}"
  assert _error(damaged, EOFError()) == f"x is damaged (EOFError){ADVICE}"
  assert _error(damaged, ValueError("one.\ntwo")) == f"x is damaged (one){ADVICE}"
