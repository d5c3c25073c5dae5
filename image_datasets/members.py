"""Which files of a directory make a data set, told by their names."""

import dataclasses
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence

import files
from image_datasets.errors import DatasetError, explained
from image_datasets.names import (
  NEEDED,
  Groups,
  Slot,
  complete_groups,
  missing_slots,
  recognize,
  sort_by_slot,
)

ADVICE = "check the path and your access to it"

_OTHERS = {
  r".+[-.]idx\d-ubyte(\.gz)?": "idx",
  r"data_batch_1(\.bin)?|fine_label_names\.txt|meta": "cifar",
  r"(.+)\.np[yz]": "npz",
}


@dataclasses.dataclass(frozen=True)
class Naming:
  """How the files of one kind of data set are named.

  Attributes:
    kind: of the spec.
    stem: from a path below the directory to the part that says what it is; None: no such file.
    candidates: from a data set's own name ("" for none) and a slot to the names that a file may
      have, the most usual first.
    pick: from the path of the directory, a slot and all names for it to the one to read.
  """

  kind: str
  stem: Callable[[str], str | None]
  candidates: Callable[[str, Slot], Iterable[str]]
  pick: Callable[[str, Slot, Sequence[str]], str]


@dataclasses.dataclass(frozen=True)
class Members:
  """The files of one data set.

  Attributes:
    name: how their names begin: that of the data set, or "".
    paths: the file of each slot; those of `NEEDED` are there.
  """

  name: str
  paths: dict[Slot, str]


def find_members(path: str, naming: Naming) -> Members:
  """Finds the files of a data set.

  Args:
    path: a directory, or one and how the names of the files in it begin: `DIR/emnist-letters`.
    naming: what to look for.

  Raises:
    DatasetError: there is none, a file of it is missing, or there are several to choose from.
  """
  with explained(path, ADVICE):
    if names := list_names(path):
      return _from_listing(path.rstrip("/") or "/", names, naming)
    return _from_prefix(path.rstrip("/"), naming)


def list_names(path: str) -> list[str]:
  """Returns the paths of all files below a directory; of what is none, or not there, nothing."""
  try:
    return [info.name for info in files.list_files(path)]
  except NotADirectoryError:
    return []


def _from_listing(directory: str, names: Sequence[str], naming: Naming) -> Members:
  groups = sort_by_slot({name: stem for name in names if (stem := naming.stem(name)) is not None})
  complete = complete_groups(groups)
  if not complete:
    raise DatasetError(_incomplete(directory, names, groups, naming))
  if len(complete) > 1:
    specs = ", ".join(f"{naming.kind}:{files.join(directory, name)}" for name in complete)
    raise DatasetError(f"{directory}: holds {len(complete)} data sets; choose one of {specs}")
  name = complete[0]
  picked = {slot: naming.pick(directory, slot, found) for slot, found in groups[name].items()}
  return Members(name, {slot: files.join(directory, file) for slot, file in picked.items()})


def _from_prefix(path: str, naming: Naming) -> Members:
  directory, name = posixpath.split(path)
  name = name.rstrip("-_.")
  candidates = {
    slot: [files.join(directory, file) for file in naming.candidates(name, slot)] for slot in NEEDED
  }
  found = {slot: next(filter(files.exists, paths), None) for slot, paths in candidates.items()}
  paths = {slot: existing for slot, existing in found.items() if existing is not None}
  if not paths and files.exists(path):
    raise DatasetError(f"{path}: is a file, or empty: give the directory that holds all four files")
  if not paths:
    raise DatasetError(f"{path}: there is no such directory, nor files named so; {ADVICE}")
  if missing := missing_slots(paths):
    wanted = ", ".join(candidates[slot][0] for slot in missing)
    raise DatasetError(f"{path}: there is no {wanted}, nor by another usual name; {ADVICE}")
  return Members(name.lower(), paths)


def _incomplete(directory: str, names: Sequence[str], groups: Groups, naming: Naming) -> str:
  """Says what a directory lacks, and which spec may have been meant."""
  nearest = max(groups, key=lambda name: len(groups[name]), default="")
  lacking = missing_slots(groups.get(nearest, ()))
  wanted = ", ".join(next(iter(naming.candidates(nearest, slot))) for slot in lacking)
  message = f"{directory}: holds no {wanted}, nor by another usual name"
  meant = None if groups else _meant_spec(directory, names, naming)
  return f"{message}; did you mean {meant}?" if meant else f"{message}; {ADVICE}"


def _meant_spec(directory: str, names: Sequence[str], naming: Naming) -> str | None:
  """Returns a spec for something else that a directory holds, of the same kind if there is such."""
  for name in names:
    parent, file = posixpath.split(name)
    if parent and naming.stem(file) is not None:
      return f"{naming.kind}:{files.join(directory, parent)}"
  for name in names:
    parent, file = posixpath.split(name)
    for pattern, kind in _OTHERS.items():
      if (match := re.fullmatch(pattern, file)) and (kind != "npz" or recognize(match[1])):
        return f"{kind}:{files.join(directory, parent) if parent else directory}"
    if file.endswith(".npz"):
      return f"npz:{files.join(directory, name)}"
  return None
