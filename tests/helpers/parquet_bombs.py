"""Parquet files of a few kilobytes that PyArrow unpacks to gigabytes, or dies of."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_TEXT_BYTES = 1_000_000


def _is_text(field):
  return pa.types.is_string(field.type) or pa.types.is_binary(field.type)


def _constant(field, rows):
  """A column of ones, or of digests of nothing."""
  if pa.types.is_fixed_size_binary(field.type):
    return pa.array([bytes(field.type.byte_width)] * rows, field.type)
  return pa.array(np.ones(rows), field.type)


def _written(columns, schema, **options):
  buffer = io.BytesIO()
  table = pa.Table.from_arrays(columns, schema=schema)
  pq.write_table(table, buffer, compression="zstd", store_schema=False, **options)
  return buffer.getvalue()


def repeated(schema, rows):
  """Each text is one of a megabyte, which is there once, in a dictionary."""
  columns, fields = [], []
  for field in schema:
    if _is_text(field):
      text = pa.array(["x" * _TEXT_BYTES], field.type)
      column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), text)
    else:
      column = _constant(field, rows)
    columns.append(column)
    fields.append(pa.field(field.name, column.type, field.nullable))
  return _written(columns, pa.schema(fields), dictionary_pagesize_limit=1 << 30)


def _plain(schema, rows, **options):
  columns = [
    pa.array(["x" * _TEXT_BYTES] * rows if _is_text(field) else np.ones(rows), field.type)
    for field in schema
  ]
  return _written(columns, schema, use_dictionary=False, **options)


def packed(schema, rows):
  """Each text is a megabyte of one letter, packed."""
  return _plain(schema, rows)


def beginning_alike(schema, rows):
  """Each text is that before it, as DELTA_BYTE_ARRAY says in two bytes."""
  encodings = {field.name: "DELTA_BYTE_ARRAY" for field in schema if _is_text(field)}
  return _plain(schema, rows, column_encoding=encodings)


def many_rows(schema, rows):
  """Each row is like all others, and there are very many."""
  columns = [
    pa.repeat(pa.scalar("x" if _is_text(field) else 1, field.type), rows) for field in schema
  ]
  return _written(columns, schema)


def nested(depth):
  """A column within a column, and so on: whoever walks down recursively runs out of stack."""
  group = b"\x35\x02\x18\x01a\x15\x02\x00"
  column = b"\x15\x02\x25\x00\x18\x01b\x00"
  length = depth + 2
  count = bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14])
  schema = b"\x48\x01r\x15\x02\x00" + group * depth + column
  footer = b"\x15\x02\x19\xfc" + count + schema + b"\x16\x00\x19\x0c\x00"
  return b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
