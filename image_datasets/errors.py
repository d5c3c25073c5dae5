"""The one error that loading a data set raises."""

import contextlib
from collections.abc import Iterator

from files.errors import UsageError


class DatasetError(UsageError):
  """A data set cannot be had as asked; the message is one line: what, where, what to do.

  It can be shown on any terminal, whatever a name in a damaged file puts into it.
  """

  def __init__(self, message: str):
    super().__init__("".join(c if c.isprintable() else "?" for c in message))


@contextlib.contextmanager
def explained(what: str, advice: str) -> Iterator[None]:
  """Turns whatever a library raises inside the block into one `DatasetError` line.

  File systems, archives and third-party builders each raise classes of their own, so every
  `Exception` counts; the original stays attached as the cause.

  Args:
    what: the thing that fails and where it is, e.g. a path.
    advice: what the user can do about it.

  Raises:
    DatasetError: `"{what}: {first line of the original message}; {advice}"`.
  """
  try:
    yield
  except (DatasetError, MemoryError):
    raise
  except Exception as error:
    raise DatasetError(f"{what}: {first_line(error)}; {advice}") from error


def first_line(error: Exception) -> str:
  """Returns what an error says, without the path that the sentence around it names already."""
  text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
  return (text.strip() or type(error).__name__).splitlines()[0].rstrip(".")
