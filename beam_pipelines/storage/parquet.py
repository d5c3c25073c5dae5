"""Parquet files that a manifest vouches for, unpacked only within what it and their size allow."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_pipelines.storage.parquet_headers import count_columns, read_pages
from files.inflate import ordinary_limit

_WRITER = "parquet-cpp-arrow "  # of others, Arrow reads more than footers say
_TAIL_BYTES = 8  # the length of the footer, and a signature
_MOST_FOOTER_BYTES = 1 << 20
_MOST_COLUMNS = 64
_MOST_PAGES = 1 << 17
# PLAIN, PLAIN_DICTIONARY, RLE and RLE_DICTIONARY. In others, such as DELTA_BYTE_ARRAY, a few bytes
# stand for a long text again and again.
_ENCODINGS = {0, 2, 3, 8}


def read_groups(
  content: bytes,
  fits: Callable[[pa.Schema], bool],
  rows: int,
  columns: Iterable[str] | None = None,
) -> Iterator[pa.Table]:
  """Yields the rows of a file by groups, at least one, which may be empty.

  A few bytes may claim any number of rows and bytes, and may even unpack to them. Whatever they
  are, what is unpacked stays within `files.inflate.ordinary_limit` of their number: the pages of
  each group, and the rows of all.

  Args:
    content: the file, written by PyArrow with its usual encodings.
    fits: whether a schema is one that it may have.
    rows: how many it must have, in all of its row groups and in each of its columns.
    columns: which to read; None for all.

  Raises:
    ValueError: it has others, or unpacks to more.
    Exception: it is no Parquet file; of many kinds.
  """
  _check_footer(content)
  copy = _copy(content)
  file = pq.ParquetFile(pa.BufferReader(copy))
  schema = file.schema_arrow if columns is None else _chosen(file.schema_arrow, columns)
  _check_rows(file, fits, rows)
  _check_pages(content, file.metadata)
  if not rows:
    yield schema.empty_table()
    return
  texts = [field.name for field in schema if _is_text(field.type)]
  as_dictionaries = pq.ParquetFile(pa.BufferReader(copy), read_dictionary=texts)
  left = ordinary_limit(len(content))
  for group in range(file.num_row_groups):
    # Hashing each text is slow, and rarely needed.
    longest = _longest_repeated(as_dictionaries, group, texts)
    within = longest * len(texts) * file.metadata.row_group(group).num_rows <= left
    table = (file if within else as_dictionaries).read_row_group(group, columns=schema.names)
    left -= sum(map(_unpacked_bytes, table.columns))
    if left < 0:
      raise ValueError(f"unpacks to more than {ordinary_limit(len(content)):,} bytes")
    table = table.select(schema.names).cast(schema)
    table.validate(full=True)
    yield table


def _copy(content: bytes) -> pa.Buffer:
  """Returns a copy in Arrow's own memory.

  Arrow's threads let go of what they have read from a little after it is there. If that is an
  object of Python, and the interpreter ends meanwhile, they abort the process: "terminate called
  without an active exception".
  """
  copy = pa.allocate_buffer(len(content))
  with pa.FixedSizeBufferWriter(copy) as writer:
    writer.write(content)
  return copy


def _chosen(schema: pa.Schema, columns: Iterable[str]) -> pa.Schema:
  wanted = set(columns)
  return pa.schema([field for field in schema if field.name in wanted], schema.metadata)


def _check_footer(content: bytes) -> None:
  """Makes sure that a footer can be read: Arrow takes memory, and recurses, as it says."""
  length = int.from_bytes(content[-_TAIL_BYTES : -_TAIL_BYTES // 2], "little")
  if length > min(_MOST_FOOTER_BYTES, len(content) - _TAIL_BYTES):
    raise ValueError(f"its footer has {length:,} bytes")
  described = count_columns(content[-_TAIL_BYTES - length : -_TAIL_BYTES])
  if described > _MOST_COLUMNS:
    raise ValueError(f"it has {described:,} columns")


def _check_rows(file: pq.ParquetFile, fits: Callable[[pa.Schema], bool], rows: int) -> None:
  footer = file.metadata
  groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
  claimed = sum(group.num_rows for group in groups)
  if not fits(file.schema_arrow) or footer.num_rows != rows or claimed != rows:
    raise ValueError(
      f"its {max(footer.num_rows, claimed):,} rows or their columns are not those of the manifest"
    )
  for group in groups:
    values = {group.column(number).num_values for number in range(group.num_columns)}
    if group.num_rows < 0 or values != {group.num_rows}:
      raise ValueError("its columns are not of one length")


def _check_pages(content: bytes, footer: pq.FileMetaData) -> None:
  """Makes sure of what the pages say, which need not be what the footer says."""
  if not footer.created_by.startswith(_WRITER):
    raise ValueError(f"it was written by {footer.created_by}, not by PyArrow")
  most = ordinary_limit(len(content))
  pages = 0
  for number in range(footer.num_row_groups):
    group = footer.row_group(number)
    unpacked = 0
    for column in map(group.column, range(group.num_columns if group.num_rows else 0)):
      start = column.data_page_offset
      if column.has_dictionary_page:
        start = min(start, column.dictionary_page_offset)
      for page in read_pages(content, start, start + column.total_compressed_size):
        pages += 1
        unpacked += page.unpacked_bytes
        if unpacked > most:
          raise ValueError(f"unpacks to more than {most:,} bytes")
        if pages > _MOST_PAGES:
          raise ValueError(f"it has more than {_MOST_PAGES:,} pages")
        if not _ENCODINGS.issuperset(page.encodings):
          raise ValueError("its values are encoded in a way that no file of ours is")


def _is_text(kind: pa.DataType) -> bool:
  return pa.types.is_string(kind) or pa.types.is_binary(kind)


def _longest_repeated(file: pq.ParquetFile, group: int, texts: list[str]) -> int:
  """Returns the bytes of the longest text that pages may repeat: it is in a dictionary."""
  longest = 0
  for batch in itertools.islice(file.iter_batches(1, [group], columns=texts), 1):
    for column in batch.columns:
      longest = max(longest, pc.max(pc.binary_length(column.dictionary)).as_py() or 0)
  return longest


def _unpacked_bytes(column: pa.ChunkedArray) -> int:
  """Returns how many bytes a column has once its texts are repeated."""
  if not pa.types.is_dictionary(column.type):
    return int(column.nbytes)
  total = column.nbytes
  for chunk in column.chunks:
    lengths = pc.cast(pc.binary_length(chunk.dictionary), pa.int64())
    total += pc.sum(lengths.take(chunk.indices)).as_py() or 0
  return int(total)
