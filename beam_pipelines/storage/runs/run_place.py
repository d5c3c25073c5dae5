"""The place of a run in its experiment: what a path below the experiment stands for."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import files

AUX_ARRAYS = "aux_arrays.npz"
LARGEST_AUX_BYTES = 1 << 28  # packed or not; ImageNet's have 31 MB
CHECKPOINTS = "checkpoints"
LAYOUT = "<subset ratio>/<run id>/"

# Python reads more as numbers: `0.7_1` as 0.71, where somebody means 0.7 and something else.
_RATIO = re.compile(r"\d*\.?\d+(?:e-?\d+)?", re.ASCII | re.IGNORECASE)
_LARGEST_RUN = 2**63 - 1  # as tables hold it
# What only a run's directory holds.
_RUN_FILE = re.compile(
  rf"(?:(?P<directory>.+)/)?(?:{AUX_ARRAYS}|{CHECKPOINTS}/ckpt-\d+\.index)", re.ASCII | re.DOTALL
)


@dataclasses.dataclass(frozen=True, order=True)
class RunKey:
  """Names one trained model: its subset ratio in (0, 1) and its run id."""

  subset_ratio: float
  run: int

  def directory(self, experiment: str) -> str:
    """Returns the path of the run's directory."""
    return files.join(experiment, str(self.subset_ratio), str(self.run))


def parse_key(directory: str) -> RunKey | str:
  """Returns which run a directory is, by its path below the experiment, or why it is none."""
  ratio, _, run = directory.partition("/")
  if not run or "/" in run:
    return f"is not in {LAYOUT} of the experiment"
  subset_ratio = parse_ratio(ratio)
  if subset_ratio is None:
    return f"{ratio!r} is not a subset ratio in (0, 1){_meant_ratio(ratio)}"
  if not re.fullmatch(r"\d+", run, re.ASCII):
    number = re.search(r"\d+", run, re.ASCII)
    example = int(number[0][:18]) if number else 0
    return f"{run!r} is not a run id: name the directory by a number, such as {example}"
  digits = run.lstrip("0")
  if len(digits) > len(str(_LARGEST_RUN)) or int(digits or 0) > _LARGEST_RUN:
    return f"run id {run} is too large: the largest is {_LARGEST_RUN}"
  return RunKey(subset_ratio, int(run))


def parse_ratio(name: str) -> float | None:
  """Returns the subset ratio that a directory's name stands for, or None."""
  if not _RATIO.fullmatch(name):
    return None
  ratio = float(name)
  return ratio if 0 < ratio < 1 else None


def _meant_ratio(name: str) -> str:
  """Guesses which ratio a name was to be: `70`, `70%`, `ratio_0.7`."""
  numbers = re.findall(r"\d*\.?\d+", name, re.ASCII)
  if len(numbers) != 1:
    return ""
  if name.lower().startswith("run"):
    return f": runs lie in a directory of their ratio, such as 0.7/{int(float(numbers[0]))}"
  number = float(numbers[0])
  if number == 1:
    return ": a run that saw all examples tells nothing of what it would be without them"
  meant = number / 100 if 1 < number < 100 and number.is_integer() else number
  return f": name the directory {meant:g}" if 0 < meant < 1 else ""


def find_run_directory(name: str) -> str | None:
  """Returns the directory that a file shows to be a run's, wherever it is; None for other files.

  Args:
    name: the file's path below the experiment; so is what is returned, "" for the experiment.
  """
  match = _RUN_FILE.fullmatch(name)
  return (match["directory"] or "") if match else None


def explain_no_runs(experiment: str, names: Sequence[str], stray: str | None = None) -> str:
  """Says in one line why a directory is no experiment, and what is there instead.

  Args:
    experiment: the directory.
    names: all files in it, as paths below it.
    stray: the first path that may have been a run, with the reason why it is none.
  """
  return (
    f"{experiment} holds no runs: they lie in {LAYOUT}, and {_instead(experiment, names, stray)}"
  )


def _instead(experiment: str, names: Sequence[str], stray: str | None) -> str:
  if not names:
    return "there are no files, or no such directory"
  for name in names:
    directory = find_run_directory(name)
    if directory is not None:
      path = files.join(experiment, directory).rstrip("/")
      root, place = _split(path)
      if isinstance(parse_key(place), RunKey):
        return f"{path} is a run of {root}: give that as the experiment"
  if stray:
    return f"what looks like runs is none; the first: {stray}"
  return f"{names[0]!r} is no file of a run" + (", like all others" if len(names) > 1 else "")


def _split(path: str) -> tuple[str, str]:
  """Splits the path of a run into its experiment and its place in it."""
  *root, ratio, run = path.split("/")
  return "/".join(root), f"{ratio}/{run}"
