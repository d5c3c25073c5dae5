"""Directories of archives, against `zipfile`, which wrote them."""

import io
import struct
import zipfile

import pytest

from files.zip_directory import ZipError, list_entries


def _archive(names=("a", "bé"), comment=b"", method=zipfile.ZIP_DEFLATED):
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w", method) as archive:
    archive.comment = comment
    for name in names:
      archive.writestr(name, 100 * name)
  return buffer.getvalue()


def _as_zipfile_has_it(content):
  with zipfile.ZipFile(io.BytesIO(content)) as archive:
    return [
      (
        *(info.filename, info.flag_bits, info.compress_type, info.CRC),
        *(info.compress_size, info.file_size, info.header_offset),
      )
      for info in archive.infolist()
    ]


def _as_we_have_it(content):
  return [
    (e.name, e.flags, e.method, e.checksum, e.packed_bytes, e.bytes, e.start)
    for e in list_entries(content)
  ]


@pytest.mark.parametrize(
  "content",
  [
    _archive(),
    _archive(names=()),
    _archive(method=zipfile.ZIP_STORED),
    _archive(comment=b"of any kind " * 999),
    b"something before" + _archive(),
  ],
)
def test_says_what_zipfile_says(content):
  assert _as_we_have_it(content) == _as_zipfile_has_it(content)


def test_more_than_32_bits(monkeypatch):
  """`zipfile` writes large numbers elsewhere; here it takes small ones for large."""
  monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 50)
  monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
  content = _archive()
  assert b"PK\6\6" in content
  assert _as_we_have_it(content) == _as_zipfile_has_it(content)
  assert list_entries(content)[1].start > 50


def _with_extra(extra):
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w") as archive:
    archive.writestr("a", "x")
    info = zipfile.ZipInfo("b")
    info.extra = extra
    archive.writestr(info, "y")
  return buffer.getvalue()


@pytest.mark.parametrize(
  "extra",
  [b"\1\0\xff\xff\0\0", b"\1\0\x08\0abc", b"\1\0\x10\0" + b"\xff" * 16, b"xyz", b"\7\0\0\0" * 9],
)
def test_extra_fields_that_are_not_needed_are_not_looked_at(extra):
  first, second = list_entries(_with_extra(extra))
  assert (first.name, first.bytes, second.name, second.bytes) == ("a", 1, "b", 1)


@pytest.mark.parametrize(
  ("extra", "size"),
  [(b"\7\0\1\0z\1\0\x08\0" + struct.pack("<Q", 2**40), 2**40), (b"\1\0\4\0abcd", 2**32 - 1)],
)
def test_a_number_that_is_too_large_stands_in_its_extra_field(extra, size):
  content = bytearray(_with_extra(extra))
  at = content.rindex(b"PK\1\2") + 24
  content[at : at + 4] = b"\xff" * 4
  assert list_entries(bytes(content))[1].bytes == size


def _end_says(offset, number):
  content = bytearray(_archive())
  at = content.rindex(b"PK\5\6") + offset
  content[at : at + 4] = number.to_bytes(4, "little")
  return bytes(content)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "it is no zip archive, or was cut short"),
    (b"PK\5\6" + bytes(17), "it is no zip archive, or was cut short"),
    (_archive()[:-1], "it is no zip archive, or was cut short"),
    (_end_says(12, 2**31), "it is no sound archive: its directory would have 2,147,483,648 bytes"),
    (_end_says(12, 2**19), "it is no sound archive: its directory would begin before it"),
    (_end_says(12, 90), "it is no sound archive: its directory is damaged"),
    (_archive().replace(b"PK\1\2", b"PK\1\3"), "it is no sound archive: its directory is damaged"),
    (
      _archive()[:-22] + b"PK\6\7" + bytes(16) + _archive()[-22:],
      "it is no sound archive: its end is damaged",
    ),
  ],
)
def test_what_has_no_sound_directory_is_an_error(content, message):
  with pytest.raises(ZipError, match=f"^{message}$"):
    list_entries(content)
