"""Files on any file system: the ground floor, on which everything that reads or writes stands.

Only this package opens files. It knows nothing of runs, scores or data sets.
"""

from files.base import FileInfo, is_left_over
from files.file_system import (
  claim,
  claim_json,
  create,
  delete,
  delete_directory,
  delete_left_over,
  delete_unfinished,
  exists,
  join,
  list_files,
  move,
  read_bytes,
  read_chunks,
  read_document,
  read_json,
  read_many,
  read_range,
  retry_count,
  size,
  write_bytes,
  write_json,
)

__all__ = [
  "FileInfo",
  "claim",
  "claim_json",
  "create",
  "delete",
  "delete_directory",
  "delete_left_over",
  "delete_unfinished",
  "exists",
  "is_left_over",
  "join",
  "list_files",
  "move",
  "read_bytes",
  "read_chunks",
  "read_document",
  "read_json",
  "read_many",
  "read_range",
  "retry_count",
  "size",
  "write_bytes",
  "write_json",
]
