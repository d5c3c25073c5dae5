"""Reads files from wherever Apache Beam can: local disks, gs://, s3://, hdfs:// …."""

from collections.abc import Iterable

from apache_beam.io.filesystems import FileSystems

from image_datasets.errors import DatasetError, explained

_ADVICE = "check the path and your access to it"
_CHUNK_BYTES = 1 << 24


def read_bytes(path: str) -> bytes:
  """Returns a file's content, unpacked if its name ends in `.gz` or a like suffix.

  A compressed file that was cut short gives what is left of it without complaint, so callers
  check the length of what they get.

  Args:
    path: a path on any file system that Beam knows.

  Raises:
    DatasetError: if the file is missing, unreadable or not compressed as its name says.
  """
  with explained(path, _ADVICE):
    if not FileSystems.exists(path):
      raise DatasetError(f"{path}: no such file; {_ADVICE}")
    with FileSystems.open(path) as file:
      return b"".join(iter(lambda: file.read(_CHUNK_BYTES), b""))


def find_file(directory: str, names: Iterable[str]) -> str:
  """Returns the path of the first of `names` that `directory` holds.

  Raises:
    DatasetError: naming every path tried, if there is none.
  """
  names = list(names)
  with explained(directory, _ADVICE):
    for name in names:
      path = FileSystems.join(directory, name)
      if FileSystems.exists(path):
        return path
  raise DatasetError(f"{directory}: holds none of {', '.join(names)}; {_ADVICE}")
