"""The one error that loading a data set raises."""

import contextlib
from collections.abc import Iterator


class DatasetError(ValueError):
  """A data set cannot be had as asked; the message is one line: what, where, what to do."""


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
  except DatasetError:
    raise
  except Exception as error:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    raise DatasetError(f"{what}: {reason}; {advice}") from error
