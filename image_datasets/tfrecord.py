"""`tfrecord:PATTERN`: images in indexed TFRecords, such as ImageNet's, streamed."""

import dataclasses
import fnmatch
import posixpath
import re
from typing import NamedTuple

import files
from image_datasets.doubts import left_out
from image_datasets.errors import DatasetError, explained
from image_datasets.features import FeatureNames
from image_datasets.preprocessing import ImageNetPreprocessing
from image_datasets.record_index import RecordIndex
from image_datasets.scan import find_records
from image_datasets.streamed import StreamedDataset, StreamedExamples, streamed_dataset
from image_datasets.unfinished import check_finished

# What the names of files say in front of `-00000-of-00128`, the usual first.
_SPLITS = {"train": ("train", "training"), "test": ("validation", "test", "val", "valid")}
_SHARD = re.compile(r"(?P<before>.*?)(?P<number>\d+)-of-(?P<count>\d+)(?P<after>.*)")
_ALL = "*-of-*"
_PATTERN = re.compile(r"[*?\[]")
_OPTIONS = ("index", "label", "image", "first_label", "size")
_OPTION = re.compile(rf",(?=(?:{'|'.join(_OPTIONS)})=)")
_SMALLEST, _LARGEST = 8, 2048


@dataclasses.dataclass(frozen=True)
class TFRecordSpec:
  """What is behind `tfrecord:` in a spec.

  Example:
    >>> TFRecordSpec.parse("gs://bucket/imagenet,label=y,first_label=0")
    TFRecordSpec(pattern='gs://bucket/imagenet', options={'label': 'y', 'first_label': '0'})

  Attributes:
    pattern: a directory, or one and a pattern of file names in it.
    options: `index`, `label` and `image` name features; `first_label` is the label of the first
      class; `size` is the height and width of what models see.
  """

  pattern: str
  options: dict[str, str]

  @classmethod
  def parse(cls, argument: str) -> "TFRecordSpec":
    """Returns what an argument says; of an option that is there twice, the last counts."""
    pattern, *options = _OPTION.split(argument)
    return cls(pattern, dict(option.split("=", 1) for option in options))

  def __str__(self) -> str:
    return ",".join([self.pattern, *(f"{name}={value}" for name, value in self.options.items())])


class _Shards(NamedTuple):
  split: str  # as their names say it
  sizes: dict[str, int]


def load(argument: str) -> StreamedDataset:
  """Loads a data set of TFRecord files; no image is read yet.

  Where each example lies is read from the index beside the files, or found by reading all of them
  once.

  Args:
    argument: a directory with files named `train-00000-of-00004` and `validation-00000-of-00004`,
      or one and a pattern of their names, and options; see `TFRecordSpec`.

  Raises:
    DatasetError: files are missing, damaged or no such data set, or an option is wrong.
  """
  spec = TFRecordSpec.parse(argument)
  where = f"tfrecord:{argument}"
  features = _feature_names(where, spec.options)
  preprocessing = ImageNetPreprocessing(
    _number(where, spec.options, "size", ImageNetPreprocessing.size, _SMALLEST, _LARGEST)
  )
  directory, found = _find_shards(spec.pattern)
  indices = {
    role: find_records(directory, shards.split, shards.sizes, features)
    for role, shards in found.items()
    if role in _SPLITS
  }
  return streamed_dataset(
    where,
    {
      role: StreamedExamples(directory, index, features, preprocessing)
      for role, index in indices.items()
    },
    _class_names(where, indices["train"], indices["test"]),
    left_out(where, found["left out"].split if "left out" in found else None),
  )


def _feature_names(where: str, options: dict[str, str]) -> FeatureNames:
  names = {name: value for name, value in options.items() if name in ("index", "label", "image")}
  if empty := [name for name, value in names.items() if not value]:
    raise DatasetError(f"{where}: {empty[0]}= names no feature: write {empty[0]}=NAME")
  first = _number(where, options, "first_label", FeatureNames.first_label, 0, 1 << 31)
  return dataclasses.replace(FeatureNames(), **names, first_label=first)


def _number(
  where: str, options: dict[str, str], name: str, default: int, least: int, most: int
) -> int:
  text = options.get(name, str(default))
  if not text.isdecimal() or not least <= int(text) <= most:
    raise DatasetError(f"{where}: {name}={text}: give a whole number from {least} to {most}")
  return int(text)


def _find_shards(pattern: str) -> tuple[str, dict[str, _Shards]]:
  """Returns the directory and the files of each role; `left out` has those of a further split."""
  directory, names = _split_pattern(pattern)
  with explained(directory, "check the path and your access to it"):
    infos = files.list_files(directory)
  by_split: dict[str, dict[str, int]] = {}
  for info in infos:
    match = _SHARD.fullmatch(info.name)
    if match and fnmatch.fnmatchcase(info.name, names) and "/" not in info.name:
      for word in re.split(r"[^0-9a-z]+", match["before"].lower()):
        if any(word in words for words in _SPLITS.values()):
          by_split.setdefault(word, {})[info.name] = info.size
          break
  found: dict[str, _Shards] = {}
  for role, words in _SPLITS.items():
    present = [word for word in words if word in by_split]
    if not present:
      raise DatasetError(
        f"{pattern}: has no files named {words[0]}-00000-of-00004: give the directory of the "
        "TFRecords of both splits, as `heldout build-tfrecords` writes them"
      )
    # Who has a test set beside a validation set means the former.
    chosen = "test" if "test" in present else present[0]
    found[role] = _Shards(chosen, by_split[chosen])
    others = [word for word in present if word != chosen]
    if others:
      found["left out"] = _Shards(others[0], by_split[others[0]])
    check_finished(directory, chosen, {info.name for info in infos})
    _check_complete(directory, found[role])
  return directory, found


def _split_pattern(pattern: str) -> tuple[str, str]:
  last = posixpath.basename(pattern)
  if _PATTERN.search(last):
    return posixpath.dirname(pattern) or ".", last
  return pattern.rstrip("/") or "/", _ALL


def _check_complete(directory: str, shards: _Shards) -> None:
  """Makes sure that all files of a split are there, and none of another cut."""
  matches = [match for name in shards.sizes if (match := _SHARD.fullmatch(name))]
  counts = {int(match["count"]) for match in matches}
  count = max(counts)
  numbers = {int(match["number"]) for match in matches}
  if len(counts) > 1 or len(matches) != len(numbers):
    raise DatasetError(
      f"{directory}: has {shards.split} files of several cuts, into "
      f"{' and '.join(map(str, sorted(counts)))}: choose one by a pattern of names, or remove the "
      "others"
    )
  missing = sorted(set(range(count)) - numbers)
  if missing or len(numbers) != count:
    raise DatasetError(
      f"{directory}: of {count:,} {shards.split} files, {count - len(numbers):,} are missing, such "
      f"as number {missing[0] if missing else count}: fetch or build them again"
    )


def _class_names(where: str, train: RecordIndex, test: RecordIndex) -> tuple[str, ...]:
  """Returns the names of the classes, as the split that knows more of them has them."""
  longer, shorter = sorted((train.class_names, test.class_names), key=len, reverse=True)
  if len(longer) < 2:
    raise DatasetError(f"{where}: all labels are of one class: name another feature of labels")
  return longer if len(longer) > len(shorter) else train.class_names
