import re

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from files import tfrecord

CONTENTS = [b"", b"a", b"record" * 1000, bytes(range(256))]


@pytest.fixture
def path(tmp_path):
  path = tmp_path / "records"
  path.write_bytes(b"".join(map(tfrecord.frame, CONTENTS)))
  return str(path)


def test_tensorflow_reads_what_is_framed(path):
  assert [record.numpy() for record in tf.data.TFRecordDataset(path)] == CONTENTS


def test_what_tensorflow_writes_is_read(tmp_path):
  path = str(tmp_path / "records")
  with tf.io.TFRecordWriter(path) as writer:
    for content in CONTENTS:
      writer.write(content)
  assert [record.content for record in tfrecord.read_records(path)] == CONTENTS


@given(contents=st.lists(st.binary(max_size=40)), chunk=st.integers(1, 64))
def test_records_are_read_whatever_chunks_cut(contents, chunk, tmp_path_factory):
  path = tmp_path_factory.mktemp("records") / "records"
  path.write_bytes(b"".join(map(tfrecord.frame, contents)))
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(tfrecord, "_CHUNK_BYTES", chunk)
    found = list(tfrecord.read_records(str(path)))
  assert [record.content for record in found] == contents
  for record in found:
    assert tfrecord.read_record(str(path), record.offset, len(record.content)) == record.content


def _change(position, value=b"\xff"):
  return lambda content: content[:position] + value + content[position + 1 :]


@pytest.mark.parametrize(
  ("damage", "message"),
  [
    (lambda content: content[:-1], "is cut short within the record at byte 6,049"),
    (lambda content: content[:20], "is cut short within the record at byte 16"),
    (_change(3), "is no TFRecord file, is compressed, or is damaged at byte 0"),
    (_change(28), "the record at byte 16 is damaged"),
    (_change(40), "is no TFRecord file, is compressed, or is damaged at byte 33"),
    (lambda content: b"PK\3\4" * 10, "is no TFRecord file, is compressed, or is damaged at byte 0"),
  ],
)
def test_damage_is_said(path, tmp_path, damage, message):
  damaged = tmp_path / "damaged"
  with open(path, "rb") as file:
    damaged.write_bytes(damage(file.read()))
  with pytest.raises(tfrecord.TFRecordError, match=f"^{damaged}: {re.escape(message)}$"):
    list(tfrecord.read_records(str(damaged)))


def test_a_record_of_a_monstrous_length_is_not_read(tmp_path):
  path = tmp_path / "records"
  length = tfrecord._LENGTH.pack(1 << 40)
  path.write_bytes(length + tfrecord._masked_crc(length))
  with pytest.raises(tfrecord.TFRecordError, match="at byte 0 has 1,099,511,627,776 bytes"):
    list(tfrecord.read_records(str(path)))


@pytest.mark.parametrize(("offset", "length"), [(28, 2), (28, 0), (44, 5999)])
def test_a_record_that_is_not_there_is_not_read(path, offset, length):
  with pytest.raises(tfrecord.TFRecordError, match=r"has no record of|damaged at byte"):
    tfrecord.read_record(path, offset, length)
