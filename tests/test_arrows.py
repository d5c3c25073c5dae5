"""Imports between the packages run one way; the lowest know nothing of those above."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What each package, or floor of one, may import of ours beside itself.
FLOORS = {
  "estimators/kernels": set(),
  "estimators": {"estimators/kernels"},
  "files": set(),
  "models": {"files"},
  "image_datasets": {"files"},
  "reports": {"files", "estimators"},
  "beam_pipelines/storage": {"files", "estimators"},
  "beam_pipelines/transforms": {
    "beam_pipelines/storage", "files", "estimators", "models", "image_datasets",
  },
  "beam_pipelines/launch": {
    "beam_pipelines/transforms", "beam_pipelines/storage", "files", "estimators", "models",
    "image_datasets",
  },
  "beam_pipelines": {
    "beam_pipelines/launch", "beam_pipelines/transforms", "beam_pipelines/storage", "files",
    "estimators", "models", "image_datasets", "reports",
  },
  "heldout": {
    "beam_pipelines", "beam_pipelines/launch", "beam_pipelines/storage", "files", "estimators",
    "image_datasets", "reports",
  },
}  # fmt: skip


def _floor(path):
  """The innermost floor that a file, or a module as a path, lies on; None if it is not ours."""
  found = [floor for floor in FLOORS if path == floor or path.startswith(f"{floor}/")]
  return max(found, key=len, default=None)


def _imported(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f"{path} imports relatively"
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("floor", FLOORS)
def test_arrows_run_one_way(floor):
  paths = list((ROOT / floor).rglob("*.py"))
  relative = {path: path.relative_to(ROOT).as_posix() for path in paths}
  inside = [path for path in paths if _floor(relative[path]) == floor]
  assert inside
  wrong = {
    f"{relative[path]} imports {name}"
    for path in inside
    for name in _imported(path)
    if _floor(name.replace(".", "/")) not in {None, floor, *FLOORS[floor]}
  }
  assert not wrong


def test_the_top_of_the_pipelines_holds_only_commands():
  from beam_pipelines.cli import COMMANDS

  modules = {path.stem for path in (ROOT / "beam_pipelines").glob("*.py")}
  assert modules == {"__init__", "cli", *(name.replace("-", "_") for name in COMMANDS)}
