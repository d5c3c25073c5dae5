"""Which file system a path lies on: this opens gs://, s3://, … when they are first used."""

from __future__ import annotations

import os
import re
import sys
import threading

from files.base import FileSystem
from files.errors import UsageError
from files.local import LocalFiles

_ROOT = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://(?P<authority>[^/]*)")
_GCS = ("gs", "gcs")
_LOCAL = ("file", "local")
_OBJECT_STORES = ("abfs", "abfss", "adl", "az", "oci", "oss", "s3", "s3a")

_local = LocalFiles()
_opened: dict[str, FileSystem] = {}
_lock = threading.Lock()
_of_parents: list[dict[str, FileSystem]] = []


def file_system(path: str) -> FileSystem:
  """Returns the file system of a path: one object per bucket and process, for all threads.

  Raises:
    UsageError: no package knows its scheme, or the one that does is not installed.
  """
  root = _ROOT.match(path)
  if root is None:
    return _local
  with _lock:
    if root[0] not in _opened:
      _opened[root[0]] = _open(root[0], root["scheme"].lower(), root["authority"])
    return _opened[root[0]]


def forget() -> None:
  """Makes new connections from now on."""
  with _lock:
    _opened.clear()


def _open(root: str, scheme: str, authority: str) -> FileSystem:
  if scheme in _GCS:
    from files.gcs import GcsFiles  # an import that takes a second

    return GcsFiles(root, authority)
  if scheme in _LOCAL:
    raise UsageError(f"{root}: give a path on a local disk without {scheme}://")
  from fsspec.core import url_to_fs

  from files.remote import RemoteFiles

  try:
    system, system_root = url_to_fs(f"{scheme}://{authority}", skip_instance_cache=True)
  except ValueError:
    raise UsageError(
      f"{root}: {scheme}:// is no kind of file system known here: use a path on a local disk, "
      "gs://, or another that fsspec knows"
    ) from None
  except ImportError as error:
    advice = str(error).strip().partition("\n")[0]
    raise UsageError(
      f"{root}: {scheme}:// needs a package that is not installed: {advice}"
    ) from None
  return RemoteFiles(root, system, system_root, has_directories=scheme not in _OBJECT_STORES)


def _start_anew_after_fork() -> None:
  """The thread that makes requests stays with the parent, and so does what it was doing."""
  global _lock, _opened
  _lock = threading.Lock()
  _of_parents.append(_opened)  # closing its connections is not for the child to do
  _opened = {}
  if asynchronous := sys.modules.get("fsspec.asyn"):
    asynchronous.reset_lock()


os.register_at_fork(after_in_child=_start_anew_after_fork)
