"""The kinds of data sets, and the way from a spec to one of them."""

import dataclasses
import difflib
import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from files.errors import UsageError
from files.plugins import contained, is_plugin, load_plugin
from image_datasets import cifar, digits, idx, npz, tfds, tfrecord
from image_datasets.checks import check_labels
from image_datasets.errors import DatasetError, explained
from image_datasets.interface import Dataset

ENTRY_POINTS = "heldout.datasets"
"""The group of entry points by which installed packages offer data sets."""


@dataclasses.dataclass(frozen=True)
class _Kind:
  """One kind of data set.

  Attributes:
    usage: how its specs are written: `name`, or `name:ARGUMENT`.
    summary: what it is and, with an argument, an example.
    load: from the spec's argument and the data_dir to the data set.
    is_path: whether the argument is a path.
    is_in_data_dir: whether it is a name of what lies in data_dir.
  """

  usage: str
  summary: str
  load: Callable[[str, str | None], Dataset]
  is_path: bool = False
  is_in_data_dir: bool = False


def _path_kind(usage: str, summary: str, load: Callable[[str], Dataset]) -> _Kind:
  return _Kind(usage, summary, lambda path, _: load(path), is_path=True)


_KINDS = {
  kind.usage.partition(":")[0]: kind
  for kind in (
    _Kind("digits", "scikit-learn's 1,797 real 8×8 digits", lambda _, __: digits.load()),
    _Kind(
      "tfds:NAME[:VERSION]",
      "TensorFlow Datasets, e.g. tfds:cifar100:3.0.2",
      tfds.load,
      is_in_data_dir=True,
    ),
    _path_kind("idx:DIR[/NAME]", "MNIST's files, e.g. idx:gs://bucket/mnist", idx.load),
    _path_kind("cifar:DIR", "CIFAR's files, e.g. cifar:cifar-10-batches-py", cifar.load),
    _path_kind("npz:FILE", "a NumPy archive, e.g. npz:birds.npz", npz.load),
    _path_kind(
      "tfrecord:PATTERN",
      "streamed TFRecords, e.g. tfrecord:gs://bucket/imagenet",
      tfrecord.load,
    ),
  )
}


def load_dataset(spec: str, data_dir: str | None = None) -> Dataset:
  """Loads the data set that a spec names.

  Example:
    >>> dataset = load_dataset("digits")
    >>> len(dataset.train), dataset.image_shape, dataset.num_classes
    (1437, (8, 8, 1), 10)

  Args:
    spec: a kind and its argument; `describe_specs` lists them.
    data_dir: where TensorFlow Datasets keeps its data (default: its own choice); no other kind
      uses it.

  Raises:
    DatasetError: if the spec is unknown or its data set cannot be had.
  """
  name, _, argument = spec.partition(":")
  kind = _KINDS.get(name)
  if kind is None and (plugin := _find_plugin(spec)):
    return _load_plugin(spec, *plugin)
  if kind is None:
    close = _close_kinds(name)
    hint = f" (did you mean {close[0]}?)" if close else ""
    known = "; ".join(f"{kind.usage} ({kind.summary})" for kind in _KINDS.values())
    raise DatasetError(
      f"unknown data set {spec!r}{hint}: use one of {known}; or write package.module:load "
      "for one of your own"
    )
  if bool(argument) != (":" in kind.usage):
    raise DatasetError(f"data set {spec!r}: write {kind.usage} ({kind.summary})")
  return kind.load(argument, data_dir)


def _find_plugin(spec: str) -> tuple[Callable[[], Any], str] | None:
  """Returns what loads the function that a spec names, and the argument for it; None for none."""
  name, _, argument = spec.partition(":")
  for entry_point in importlib.metadata.entry_points(group=ENTRY_POINTS, name=name):
    return entry_point.load, argument
  function, _, argument = argument.partition(":")
  plugin = f"{name}:{function}"
  if not is_plugin(plugin) or (_close_kinds(name) and not _is_installed(name)):
    return None  # `tdfs:mnist` is a slip of the finger
  return functools.partial(load_plugin, plugin), argument


def _close_kinds(name: str) -> list[str]:
  return difflib.get_close_matches(name, _KINDS, n=1)


def _is_installed(module: str) -> bool:
  return importlib.util.find_spec(module.partition(".")[0]) is not None


def _load_plugin(spec: str, find: Callable[[], Any], argument: str) -> Dataset:
  with explained(f"data set {spec}", "install the package that offers it anew"):
    try:
      with contained():
        load = find()
    except UsageError as error:
      raise DatasetError(f"data set {error}") from error
  with explained(f"data set {spec}", "correct the function that loads it"), contained():
    dataset = load(argument) if argument else load()
  if not isinstance(dataset, Dataset):
    raise DatasetError(
      f"data set {spec}: what loads it returns a {type(dataset).__name__}: return what "
      "heldout.checked_dataset makes"
    )
  with explained(f"data set {spec}", "correct what its function returns"), contained():
    _check_splits(spec, dataset)
  return dataset


def _check_splits(spec: str, dataset: Dataset) -> None:
  """Makes sure that a data set whose class is the user's own does not contradict itself."""
  for name, split in (("train", dataset.train), ("test", dataset.test)):
    labels = split.labels
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.ndim != 1:
      raise DatasetError(f"data set {spec}: {name} labels are no array of integers of shape [n]")
    if len(split) != len(labels):
      raise DatasetError(
        f"data set {spec}: {name} has {len(split):,} examples but {len(labels):,} labels: give "
        "one each"
      )
    check_labels(f"data set {spec}: {name}", labels, dataset.num_classes)


def dataset_path(spec: str, data_dir: str | None = None) -> str | None:
  """Returns where the files of a data set are read, so far as the arguments say.

  None if they name no place: the data set comes with a package, or, with `is_in_data_dir`, lies
  where TensorFlow Datasets keeps its own.
  """
  name, _, argument = spec.partition(":")
  if is_in_data_dir(spec):
    return data_dir
  return argument or None if name in _KINDS and _KINDS[name].is_path else None


def is_in_data_dir(spec: str) -> bool:
  """Whether a data set's files lie below data_dir."""
  name, _, _ = spec.partition(":")
  return name in _KINDS and _KINDS[name].is_in_data_dir


def spec_beginnings() -> dict[str, bool]:
  """Returns how the specs of each kind begin, and whether a path follows."""
  return {
    kind.usage.partition(":")[0] + ":" * (":" in kind.usage): kind.is_path
    for kind in _KINDS.values()
  }


def describe_specs() -> str:
  """Returns one line per kind of data set, for a command's help."""
  width = max(len(kind.usage) for kind in _KINDS.values())
  return "\n".join(f"{kind.usage:<{width}}  {kind.summary}" for kind in _KINDS.values())
