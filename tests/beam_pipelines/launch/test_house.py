"""A folder of somebody's with a name of ours: said in one line, whichever way Heldout begins."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from beam_pipelines.launch.house import PACKAGES

ROOT = Path(__file__).parents[3]
HELDOUT = Path(sys.executable).with_name("heldout")
ADVICE = (
  f"which is in {ROOT}: rename it, put it into a package of yours, or start from another directory"
)


def run(*command, path, cwd):
  """Runs a program that finds `path` before our packages, if it is given."""
  where = os.pathsep.join(map(str, [*path, ROOT]))
  environment = {**os.environ, "PYTHONPATH": where}
  return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture(params=["models/__init__.py", "files.py"])
def hidden(request, tmp_path):
  """A directory of somebody's, and the line about what is in it."""
  path = tmp_path / request.param
  path.parent.mkdir(exist_ok=True)
  path.write_text("mine = True\n")
  what, name = (path.parent, "models") if path.name == "__init__.py" else (path, "files")
  return tmp_path, f"{what} hides Heldout's package {name}, {ADVICE}"


@pytest.mark.parametrize("module", ["cli", "train", "doctor"])
def test_a_module_that_is_run_beside_it_says_so(hidden, module):
  directory, line = hidden
  result = run(
    *(sys.executable, "-m", f"beam_pipelines.{module}", "--help"), path=[], cwd=directory
  )
  assert result.returncode == 2
  assert result.stderr == f"heldout: error: {line}\n"


def test_the_command_takes_ours_from_any_directory_unless_a_path_says_otherwise(hidden):
  directory, line = hidden
  result = run(HELDOUT, "compare", "--help", path=[], cwd=directory)
  assert result.returncode == 0, result.stderr
  result = run(HELDOUT, "compare", "--help", path=[directory], cwd=ROOT)
  assert result.returncode == 2
  assert result.stderr == f"heldout: error: {line}\n"


def test_an_import_beside_it_says_so(hidden):
  directory, line = hidden
  result = run(sys.executable, "-c", "import heldout", path=[], cwd=directory)
  assert result.returncode == 1
  assert result.stderr.splitlines()[-1] == f"ImportError: {line}"


def test_what_was_imported_before_is_seen_too(hidden):
  directory, line = hidden
  name = line.partition("package ")[2].partition(",")[0]
  code = f"import {name}, sys; assert {name}.mine; sys.path.pop(0); import heldout"
  result = run(sys.executable, "-c", code, path=[], cwd=directory)
  assert result.stderr.splitlines()[-1] == f"ImportError: {line}"


def test_a_folder_that_is_no_package_hides_nothing(tmp_path):
  (tmp_path / "models").mkdir()
  (tmp_path / "models" / "weights.npz").touch()
  code = "import heldout; from models.precision import PRECISIONS"
  result = run(sys.executable, "-c", code, path=[], cwd=tmp_path)
  assert result.returncode == 0, result.stderr


def test_a_network_in_a_package_of_our_name_is_told_which_package_was_found(tmp_path):
  (tmp_path / "models").mkdir()
  (tmp_path / "models" / "mine.py").write_text("Network = 1\n")
  flags = ["--experiment=runs", "--dataset=digits", "--runs=0:2", "--model=models.mine:Network"]
  result = run(HELDOUT, "train", *flags, path=[], cwd=tmp_path)
  assert result.returncode == 2
  assert f"models is what lies in {ROOT / 'models'}; install its package" in result.stderr


def test_the_names_are_those_that_are_installed():
  found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
  names = {pattern.rstrip("*") for pattern in found["find"]["include"]}
  assert names == {*PACKAGES, "beam_pipelines", "heldout"}
