"""Finding out where each example lies in TFRecord files, by reading all of them once."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import files
from files.read_ahead import map_ahead
from files.tfrecord import TFRecordError, read_records
from image_datasets.errors import DatasetError, explained
from image_datasets.example_records import RecordFeatures
from image_datasets.features import FeatureNames
from image_datasets.record_index import (
  RecordIndex,
  encode_record_index,
  index_path,
  read_record_index,
)

_LOGGER = logging.getLogger(__name__)
_SHARDS_AT_ONCE = 4
_CLASS_NAMES = ("image/class/text", "image/class/synset")
_SHOWN = 5


def find_records(
  directory: str, split: str, sizes: dict[str, int], features: FeatureNames
) -> RecordIndex:
  """Returns where the examples of a split lie: as the file beside them says, or as they do.

  What reading all files has found is written beside them, so that nobody has to do it again.

  Args:
    directory: of the files.
    split: what the file beside them begins with.
    sizes: of the files, by name.
    features: of their records.

  Raises:
    DatasetError: a file cannot be read, or its records are no examples; an index is there twice, or
      missing; or a label is below the first.
  """
  path = index_path(directory, split)
  with explained(path, "check the path and your access to it"):
    is_there = files.exists(path)
  index = read_record_index(path, split) if is_there else None
  if index is not None and index.is_of(sizes, str(features)):
    check_whole(directory, split, index)
    return index
  _LOGGER.warning("reading all of %s once, to find its %s examples", directory, split)
  index = _scan(directory, sorted(sizes), sizes, features)
  check_whole(directory, split, index)
  try:
    files.write_bytes(path, encode_record_index(split, index))
  except OSError as error:
    _LOGGER.warning("%s cannot be written, so each process reads all records: %s", path, error)
  return index


def check_whole(directory: str, split: str, index: RecordIndex) -> None:
  """Makes sure that every example is in some file.

  Raises:
    DatasetError: one is not.
  """
  missing = index.missing
  if len(missing):
    named = [f"{i} {index.file_names[i]}".rstrip() for i in missing[:_SHOWN].tolist()]
    more = f", … ({len(missing):,} in all)" if len(missing) > _SHOWN else ""
    raise DatasetError(
      f"{directory}: of {len(index):,} {split} examples, these are in no file: {', '.join(named)}"
      f"{more}: build it again with their images"
    )


class _Found(NamedTuple):
  example: int
  label: int
  offset: int
  length: int
  file_name: str
  class_name: str


def _scan(
  directory: str, names: Sequence[str], sizes: dict[str, int], features: FeatureNames
) -> RecordIndex:
  shards: list[list[_Found]] = []

  def scan(name: str) -> list[_Found]:
    return _scan_shard(files.join(directory, name), features)

  for _, scanning in map_ahead(scan, names, _SHARDS_AT_ONCE):
    shards.append(scanning.result())
  found = [record for shard in shards for record in shard]
  if not found:
    raise DatasetError(f"{directory}: its files {names[0]}, … hold no examples: build them again")
  in_shard = np.repeat(np.arange(len(names)), [len(shard) for shard in shards])
  examples = np.array([record.example for record in found], np.int64)
  if features.index is None:
    examples = np.arange(len(found))
  _check_indices(directory, examples, [names[number] for number in in_shard.tolist()])
  size = int(examples.max()) + 1
  index = RecordIndex.empty(size, names, [sizes[name] for name in names], str(features))
  file_names = np.array([record.file_name for record in found])
  index.file_names = np.zeros(size, file_names.dtype)
  index.file_names[examples] = file_names
  index.labels[examples] = [record.label for record in found]
  index.shard[examples] = in_shard
  index.offset[examples] = [record.offset for record in found]
  index.length[examples] = [record.length for record in found]
  of_label = {record.label: record.class_name for record in found}
  index.class_names = tuple(of_label.get(label) or str(label) for label in range(1 + max(of_label)))
  return index


def _scan_shard(path: str, features: FeatureNames) -> list[_Found]:
  found = []
  with explained(path, "fetch or build it again"):
    try:
      for record in read_records(path):
        where = f"{path}: the record at byte {record.offset:,}"
        read = RecordFeatures(where, record.content)
        example = 0 if features.index is None else read.integer(features.index)
        label = read.integer(features.label) - features.first_label
        if example < 0 or label < 0:
          raise DatasetError(
            f"{where} has index {example} and label {label + features.first_label}: indices count "
            f"from 0, and labels here from {features.first_label}"
          )
        name = next(filter(None, map(read.text, _CLASS_NAMES)), "")
        found.append(
          _Found(
            example, label, record.offset, len(record.content), read.text(features.name) or "", name
          )
        )
    except TFRecordError as error:
      raise DatasetError(f"{error}: fetch or build it again") from error
  return found


def _check_indices(directory: str, examples: np.ndarray, shards: Sequence[str]) -> None:
  """Makes sure that no index is there twice, and that they are the numbers of examples."""
  order = np.argsort(examples, kind="stable")
  double = np.flatnonzero(np.diff(examples[order]) == 0)
  if len(double):
    first, second = order[double[0]], order[double[0] + 1]
    raise DatasetError(
      f"{directory}: index {examples[first]} is there twice, in {shards[first]} and "
      f"{shards[second]} ({len(double):,} such in all): build it again, or name another feature"
    )
  if examples.max() > 100 * len(examples) + 1000:
    raise DatasetError(
      f"{directory}: index {examples.max():,} among {len(examples):,} examples: these are no "
      "numbers of examples; name another feature"
    )
