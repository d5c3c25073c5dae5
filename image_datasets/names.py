"""What people call the arrays of a data set, and which of them make one.

MNIST's files, Keras' and MedMNIST's archives and many scripts name an array by its split and its
role, in some order, after the name of the data set: `train-images`, `x_test`,
`emnist-letters-train-labels`, `kmnist-test-imgs`.
"""

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

_SPLITS = {
  "train": ("train", "training"),
  "test": ("test", "t10k", "testing"),
  "validation": ("val", "valid", "validation", "dev"),
}
_ROLES = {
  "images": ("image", "images", "img", "imgs", "x", "data"),
  "labels": ("label", "labels", "y", "target", "targets"),
}


class Slot(NamedTuple):
  """The place of an array in a data set: which split, and `images` or `labels`."""

  split: str
  role: str

  def __str__(self) -> str:
    return f"{self.split} {self.role}"


NEEDED = tuple(Slot(split, role) for split in ("train", "test") for role in ("images", "labels"))
VALIDATION = Slot("validation", "images")


def recognize(name: str) -> tuple[str, Slot] | None:
  """Returns the data set and the slot that a name means, or None if it means none.

  Example:
    >>> recognize("emnist-letters-train-images")
    ('emnist-letters', Slot(split='train', role='images'))
    >>> recognize("x_test")
    ('', Slot(split='test', role='images'))
    >>> recognize("notes")
  """
  words = re.split(r"[^0-9a-z]+", name.lower())
  splits = [split for split, known in _SPLITS.items() for word in words if word in known]
  roles = [role for role, known in _ROLES.items() for word in words if word in known]
  if len(splits) != 1 or len(roles) != 1:
    return None
  used = (*_SPLITS[splits[0]], *_ROLES[roles[0]])
  return "-".join(word for word in words if word and word not in used), Slot(splits[0], roles[0])


Groups = dict[str, dict[Slot, list[str]]]


def sort_by_slot(stems: Mapping[str, str]) -> Groups:
  """Sorts names by the data set that they belong to, and by what they name in it.

  Args:
    stems: from each name to the part of it that says what it is. What `recognize` does not know is
      left out.

  Returns:
    For each data set ("" if the names tell none) and slot, the names that mean it, in order.
  """
  groups: Groups = {}
  for name, stem in stems.items():
    if recognized := recognize(stem):
      prefix, slot = recognized
      groups.setdefault(prefix, {}).setdefault(slot, []).append(name)
  return groups


def missing_slots(found: Collection[Slot]) -> list[Slot]:
  """Returns what a data set lacks."""
  return [slot for slot in NEEDED if slot not in found]


def complete_groups(groups: Groups) -> list[str]:
  """Returns the names of the data sets that lack nothing; one without a name comes before others.

  A name tells data sets apart that lie together, so what has none is alone meant by none.
  """
  complete = sorted(name for name, found in groups.items() if not missing_slots(found))
  return [""] if "" in complete else complete
