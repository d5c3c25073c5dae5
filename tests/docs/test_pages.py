"""The pages as a reader follows them, by copy and paste."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipelines.cli import main
from tests.helpers.pages import ROOT, blocks, commands, shape

PAGES = sorted(
  str(path.relative_to(ROOT)) for path in [*ROOT.glob("docs/*.md"), ROOT / "README.md"]
)

# The others need data, a cloud or an engine; their commands are parsed.
RUN_PAGES = [
  "README.md",
  "docs/estimates.md",
  "docs/estimators.md",
  "docs/first_hour.md",
  "docs/python.md",
]


@pytest.mark.parametrize("page", RUN_PAGES)
def test_what_a_page_shows_works_in_its_order_and_prints_what_it_says(page, tmp_path):
  printed = ""
  for block in (block for block in blocks(page) if not block.title):
    if block.language == "text":
      assert shape(block.code) <= shape(printed), printed
      printed = ""
    elif block.language in ("sh", "python"):
      printed += run(block.language, block.code, tmp_path)


def run(language: str, code: str, directory: Path) -> str:
  """Runs a block in a directory; returns what it prints, with the paths that a reader would see."""
  program = ["bash", "-euo", "pipefail", "-c"] if language == "sh" else [sys.executable, "-c"]
  paths = {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(ROOT),
  }
  result = subprocess.run(
    [*program, code], cwd=directory, env=os.environ | paths, capture_output=True, text=True
  )
  assert result.returncode == 0, f"{code}\n{result.stdout}\n{result.stderr}"
  return (result.stdout + result.stderr).replace(f"{directory.resolve()}/", "")


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_have_the_flags_that_it_gives_them(page, capsys):
  for line in commands(page):
    if call := re.match(r"(?:\w+=\S+ )?heldout ([\w-]+)(.*)", line):
      given = set(re.findall(r"(?<= )--\w+", call[2]))
      assert given <= flags_of(call[1], capsys) | flags_of_beam(), line


def flags_of(command: str, capsys) -> set[str]:
  with pytest.raises(SystemExit):
    main([command, "--help_all"])
  return set(re.findall(r"--\w+", capsys.readouterr().out))


def flags_of_beam() -> set[str]:
  found: set[str] = set()

  def ask(parser) -> None:
    found.update(re.findall(r"--\w+", parser.format_usage()))

  PipelineOptions([]).get_all_options(add_extra_args_fn=ask)
  return found
