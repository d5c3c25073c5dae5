"""What is in color: only on a terminal that shows colors, and if they are wanted.

Whoever sets `NO_COLOR`, or has a terminal that is dumb, sees none, and neither does a file or pipe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
  from rich.console import Console

GOOD, ODD, BAD = "green", "yellow", "red"


def paint(word: str, color: str, stream: TextIO) -> str:
  """Returns a word as it is written to a stream: in a color, where that can be seen."""
  if not stream.isatty():
    return word
  from rich.text import Text  # which takes a while, and is for terminals

  screen = console(stream)
  with screen.capture() as written:
    screen.print(Text(word, color), end="", soft_wrap=True)
  return written.get()


def line_start(stream: TextIO) -> str:
  """Returns what makes a line begin anew, without the `^C` of an interrupt; nothing in files."""
  return "" if not stream.isatty() or console(stream).is_dumb_terminal else "\r\x1b[K"


def console(stream: TextIO) -> Console:
  """Returns what writes to a stream in colors, or plainly where they cannot be seen."""
  from rich.console import Console

  return Console(file=stream, force_terminal=stream.isatty())


def warning(text: str, stream: TextIO) -> str:
  """Returns the line that warns of something on a stream."""
  return f"{paint('warning:', ODD, stream)} {text}"
