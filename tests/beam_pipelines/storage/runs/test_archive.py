import gzip
import io
import itertools
import tarfile
import tracemalloc
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_pipelines.storage.runs.archive import RunArchive
from beam_pipelines.storage.runs.run_place import RunKey
from beam_pipelines.storage.runs.tar_stream import ArchiveError
from tests.helpers.archives import make_archive, member, run_members

KEYS = [RunKey(0.1, 3), RunKey(0.7, 0), RunKey(0.7, 12)]
MEMBERS = [entry for key in KEYS for entry in run_members(key)]
ARCHIVE = make_archive(MEMBERS)


def _read(*pieces):
  """Returns what is read before an error, and the error or None."""
  files = []
  try:
    for file in RunArchive(pieces):
      content = file.content.read()
      assert len(content) == file.size
      files.append((file.key, file.name, content))
  except ArchiveError as error:
    return files, str(error)
  return files, None


GOOD, _ = _read(ARCHIVE)


def _cut(size):
  return [ARCHIVE[start : start + size] for start in range(0, len(ARCHIVE), size)]


def test_reads_every_run_file_in_order():
  assert [(key, name) for key, name, _ in GOOD] == [
    (key, name)
    for key in KEYS
    for name in (
      "checkpoints/ckpt-5.index",
      "checkpoints/ckpt-5.data-00000-of-00001",
      "aux_arrays.npz",
    )
  ]
  assert [content for _, _, content in GOOD] == [
    content for info, content in MEMBERS if info.isreg()
  ]


@given(st.integers(1, 700))
@settings(max_examples=20, deadline=None)
def test_the_pieces_may_be_of_any_size(size):
  assert _read(*_cut(size)) == (GOOD, None)
  assert _read(b"", *itertools.chain(*((piece, b"") for piece in _cut(size)))) == (GOOD, None)


@pytest.mark.parametrize("top", ["", "./", "experiment/", "./a/b/", "/".join("abc") + "//", "1/"])
def test_runs_are_found_whatever_lies_above_them(top):
  files, error = _read(make_archive(run_members(RunKey(0.3, 5), top)))
  assert error is None
  assert {key for key, _, _ in files} == {RunKey(0.3, 5)}
  assert len(files) == 3


def test_ratio_and_run_are_numbers_not_names():
  files, _ = _read(make_archive([member("0.70/007/x"), member(".7/8/a/0.5/3/y")]))
  assert [file[:2] for file in files] == [(RunKey(0.7, 7), "x"), (RunKey(0.7, 8), "a/0.5/3/y")]


def test_other_files_are_left_out_and_counted():
  names = ["README", "top/0.7/notes", "top/0.7/best/x", "1.0/3/x", "0.0/3/x", "0.7/3", "nan/1/x"]
  names += [f"0.{'9' * 20}/1/x", f"0.{'1' * 4000}/1/x", f"0.7/{'1' * 4000}/x"]
  archive = RunArchive([make_archive([*map(member, names), *MEMBERS])])
  assert [file.key for file in archive][::3] == KEYS
  assert (archive.left_out, archive.first_left_out) == (10, "README")


@pytest.mark.parametrize(
  ("bad", "reason"),
  [
    pytest.param(member(name, kind=kind, linkname="x", **fields), reason, id=reason[:40] + what)
    for what, name, kind, fields, reason in [
      ("", "a/../../x", tarfile.REGTYPE, {}, "'a/../../x' leads out of the experiment"),
      ("", "..", tarfile.DIRTYPE, {}, "'..' leads out of the experiment"),
      ("", "0.7/1/../x", tarfile.REGTYPE, {}, "'0.7/1/../x' leads out of the experiment"),
      ("", "/0.7/1/x", tarfile.REGTYPE, {}, "'/0.7/1/x' leads out of the experiment"),
      ("", "0.7/1/x", tarfile.SYMTYPE, {}, "'0.7/1/x' is a symbolic link: only files and"),
      ("", "0.7/1/x", tarfile.LNKTYPE, {}, "'0.7/1/x' is a hard link: only files and"),
      ("", "0.7/1/x", tarfile.CHRTYPE, {}, "'0.7/1/x' is a character device: only files and"),
      ("", "0.7/1/x", tarfile.BLKTYPE, {}, "'0.7/1/x' is a block device: only files and"),
      ("", "0.7/1/x", tarfile.FIFOTYPE, {}, "'0.7/1/x' is a fifo: only files and"),
      ("", "0.7/1/x", b"V", {}, "'0.7/1/x' is a member of type b'V'"),
      ("", "0.7/1\\x", tarfile.REGTYPE, {}, r"'0.7/1\\x' has characters that no run file's name"),
      ("", "0.7/1/x\ny", tarfile.REGTYPE, {}, r"'0.7/1/x\ny' has characters that no run file's"),
      (
        "NUL",
        "short",
        tarfile.REGTYPE,
        {"pax_headers": {"path": "0.7/1/x\0y"}},
        r"'0.7/1/x\x00y' has characters that no run file's name has",
      ),
    ]
  ],
)
def test_a_member_that_could_do_harm_is_refused_by_name(bad, reason):
  first, last = run_members(KEYS[0]), run_members(KEYS[1])
  files, error = _read(make_archive([*first, bad, *last]))
  assert error.startswith(reason)
  assert files == GOOD[:3]


