"""Files that only one of many writers can make: what decides between processes on any machine."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from fsspec.core import url_to_fs


def claim(path: str, content: bytes) -> bool:
  """Writes a file that is not there yet, whole; returns whether it was this call that made it.

  Of several calls at once, on any machines, exactly one makes the file.

  Raises:
    OSError: it cannot be written.
  """
  if "://" in path:
    system, name = url_to_fs(path)
    try:
      system.pipe_file(name, content, mode="create")
    except FileExistsError:
      return False
    return True
  target = Path(path)
  target.parent.mkdir(parents=True, exist_ok=True)
  temporary = Path(f"{path}.{uuid.uuid4().hex}.tmp")
  temporary.write_bytes(content)
  try:
    os.link(temporary, target)  # fails if it is there, and shows it whole
  except FileExistsError:
    return False
  finally:
    temporary.unlink(missing_ok=True)
  return True
