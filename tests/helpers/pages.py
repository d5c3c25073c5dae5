"""The code in a page of documentation, and what the page says it prints."""

import dataclasses
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PAGES = sorted(
  str(path.relative_to(ROOT))
  for path in [*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
)

FIRST_PAGES = ("README.md", "docs/first_hour.md")
"""Those that take as long as all others together."""

# A block; or a fence that is alone; or code by its indentation.
_BLOCK = re.compile(
  r"^( *)```(.*)\n((?:.*\n)*?)\1```$|^ *(?:```|~~~).*|(?<=\n\n)(?: {4}|\t).*", re.MULTILINE
)
_INFO = re.compile(r'(\w*)(?: title="([^"]+)")?')
_INLINE = re.compile(r"`(heldout [^`]+)`")
_NUMBER = re.compile(r"\d[\d,.]*")


@dataclasses.dataclass(frozen=True)
class Block:
  """A fenced block.

  Attributes:
    language: `sh`, `python`, or `text` for what the blocks before it print; others are contents
      of files.
    title: what it needs, where that is more than Heldout in an environment.
    code: its lines.
  """

  language: str
  title: str
  code: str


def blocks(page: str) -> list[Block]:
  """Returns the blocks of a page, by its path in the repository."""
  return parse((ROOT / page).read_text("utf-8"))


def parse(text: str) -> list[Block]:
  """Returns the blocks of a page.

  Raises:
    ValueError: there is other code, of which nobody could say whether it is run.
  """
  found = []
  for match in _BLOCK.finditer(text):
    info = None if match[3] is None else _INFO.fullmatch(match[2])
    if info is None:
      raise ValueError(f"this is no block as they are written here: {match[0]}")
    found.append(Block(info[1], info[2] or "", textwrap.dedent(match[3])))
  return found


def commands(page: str) -> list[str]:
  """Returns the shell commands of a page, also those in its sentences, each on one line."""
  text = "\n".join(block.code for block in blocks(page) if block.language == "sh")
  prose = _BLOCK.sub("", (ROOT / page).read_text("utf-8"))
  inline = [command.replace("\n", " ") for command in _INLINE.findall(prose)]
  return [*text.replace("\\\n", " ").splitlines(), *inline]


def shape(text: str) -> set[str]:
  """Returns the lines of what is printed, with their numbers and spacing made equal.

  Numbers differ from one processor to another, so that pages can promise only the words.
  """
  return {" ".join(_NUMBER.sub("#", line).split()) for line in text.splitlines()} - {""}
