import pytest

import files
from files import FileInfo
from files.errors import UsageError


def test_lists_files_at_any_depth_by_name_and_size(tmp_path):
  files.write_bytes(str(tmp_path / "b" / "c" / "d"), b"123")
  files.write_bytes(str(tmp_path / "a"), b"")
  assert files.list_files(str(tmp_path)) == [FileInfo("a", 0), FileInfo("b/c/d", 3)]
  assert files.list_files(f"{tmp_path}/") == files.list_files(str(tmp_path))


def test_lists_nothing_where_there_is_nothing(tmp_path):
  assert files.list_files(str(tmp_path / "missing")) == []


def test_wildcards_in_paths_mean_themselves(tmp_path):
  directory = tmp_path / "a[1]*?"
  files.write_bytes(str(directory / "x"), b"x")
  files.write_bytes(str(tmp_path / "a1xx" / "y"), b"y")
  assert files.list_files(str(directory)) == [FileInfo("x", 1)]
  files.delete([str(directory / "x")])
  assert files.list_files(str(tmp_path)) == [FileInfo("a1xx/y", 1)]


def test_content_is_never_decompressed(tmp_path):
  path = str(tmp_path / "x.gz")
  files.write_bytes(path, b"not gzip")
  assert files.read_bytes(path) == b"not gzip"


def test_writing_replaces_and_leaves_no_temporary_file(tmp_path):
  path = str(tmp_path / "x")
  files.write_bytes(path, b"old")
  files.write_bytes(path, b"new")
  assert [file.name for file in tmp_path.iterdir()] == ["x"]
  assert files.read_bytes(path) == b"new"


def test_an_unfinished_write_is_not_listed_but_deleted_with_its_directory(tmp_path):
  unfinished = tmp_path / "d" / f"x.{'0' * 32}.tmp"
  files.write_bytes(str(tmp_path / "d" / "y"), b"y")
  unfinished.write_bytes(b"half")
  assert files.list_files(str(tmp_path)) == [FileInfo("d/y", 1)]
  files.delete_directory(str(tmp_path / "d"))
  assert list(tmp_path.iterdir()) == []


def test_unfinished_writes_can_be_deleted_alone(tmp_path):
  files.write_bytes(str(tmp_path / "d" / "y"), b"y")
  (tmp_path / "d" / f"x.{'0' * 32}.tmp").write_bytes(b"half")
  files.delete_unfinished(str(tmp_path))
  assert files.list_files(str(tmp_path), unfinished=True) == [FileInfo("d/y", 1)]


def test_moves_into_directories_that_do_not_exist_yet(tmp_path):
  files.write_bytes(str(tmp_path / "x"), b"x")
  files.move([(str(tmp_path / "x"), str(tmp_path / "new" / "deep" / "y"))])
  assert files.list_files(str(tmp_path)) == [FileInfo("new/deep/y", 1)]


def test_deleting_what_is_not_there_is_no_error(tmp_path):
  files.delete([str(tmp_path / "missing")])


def test_a_missing_file_is_an_os_error(tmp_path):
  with pytest.raises(OSError, match="missing"):
    files.read_bytes(str(tmp_path / "missing"))


def test_the_size_of_a_file(tmp_path):
  (tmp_path / "x").write_bytes(b"12345")
  assert files.size(str(tmp_path / "x")) == 5
  with pytest.raises(FileNotFoundError, match="missing"):
    files.size(str(tmp_path / "missing"))


@pytest.mark.parametrize("chunk_bytes", [1, 7, 99, 100, 101])
def test_chunks_come_in_order(tmp_path, chunk_bytes):
  content = bytes(range(100))
  (tmp_path / "x").write_bytes(content)
  chunks = list(files.read_chunks(str(tmp_path / "x"), chunk_bytes))
  assert b"".join(chunks) == content
  assert {len(chunk) for chunk in chunks[:-1]} <= {chunk_bytes}


def test_a_file_written_piece_by_piece(tmp_path):
  path = str(tmp_path / "new" / "x")
  with files.create(path) as file:
    file.write(b"one")
    file.write(b"two")
  assert files.read_bytes(path) == b"onetwo"


def test_json_round_trip(tmp_path):
  path = str(tmp_path / "x.json")
  files.write_json(path, {"a": [1, None]})
  assert files.read_json(path) == {"a": [1, None]}


@pytest.mark.parametrize(
  ("content", "reason"),
  [
    (b"", r"is not JSON \(Expecting value: line 1 column 1"),
    (b"{", "is not JSON"),
    (b"{}x", r"is not JSON \(Extra data"),
    (b"\xff\xfe", r"is not JSON \('utf-8' codec"),
    (b"1" * 10_000, r"is not JSON \(Exceeds the limit"),
    (b"[" * 1_000_000, "is nested too deeply to be a JSON file of ours"),
  ],
)
def test_what_is_no_json_is_an_error_in_one_line(tmp_path, content, reason):
  path = tmp_path / "x.json"
  path.write_bytes(content)
  with pytest.raises(UsageError, match=rf"^{path} {reason}.*: restore it, or delete it") as error:
    files.read_json(str(path))
  assert "\n" not in str(error.value)
  assert len(str(error.value)) < len(str(path)) + 250


def test_a_json_file_as_large_as_a_disk_is_not_read_whole(tmp_path):
  path = tmp_path / "x.json"
  with path.open("wb") as file:
    file.truncate(1 << 40)  # sparse
  with pytest.raises(UsageError, match=rf"^{path} has more than 256 MiB"):
    files.read_json(str(path))
