"""Whether the packages that stand beside this one are Heldout's, and not somebody else's.

They have names that others give to folders of theirs, too. Python takes what it finds first, which
is what lies in the directory of a script, or of `python -m`.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import NoReturn

PACKAGES = ("estimators", "files", "image_datasets", "models", "reports")
"""What is installed beside `beam_pipelines` and `heldout`."""

_ROOT = Path(__file__).parents[2]


def find_intruder() -> str | None:
  """Returns a line on the first package that Python would take from elsewhere; None for none."""
  for name in PACKAGES:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
      continue  # which the import of it says well enough
    place = Path(spec.origin)
    if place.resolve() != (_ROOT / name / "__init__.py").resolve():
      what = place.parent if spec.submodule_search_locations else place
      return (
        f"{what} hides Heldout's package {name}, which is in {_ROOT}: rename it, put it into a "
        "package of yours, or start from another directory"
      )
  return None


def refuse_intruders(*, ends_process: bool) -> None:
  """Makes sure that no package of ours is hidden.

  Args:
    ends_process: whether a command is all that this process is for; it ends in one line then.

  Raises:
    ImportError: one is.
  """
  line = find_intruder()
  if line is None:
    return
  if ends_process:
    _fail(line)
  raise ImportError(line)


def _fail(line: str) -> NoReturn:
  print(f"heldout: error: {line}", file=sys.stderr)
  sys.exit(2)
