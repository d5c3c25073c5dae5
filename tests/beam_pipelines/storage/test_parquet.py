"""What files may unpack to, whatever they claim."""

import functools
import io
import json
import resource
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_pipelines.storage.parquet import read_groups
from beam_pipelines.storage.scores.tables import is_table, make_table, table_schema
from tests.helpers import parquet_bombs
from tests.helpers.mutations import mutate

SKIPPED = table_schema("skipped")
MORE = "unpacks to more than "
BOMBS = {
  "repeated": (lambda: parquet_bombs.repeated(SKIPPED, 20_000), 20_000, MORE),
  "packed": (lambda: parquet_bombs.packed(SKIPPED, 150), 150, MORE),
  "beginning alike": (lambda: parquet_bombs.beginning_alike(SKIPPED, 150), 150, "encoded in a way"),
  "many rows": (lambda: parquet_bombs.many_rows(SKIPPED, 50_000_000), 50_000_000, MORE),
  "nested": (lambda: parquet_bombs.nested(100_000), 0, "it has 100,002 columns"),
}


def _read(content, table, rows, columns=None):
  groups = read_groups(content, functools.partial(is_table, table), rows, columns)
  return pa.concat_tables(groups)


def _written(table, **options):
  buffer = io.BytesIO()
  pq.write_table(table, buffer, compression="zstd", **options)
  return buffer.getvalue()


def _table(rows=1000):
  rng = np.random.default_rng(0)
  return make_table(
    "index",
    split="train",
    example=np.arange(rows),
    id=[None if i % 7 == 0 else f"train_{i}" for i in range(rows)],
    label=rng.integers(0, 10, rows),
    class_name=[f"class {i % 10}" for i in range(rows)],
    pixels=[rng.bytes(16).hex() for _ in range(rows)],
  )


@pytest.mark.parametrize(
  "options",
  [{}, {"row_group_size": 300}, {"use_dictionary": False}, {"data_page_version": "2.0"}],
)
def test_what_was_written_is_read(options):
  table = _table()
  content = _written(table, **options)
  read = _read(content, "index", 1000)
  assert read.equals(table, check_metadata=True)
  assert _read(content, "index", 1000, ["id", "label"]).equals(table.select(["id", "label"]))


@pytest.mark.parametrize("rows", [0, 1])
def test_tables_may_be_empty(rows):
  assert _read(_written(_table()[:rows]), "index", rows).equals(_table()[:rows])


def test_texts_are_counted_where_many_are_short_and_one_is_long():
  """Not as if each were the longest."""
  reasons = ["short"] * 2000 + ["x" * 200_000]
  table = make_table("skipped", path=[f"runs/{i}" for i in range(2001)], reason=reasons)
  assert _read(_written(table), "skipped", 2001).equals(table)


def _say_what_is_said(name, path):
  """Reads a bomb; prints the error, and by how many megabytes memory has grown."""
  with open(path, "rb") as file:
    content = file.read()
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  try:
    _read(content, "skipped", BOMBS[name][1])
  except ValueError as error:
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([str(error), grown >> 10]))


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_one_line_before_it_explodes(name, tmp_path):
  """In a process of its own, which the stack or the memory might end."""
  make, _, reason = BOMBS[name]
  path = tmp_path / "bomb.parquet"
  path.write_bytes(make())
  assert path.stat().st_size < 1_000_000
  code = f"from {__name__} import _say_what_is_said; _say_what_is_said({name!r}, {str(path)!r})"
  process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
  assert process.returncode == 0, process.stderr[-2000:]
  said, grown = json.loads(process.stdout)
  assert reason in said
  assert grown < 600


def test_damaged_headers_of_pages_are_one_line_each():
  table = _table(2000)
  content = _written(table, use_dictionary=["split", "class_name"], data_page_size=4096)
  footer = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0)
  spots = [
    footer.column(number).dictionary_page_offset or footer.column(number).data_page_offset
    for number in range(footer.num_columns)
  ]
  said = 0
  for damaged in mutate(content, seed=0, count=1500, spots=tuple(spots)):
    try:
      assert _read(damaged, "index", 2000).num_rows == 2000
    except (ValueError, OSError, pa.ArrowException) as error:
      said += bool(str(error))
  assert said > 700


def test_files_of_other_writers_are_refused():
  content = _written(_table())
  other = content.replace(b"parquet-cpp-arrow version", b"parquet-mr aaaaaa version")
  assert len(other) == len(content)
  with pytest.raises(ValueError, match="it was written by parquet-mr aaaaaa version"):
    _read(other, "index", 1000)


def test_a_long_footer_is_not_looked_at():
  content = b"PAR1" + b"\0" * (1 << 21) + (1 << 21).to_bytes(4, "little") + b"PAR1"
  with pytest.raises(ValueError, match="its footer has 2,097,152 bytes"):
    _read(content, "index", 0)


def test_arrows_threads_hold_nothing_of_pythons(monkeypatch):
  """They would let go of it when the interpreter has ended, and abort the process."""
  content, sources, open_file = _written(_table()), [], pq.ParquetFile

  def opened(source, **options):
    sources.append(source)
    return open_file(source, **options)

  monkeypatch.setattr(pq, "ParquetFile", opened)
  before = sys.getrefcount(content)
  assert _read(content, "index", 1000).num_rows == 1000
  assert {type(source) for source in sources} == {pa.BufferReader}
  assert sys.getrefcount(content) == before
