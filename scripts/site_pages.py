"""Adds to the documentation site what lies elsewhere in the repository, or follows from the code.

A hook of MkDocs (`mkdocs.yml`). The README is the front page, `commands.md` is what each command
says of all its flags, and a link to any other file of the repository leads to a copy of it.
"""

import contextlib
import io
import os
import re
import sys
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # MkDocs runs hooks with its own path

PAGES = {
  "README.md": "index.md",
  "CONTRIBUTING.md": "contributing.md",
  "benchmarks/README.md": "benchmarks.md",
}
"""Pages of the site by the files of the repository that they are."""

_LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
  """Adds the pages that docs/ does not hold, and the files that pages link to."""
  for path, page in PAGES.items():
    files.append(File.generated(config, page, content=(ROOT / path).read_text("utf-8")))
  files.append(File.generated(config, "commands.md", content=describe_commands()))
  for path in sorted(_linked_files(files)):
    files.append(File.generated(config, _copy_of(path), abs_src_path=str(ROOT / path)))
  return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
  """Leads links to other files of the repository to where the site has them."""
  here = _place(page.file)

  def lead(link: re.Match) -> str:
    target = _resolve(here, link[1])
    if target.startswith("docs/"):
      return target.removeprefix("docs/")
    return PAGES.get(target) or _copy_of(target)

  return _LINK.sub(lead, markdown)


def describe_commands() -> str:
  """Returns a page with all flags of every command, as a terminal of 90 columns shows them."""
  from beam_pipelines.cli import COMMANDS, main

  os.environ["COLUMNS"] = "90"
  sections = ["# Commands", "What `heldout COMMAND --help_all` says."]
  for command in COMMANDS:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
      main([command, "--help_all"])
    sections += [f"## {command}", f"```text\n{text.getvalue().strip()}\n```"]
  return "\n\n".join(sections) + "\n"


def _linked_files(files: Files) -> set[str]:
  """Returns what pages link to that is neither a page nor below docs/."""
  linked = {
    _resolve(_place(file), link)
    for file in files.documentation_pages()
    for link in _LINK.findall(file.content_string)
  }
  return {path for path in linked - PAGES.keys() if (ROOT / path).is_file() and path[:5] != "docs/"}


def _place(file: File) -> str:
  """Returns the path in the repository of what a page is made of."""
  sources = {page: path for path, page in PAGES.items()}
  return sources.get(file.src_uri, f"docs/{file.src_uri}")


def _resolve(place: str, link: str) -> str:
  """Returns the path in the repository that a link on the page made of `place` leads to."""
  target = PurePosixPath(os.path.normpath(PurePosixPath(place).parent / link)).as_posix()
  return f"{target}/README.md" if (ROOT / target / "README.md").is_file() else target


def _copy_of(path: str) -> str:
  """Returns where the site has its copy; as text, so that browsers show it."""
  return f"files/{path}.txt"
