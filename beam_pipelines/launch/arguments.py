"""Values of command-line flags: each function turns one flag's text into what it means."""

from __future__ import annotations

import argparse
import os
import re

from files.printable import printable

DEFAULT_RATIO = "0.7"

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def dataset(text: str) -> str:
  """A data set's spec, in which `~` after the kind means the home directory."""
  kind, colon, argument = text.partition(":")
  return kind + colon + _expand_home(argument)


def path(text: str) -> str:
  """A path on any file system; local ones become absolute, so that they name one place.

  `~` is the home directory, which shells expand only at the beginning of a word.
  """
  text = text.removeprefix("file://")
  if not text or text.endswith("://"):
    raise argparse.ArgumentTypeError("a path is needed")
  if any(0xD800 <= ord(letter) < 0xE000 for letter in text):  # as Python has bytes that are no text
    raise argparse.ArgumentTypeError(f"{printable(text)!r} is no text in UTF-8: rename it")
  return text.rstrip("/") if "://" in text else os.path.abspath(_expand_home(text))  # noqa: PTH100


def _expand_home(text: str) -> str:
  expanded = os.path.expanduser(text)  # noqa: PTH111 # keeps str
  if expanded.startswith("~"):
    user = expanded.partition("/")[0]
    raise argparse.ArgumentTypeError(
      f"{printable(text)!r}: there is no user {printable(user[1:])}; write ./{printable(user)} for "
      "a file of that name"
    )
  return expanded


def ratios(text: str) -> tuple[float, ...]:
  """Comma-separated subset ratios in (0, 1), in ascending order, each once."""
  return tuple(sorted({ratio(part) for part in text.split(",")}))


def run_range(text: str) -> range:
  """`START:STOP`, run ids from START up to but not including STOP."""
  start, _, stop = text.partition(":")
  if not (start.isdecimal() and stop.isdecimal() and int(start) < int(stop)):
    raise argparse.ArgumentTypeError(
      f"{text!r} is no range of runs: write START:STOP with START below STOP, such as 0:200"
    )
  return range(int(start), int(stop))


def memory(text: str) -> int:
  """A number of bytes, with a unit: `2GB`, `512MB`."""
  match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]B)", text.upper())
  if not match:
    raise argparse.ArgumentTypeError(f"{text!r} is no amount of memory: write 2GB or 512MB")
  return int(float(match[1]) * _UNITS[match[2]])


def ratio(text: str) -> float:
  """A subset ratio in (0, 1)."""
  try:
    value = float(text)
  except ValueError:
    value = float("nan")
  if not 0 < value < 1:
    raise argparse.ArgumentTypeError(
      f"{text!r} is no subset ratio: write numbers between 0 and 1, such as 0.5,0.7"
    )
  return value
