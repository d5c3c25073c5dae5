"""Programs on a terminal: what they write to it, and what its screen shows in the end."""

import dataclasses
import os
import re

import pexpect
import pyte

_SECONDS = 300  # a loaded machine takes its time to import
_LINES, _COLUMNS = 40, 160


@dataclasses.dataclass(frozen=True)
class Session:
  """What a program did on a terminal.

  Attributes:
    status: its exit status.
    written: all that it wrote.
  """

  status: int
  written: str

  @property
  def is_colored(self) -> bool:
    """Whether it wrote anything in color."""
    return bool(re.search(r"\x1b\[[\d;]*m", self.written))

  @property
  def lines(self) -> list[str]:
    """What the screen shows; the last line is the one with the cursor, up to the cursor."""
    screen = pyte.Screen(_COLUMNS, _LINES)
    pyte.Stream(screen).feed(self.written)
    shown = [line.rstrip() for line in screen.display[: screen.cursor.y]]
    return [*shown, screen.display[screen.cursor.y][: screen.cursor.x]]


def run(command: list[str], interrupt_at: str | None = None, **environment: str) -> Session:
  """Runs a program on a terminal to its end.

  Args:
    command: the program and its arguments.
    interrupt_at: a regular expression; Ctrl-C is typed when it is written.
    **environment: added to this process's; an empty value takes a variable away.
  """
  variables = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "NO_COLOR": "", **environment}
  child = pexpect.spawn(
    command[0],
    command[1:],
    env={name: value for name, value in variables.items() if value},
    dimensions=(_LINES, _COLUMNS),
    encoding="utf-8",
    timeout=_SECONDS,
  )
  written = ""
  if interrupt_at is not None:
    child.expect(interrupt_at)
    written += child.before + child.after
    child.sendintr()
  child.expect(pexpect.EOF)
  written += child.before
  child.close()
  return Session(child.exitstatus, written)
