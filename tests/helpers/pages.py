"""The code in a page of documentation, and what the page says it prints."""

import dataclasses
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"\d[\d,.]*")


@dataclasses.dataclass(frozen=True)
class Block:
  """A fenced block.

  Attributes:
    language: `sh`, `python`, or `text` for what the block before it prints.
    title: where it can be run, if not everywhere.
    code: its lines.
  """

  language: str
  title: str
  code: str


def blocks(page: str) -> list[Block]:
  """Returns the blocks of a page, by its path in the repository."""
  return [Block(*match) for match in _FENCE.findall((ROOT / page).read_text("utf-8"))]


def commands(page: str) -> list[str]:
  """Returns the shell commands of a page, each on one line."""
  text = "\n".join(block.code for block in blocks(page) if block.language == "sh")
  return text.replace("\\\n", " ").splitlines()


def shape(text: str) -> set[str]:
  """Returns the lines of what is printed, with their numbers and spacing made equal.

  Numbers differ from one processor to another, so that pages can promise only the words.
  """
  return {" ".join(_NUMBER.sub("#", line).split()) for line in text.splitlines()} - {""}
