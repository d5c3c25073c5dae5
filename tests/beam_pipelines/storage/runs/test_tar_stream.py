import io
import tarfile
import tracemalloc

import pytest

from beam_pipelines.storage.runs.run_place import RunKey
from beam_pipelines.storage.runs.tar_stream import ArchiveError, read_members
from tests.helpers.archives import member, run_members
from tests.helpers.mutations import mutate

FORMATS = {
  "ustar": tarfile.USTAR_FORMAT,
  "GNU": tarfile.GNU_FORMAT,
  "pax": tarfile.PAX_FORMAT,
}
END = bytes(2 * tarfile.BLOCKSIZE)
TIMES = {"mtime": "1.5", "comment": "é"}


def _tar(members, form=tarfile.PAX_FORMAT, **options):
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode="w", format=form, **options) as archive:
    for info, content in members:
      archive.addfile(info, io.BytesIO(content))
  return buffer.getvalue()


def _header(name="x", kind=tarfile.REGTYPE, size=0, **fields):
  info, _ = member(name, kind=kind, **fields)
  info.size = size
  return info.tobuf(tarfile.GNU_FORMAT)


def _extension(kind, content):
  return _header("extension", kind, len(content)) + content + bytes(-len(content) % 512)


def _record(key, value):
  rest = f" {key}={value}\n".encode()
  length = len(rest) + 1
  while len(f"{length}") + len(rest) != length:
    length += 1
  return b"%d" % length + rest


def _read(content, size=1000):
  pieces = [content[start : start + size] for start in range(0, len(content), size)]
  return [(found.name, found.kind, found.content.read()) for found in read_members(iter(pieces))]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [1, 511, 512, 1000, 1 << 20])
def test_reads_what_tarfile_reads(form, size):
  long = "d" * 90 + "/" + "é" * (40 if form == "ustar" else 200)
  members = [
    *run_members(RunKey(0.7, 3)),
    member("empty"),
    member(long, b"of a long name"),
    member("directory/", kind=tarfile.DIRTYPE),
    member("link", kind=tarfile.SYMTYPE, linkname="l" * (100 if form == "ustar" else 300)),
    member("last", bytes(2000), **({"pax_headers": TIMES} if form == "pax" else {})),
  ]
  content = _tar(members, FORMATS[form])
  with tarfile.open(fileobj=io.BytesIO(content)) as archive:
    expected = [
      (info.name, info.type, archive.extractfile(info).read() if info.isreg() else b"")
      for info in archive
    ]
  assert _read(content, size) == expected


def test_global_headers_and_sizes_in_pax_headers_are_read():
  content = _tar([member("a", b"x")], pax_headers={"comment": "of all"})
  assert _read(content) == [("a", tarfile.REGTYPE, b"x")]
  large = _extension(tarfile.XHDTYPE, _record("size", 5)) + _header("a") + b"12345" + bytes(507)
  assert _read(large + _header("b") + END) == [
    ("a", tarfile.REGTYPE, b"12345"),
    ("b", tarfile.REGTYPE, b""),
  ]


def test_content_that_is_not_read_is_passed_over():
  content = _tar([member("a", b"x" * 2000), member("b", b"y" * 600), member("c", b"z")])
  read, found = [], []
  for one in read_members(iter([content])):
    found.append(one)
    read.append(one.content.read(500))
  assert read == [b"x" * 500, b"y" * 500, b"z"]
  assert [one.content.read() for one in found] == [b"", b"", b""]


def test_an_archive_may_end_without_padding_and_be_empty():
  content = _tar([member("a", b"x")])
  assert _read(content[:1024]) == _read(content) == _read(content + END)
  assert _read(b"") == _read(END) == []


