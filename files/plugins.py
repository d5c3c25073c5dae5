"""What users bring along: attributes of their own modules, named `package.module:attribute`."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from files.errors import UsageError


def is_plugin(name: str) -> bool:
  """Whether a name is of the form `package.module:attribute`."""
  module, colon, attribute = name.partition(":")
  parts = (*module.split("."), attribute)
  return bool(colon) and all(part.isidentifier() for part in parts)


def load_plugin(name: str) -> Any:
  """Returns what a name of the form `package.module:attribute` means.

  Raises:
    UsageError: there is no such module or attribute here, or its import fails.
  """
  module_name, _, attribute = name.partition(":")
  try:
    with contained():
      module = importlib.import_module(module_name)
  except Exception as error:  # whatever the user's module raises
    raise UsageError(
      f"{name}: {module_name} cannot be imported ({describe_error(error)}): "
      f"{_describe_found(module_name)}install its package, or name its directory in PYTHONPATH, "
      "here and wherever workers run"
    ) from error
  if not hasattr(module, attribute):
    raise UsageError(f"{name}: the module {module_name} has no {attribute}")
  return getattr(module, attribute)


class ExitError(Exception):
  """Code of a user's has tried to end the process; the message says how."""


@contextlib.contextmanager
def contained() -> Iterator[None]:
  """Keeps code of a user's, in the body, from ending the process or a thread, and from our output.

  What it prints goes to standard error. Ctrl-C, which reaches the main thread alone, stays.

  Raises:
    ExitError: in place of `SystemExit`, and of a `KeyboardInterrupt` that cannot be Ctrl-C.
  """
  with contextlib.ExitStack() as stack:
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:  # of several at once, the last would restore what the first has changed
      stack.enter_context(contextlib.redirect_stdout(sys.stderr))
    try:
      yield
    except (SystemExit, KeyboardInterrupt) as error:
      if in_main_thread and isinstance(error, KeyboardInterrupt):
        raise
      raise ExitError(describe_error(error)) from error


def describe_error(error: BaseException) -> str:
  """Returns the kind of an error that a user's code has raised, and its first line."""
  if isinstance(error, ExitError):
    return str(error)
  first = str(error).strip().partition("\n")[0]
  return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _describe_found(module_name: str) -> str:
  """Says where the package of a module was found, if not the module: others may have its name."""
  package = sys.modules.get(module_name.partition(".")[0])
  places = [] if package is None or "." not in module_name else list(package.__path__)
  return f"{package.__name__} is what lies in {places[0]}; " if package and places else ""
