"""Files of scores that a library cannot read back, said in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from files.errors import UsageError


@contextmanager
def explained_damage(path: str, *, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
  """Turns whatever reading a damaged file raises into one line that names the file.

  Parquet's and Zarr's readers and codecs raise errors of a dozen kinds, so every `Exception`
  counts, but for one: that memory was short says nothing of the file. The original stays attached
  as the cause.

  Args:
    path: the file, or what the files at hand make up.
    passing: errors that are no sign of damage.

  Raises:
    UsageError: in place of any other error.
    MemoryError: as it is.
  """
  try:
    yield
  except MemoryError:
    raise
  except passing:
    raise
  except Exception as error:
    reason = str(error).strip().partition("\n")[0].rstrip(".")[:200] or type(error).__name__
    raise UsageError(
      f"{path} is damaged ({reason}): score again, or fetch the scores again"
    ) from error