NUMBER = b"9" * 400_000
XHD = tarfile.XHDTYPE


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (
      _header(kind=tarfile.GNUTYPE_LONGNAME, size=1 << 30) + bytes(512),
      "has an extension header of 1,073,741,824 bytes: the archive is not to be trusted",
    ),
    (_header(kind=XHD, size=2 << 20), "has an extension header of 2,097,152 bytes"),
    (_extension(XHD, NUMBER), "is damaged: a pax header does not hold what it says"),
    (_extension(XHD, NUMBER + b" hdrcharset=x\n"), "is damaged: a pax header does not hold what"),
    (
      _extension(XHD, _record("size", NUMBER.decode())),
      "is damaged: a pax header gives a size that is no number",
    ),
    (_extension(XHD, _record("size", "-1")), "is damaged: a pax header gives a size that is no"),
    (_extension(XHD, b"0 a=b\n"), "is damaged: a pax header does not hold what it says"),
    (_extension(XHD, b"99 a=b\n"), "is damaged: a pax header does not hold what it says"),
    (_extension(XHD, b"6 abcd\n"), "is damaged: a pax header does not hold what it says"),
    (
      _extension(XHD, _record("path", "x")) * 9 + _header(),
      "has more than 8 extension headers in a row",
    ),
    (
      _extension(tarfile.GNUTYPE_LONGNAME, b"x") * 100_000,
      "has more than 8 extension headers in a row",
    ),
    (_extension(XHD, _record("path", "x")), "is damaged: it ends after an extension header"),
    (
      _extension(tarfile.GNUTYPE_LONGLINK, b"x") + END,
      "is damaged: it ends after an extension header",
    ),
    (
      _extension(tarfile.XGLTYPE, _record("path", "x")) + _header(),
      "gives all of its members one name or size: it is not to be trusted",
    ),
    (
      _extension(XHD, _record("GNU.sparse.major", 1)) + _header(),
      "has a sparse file: pack it anew without --sparse",
    ),
    (_header(kind=tarfile.GNUTYPE_SPARSE), "'x' is a sparse file: pack it anew without --sparse"),
    (_header(size=-5), "'x' has -5 bytes: the archive is damaged"),
    (_header(size=1 << 80), "is damaged, or no .tar.gz: it ends in the middle of a member"),
    (_header()[:100], "is damaged, or no .tar.gz: it ends in the middle of a member"),
    (b"?" * 512, "is damaged, or no .tar.gz: "),
    (_header() + END + b"more", "is damaged: there is more after what looks like its end"),
  ],
)
def test_what_is_damaged_or_means_harm_is_one_line(content, message):
  tracemalloc.start()
  with pytest.raises(ArchiveError) as caught:
    _read(content, 1 << 19)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert str(caught.value).startswith(message)
  assert "\n" not in str(caught.value)
  assert peak < 2 * len(content) + (1 << 20)


def _with_checksums(content):
  """Returns an archive in which every header that looks like one has the right checksum."""
  fixed = bytearray(content)
  for start in range(0, len(fixed) - 511, 512):
    if fixed[start + 257 : start + 262] == b"ustar":
      total = sum(fixed[start : start + 148]) + 8 * 0x20 + sum(fixed[start + 156 : start + 512])
      fixed[start + 148 : start + 156] = b"%06o\0 " % total
  return bytes(fixed)


@pytest.mark.parametrize("form", FORMATS)
def test_no_fault_shows_in_another_error(form):
  members = [
    *run_members(RunKey(0.7, 3)),
    member("d/" + "x" * (90 if form == "ustar" else 300), b"abc"),
    member("y", b"abc", **({"pax_headers": TIMES} if form == "pax" else {})),
  ]
  content = _tar(members, FORMATS[form])
  spots = tuple(range(0, len(content), 256)) + tuple(range(124, len(content), 512))
  messages = []
  tracemalloc.start()
  for damaged in mutate(content, seed=0, count=700, spots=spots):
    try:
      _read(_with_checksums(damaged))
    except ArchiveError as error:
      messages.append(str(error))
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert len(messages) > 50
  assert not any("\n" in message for message in messages)
  assert peak < 4 << 20
