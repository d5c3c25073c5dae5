"""A tree of image files told apart into examples: by an index of names, or by its folders alone."""

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from image_datasets.errors import DatasetError
from image_datasets.file_index import FileIndex

NO_ENTRY = "is not in the index"
NO_FILE = "is in the index, and there is no such file"
NO_IMAGE = "is no image by its name"

_SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_SYNSET_NAME = re.compile(r"(n\d{8})_")
_SHOWN = 3


class LeftOut(NamedTuple):
  """A file or an entry of the index that is no example, and why; the path is below the tree."""

  path: str
  reason: str


class ImageTree(NamedTuple):
  """The files of a split that are to become examples.

  Attributes:
    paths: str [files], below the tree, in the order of the examples.
    examples: int64 [files], the index of each, ascending; without an index of names, one number
      each, of which those of corrupt files are to be taken out.
    labels: int64 [files], from 0.
    num_examples: how many the whole split has.
    folders: name of each class, by label: what its folder is called.
    left_out: what is no example.
  """

  paths: np.ndarray
  examples: np.ndarray
  labels: np.ndarray
  num_examples: int
  folders: tuple[str, ...]
  left_out: tuple[LeftOut, ...]


def match_index(
  where: str, names: Sequence[str], index: FileIndex, training: FileIndex | None
) -> ImageTree:
  """Finds the examples of an index in a tree.

  A file is known by its path below the tree where the index has such, or by its name alone, both
  without suffix: the index may have names with or without it.

  Args:
    where: the tree, for messages.
    names: paths of all files below it.
    index: names and labels.
    training: those of the training split, whose names tell the folders of classes that a flat tree
      does not.

  Raises:
    DatasetError: two files or entries have one name, labels do not go with folders, or no file is
      in the index.
  """
  with_folders = any("/" in name for name in index.names)
  numbers = _numbered(where, [_key(name, with_folders) for name in index.names.tolist()])
  found: dict[int, str] = {}
  left_out = []
  for name in sorted(names):
    number = numbers.get(_key(name, with_folders))
    if number is None:
      left_out.append(LeftOut(name, NO_ENTRY))
    elif number in found:
      raise DatasetError(
        f"{where}: both {found[number]} and {name} are {index.names[number]}: remove one of them"
      )
    else:
      found[number] = name
  if not found:
    raise DatasetError(
      f"{where}: none of its {len(names):,} files is in the index: is it the tree?"
    )
  left_out += [LeftOut(str(name), NO_FILE) for i, name in enumerate(index.names) if i not in found]
  examples = np.array(sorted(found), np.int64)
  paths = np.array([found[example] for example in examples.tolist()])
  labels = index.labels[examples]
  folders = _folders(where, paths, labels, index, training)
  return ImageTree(paths, examples, labels, len(index.names), folders, tuple(left_out))


def number_tree(where: str, names: Sequence[str], classes: Sequence[str] | None) -> ImageTree:
  """Makes examples of a tree of one folder per class: by sorted path, classes by sorted name.

  Args:
    where: the tree, for messages.
    names: paths of all files below it.
    classes: folders that are known already, such as the training split's; None: those of the tree.

  Raises:
    DatasetError: there are no images, one lies in no folder, or in a folder that is no class.
  """
  is_image = {name: name.lower().endswith(_SUFFIXES) for name in sorted(names)}
  paths = [name for name, true in is_image.items() if true]
  if not paths:
    raise DatasetError(f"{where}: holds no images in folders, one for each class: check the path")
  flat = [path for path in paths if "/" not in path]
  if flat:
    raise DatasetError(
      f"{where}: {flat[0]} lies in no folder: put each class into a folder of its own, or give an "
      "index"
    )
  of_path = [path.partition("/")[0] for path in paths]
  folders = tuple(classes) if classes is not None else tuple(sorted(set(of_path)))
  if strange := sorted(set(of_path) - set(folders)):
    raise DatasetError(
      f"{where}: {strange[0]} is not among the {len(folders):,} classes of the training split"
    )
  numbers = {folder: number for number, folder in enumerate(folders)}
  return ImageTree(
    np.array(paths),
    np.arange(len(paths)),
    np.array([numbers[folder] for folder in of_path], np.int64),
    len(paths),
    folders,
    tuple(LeftOut(name, NO_IMAGE) for name, true in is_image.items() if not true),
  )


def _key(name: str, with_folders: bool) -> str:
  stem = name if with_folders else posixpath.basename(name)
  root, suffix = posixpath.splitext(stem)
  return root if suffix.lower() in _SUFFIXES else stem


def _numbered(where: str, keys: Sequence[str]) -> dict[str, int]:
  numbers = {key: number for number, key in enumerate(keys)}
  if len(numbers) < len(keys):
    double = next(key for number, key in enumerate(keys) if numbers[key] != number)
    raise DatasetError(f"{where}: the index has {double} more than once: name each file once")
  return numbers


def _folders(
  where: str,
  paths: np.ndarray,
  labels: np.ndarray,
  index: FileIndex,
  training: FileIndex | None,
) -> tuple[str, ...]:
  """Returns the folder of each class; makes sure that files lie where their label says."""
  known = _names_of_synsets(training) if training is not None else {}
  seen: dict[str, tuple[int, str]] = {}
  of_label = dict(known)
  wrong = []
  for path, label in zip(paths.tolist(), labels.tolist(), strict=True):
    folder = posixpath.basename(posixpath.dirname(path))
    if not folder:
      continue
    first_label, first = seen.setdefault(folder, (label, path))
    expected = of_label.setdefault(label, folder)
    if first_label != label:
      wrong.append(f"{path} has label {label}, and {first} beside it {first_label}")
    elif expected != folder:
      wrong.append(f"{path} has label {label}, which is that of {expected}")
  if wrong:
    raise DatasetError(
      f"{where}: {len(wrong):,} labels of the index disagree with the folders: "
      f"{'; '.join(wrong[:_SHOWN])}: is it the index of this tree?"
    )
  num_classes = 1 + int(max(index.labels.max(), *(training.labels.max(),) if training else (0,)))
  return tuple(of_label.get(label, str(label)) for label in range(num_classes))


def _names_of_synsets(training: FileIndex) -> Mapping[int, str]:
  """Returns the synsets of classes as ImageNet's training files have them in their names."""
  labels, first = np.unique(training.labels, return_index=True)
  matches = {
    label: _SYNSET_NAME.match(posixpath.basename(training.names[i]))
    for label, i in zip(labels.tolist(), first.tolist(), strict=True)
  }
  return {label: match[1] for label, match in matches.items() if match}