def test_long_names_are_cut_in_messages():
  _, error = _read(make_archive([member("0.7/1/" + "x" * 1000 + "\n")]))
  assert error == f"{'0.7/1/' + 'x' * 194!r}… has characters that no run file's name has"


def test_a_name_longer_than_any_path_is_refused():
  _, error = _read(make_archive([member("0.7/1/" + "x" * 5000)]))
  assert error == f"{'0.7/1/' + 'x' * 194!r}… has 5,006 characters: no file's name is as long"


@pytest.mark.parametrize("again", ["0.7/1/x", "./0.7/1/x", "0.70/01/x"])
def test_a_file_that_is_there_twice_is_refused(again):
  files, error = _read(make_archive([member("0.7/1/x"), member("0.7/2/x"), member(again)]))
  assert error == f"{again!r} is there twice: the archive is not to be trusted"
  assert len(files) == 2


def test_a_second_experiment_is_refused():
  _, error = _read(make_archive([*run_members(KEYS[0], "a/"), *run_members(KEYS[1], "b/")]))
  assert error == (
    "'b/0.7/0/checkpoints/ckpt-5.index' is of a run below 'b', and others are below 'a': "
    "an archive holds one experiment"
  )


def test_wherever_it_is_cut_it_says_so_and_gives_what_was_whole():
  for length in range(len(ARCHIVE)):
    files, error = _read(ARCHIVE[:length])
    assert error == "ends in the middle: it was cut short"
    assert files == GOOD[: len(files)]


def test_a_file_that_was_cut_before_it_was_compressed_is_an_error():
  tar = gzip.decompress(ARCHIVE)
  files, error = _read(gzip.compress(tar[: tar.index(GOOD[1][2]) + 10]))
  assert error == "is damaged, or no .tar.gz: it ends in the middle of a member"
  assert files == GOOD[:1]


def test_wherever_a_byte_is_wrong_it_is_an_error_or_makes_no_difference():
  errors = 0
  for position in range(len(ARCHIVE)):
    damaged = bytearray(ARCHIVE)
    damaged[position] ^= 0x10
    files, error = _read(bytes(damaged))
    assert error or files == GOOD  # gzip's time stamp, for one, may be any
    errors += error is not None
  assert errors > 0.9 * len(ARCHIVE)


def test_a_damaged_header_is_not_taken_for_the_end():
  tar = bytearray(gzip.decompress(ARCHIVE))
  second_file = tar.index(b"data-00000") // 512 * 512
  tar[second_file] ^= 1
  files, error = _read(gzip.compress(tar))
  assert error == "is damaged, or no .tar.gz: bad checksum"
  assert files == GOOD[:1]


def test_what_follows_the_end_must_be_padding():
  tar = gzip.decompress(ARCHIVE)
  _, error = _read(gzip.compress(tar + tar))
  assert error == "is damaged: there is more after what looks like its end"


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"not gzip at all", "is damaged, or not packed by gzip: "),
    (gzip.compress(b"not tar" * 1000), "is damaged, or no .tar.gz: "),
    (gzip.compress(b"not tar"), "is damaged, or no .tar.gz: "),
  ],
  ids=["not packed", "long", "short"],
)
def test_what_is_no_archive_is_an_error(content, message):
  assert _read(content)[1].startswith(message)


def test_an_empty_file_is_cut_short():
  assert _read()[1] == "ends in the middle: it was cut short"


def test_several_gzip_members_and_padding_are_one_archive():
  tar = gzip.decompress(ARCHIVE)
  parts = gzip.compress(tar[:700]) + gzip.compress(b"") + gzip.compress(tar[700:]) + bytes(100)
  assert _read(parts) == (GOOD, None)


def test_what_unpacks_to_much_more_is_not_held_in_memory():
  zeros = 1 << 28
  tar = io.BytesIO()
  info = tarfile.TarInfo("0.7/1/zeros")
  info.size = zeros
  with gzip.GzipFile(fileobj=tar, mode="wb", compresslevel=1) as packed:
    packed.write(info.tobuf())
    for _ in range(zeros >> 20):
      packed.write(bytes(1 << 20))
    packed.write(bytes(1024))
  tracemalloc.start()
  (file,) = RunArchive([tar.getvalue()])
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert file.size == zeros
  assert peak < zeros / 4


def test_what_unpacks_to_more_than_runs_can_hold_is_refused():
  zeros = gzip.compress(bytes(1 << 24))
  header = tarfile.TarInfo("0.7/1/zeros")
  header.size = 1 << 40
  files = iter(RunArchive([gzip.compress(header.tobuf(tarfile.GNU_FORMAT)), *[zeros] * 40]))
  file = next(files)
  with pytest.raises(ArchiveError, match=r"unpacks to more than .* it is not to be trusted"):
    deque(iter(lambda: file.content.read(1 << 20), b""), 0)
