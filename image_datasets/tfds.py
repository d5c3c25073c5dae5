"""`tfds:NAME[:VERSION]`: TensorFlow Datasets."""

import contextlib
import io
import logging
import math
import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

import files
from files.quiet_tensorflow import import_quietly
from image_datasets.checks import checked_dataset
from image_datasets.doubts import left_out
from image_datasets.errors import DatasetError, explained
from image_datasets.interface import Dataset
from image_datasets.tfds_stream import stream

_LOGGER = logging.getLogger(__name__)
_BATCH_SIZE = 1024
_ID = "id"  # CIFAR's: split and number in the original files
_OPTION = re.compile(r",(?=(?:test|memory)=)")
_MEMORY = "4GB"


def load(argument: str, data_dir: str | None = None) -> Dataset:
  """Loads the `train` and `test` splits of a data set with `image` and `label` features.

  It is held in memory; if its pixels take more than 4 GB, or `memory`, or its images have different
  sizes, it is streamed.

  The examples come in TFDS's order, the same every time but not that of the original files:
  TFDS shuffles by a hash of its keys when it prepares the data. Example indices of
  `tfds:mnist` and of `idx:DIR` name different images.

  What `data_dir` holds already is read offline; anything else is downloaded into it.

  Args:
    argument: TFDS's name, with a version to be certain which one: `cifar100:3.0.2`; behind it,
      `,test=SPLIT` for another test split, and `,memory=1GB`.
    data_dir: TFDS's directory; by default its own choice, ~/tensorflow_datasets.

  Raises:
    DatasetError: if TFDS does not know the name, cannot download it or cannot read it, or if
      it is no classification data set.
  """
  spec = f"tfds:{argument}"
  name, *options = _OPTION.split(argument)
  asked = dict(option.split("=", 1) for option in options)
  budget = _parse_memory(spec, asked.get("memory", _MEMORY))
  test_split = asked.get("test", "test")
  with _quiet():
    builder = _prepared_builder(spec, name, data_dir)
    missing = {"train", test_split} - set(builder.info.splits)
    if missing:
      raise DatasetError(
        f"{spec}: has no split {' or '.join(sorted(missing))}, "
        f"only {', '.join(builder.info.splits)}: choose a data set with train and test, or write "
        f"tfds:{name},test=SPLIT"
      )
    label = _check_features(spec, dict(builder.info.features))
    splits = {"train": "train", "test": test_split}
    unread = "validation" if {"validation"} & set(builder.info.splits) - {test_split} else None
    if _pixel_bytes(builder, splits.values()) > budget:
      return stream(spec, builder, splits, label.names, left_out(spec, unread))
    with explained(f"{spec} in {builder.data_dir}", "delete that directory and prepare it again"):
      train, test = (_read_split(builder, split) for split in splits.values())
  return checked_dataset(
    spec,
    train=train[:2],
    test=test[:2],
    train_ids=train.ids,
    test_ids=test.ids,
    num_classes=label.num_classes,
    class_names=label.names,
    warnings=left_out(spec, unread),
  )


def _prepared_builder(spec: str, name: str, data_dir: str | None) -> Any:
  """Returns the builder of a data set whose files are in place, downloading them if need be."""
  import_quietly()
  import tensorflow_datasets as tfds  # brings TensorFlow, which no other kind needs

  where = f"{spec} in {data_dir or 'the default directory of TFDS'}"
  with explained(where, "see https://www.tensorflow.org/datasets/catalog"):
    try:
      builder = tfds.builder(name, data_dir=data_dir)
    except Exception:
      _refuse_version(where, name, data_dir)
      raise
    is_prepared = builder.is_prepared()
  if not is_prepared:
    _LOGGER.warning(
      "%s is not in %s yet: downloading it (without a network TFDS gives up after 3 to 4 minutes; "
      "to avoid that, run `tfds build %s` where the network is open and copy its directory)",
      spec,
      builder.data_dir,
      name,
    )
    with explained(
      f"{spec} could not be downloaded and prepared in {builder.data_dir}",
      f"run `tfds build {name}` where the network is open and give its directory as data_dir",
    ):
      builder.download_and_prepare()
  return builder


def _refuse_version(where: str, name: str, data_dir: str | None) -> None:
  """Raises `DatasetError` if there is the data set, but not in the version that `name` asks for."""
  import tensorflow_datasets as tfds

  unversioned, _, version = name.partition(":")
  if not version:
    return
  try:
    builder = tfds.builder(unversioned, data_dir=data_dir)
  except Exception:
    return  # there is no such data set: TFDS has said so
  directory = posixpath.dirname(str(builder.data_dir))
  paths = [info.name.split("/") for info in files.list_files(directory)]
  prepared = {first for first, *rest in paths if rest == ["dataset_info.json"]}
  versions = sorted({str(builder.version), *prepared})
  raise DatasetError(
    f"{where}: has no version {version}, only {', '.join(versions)}: "
    f"write tfds:{unversioned}:{builder.version}"
  )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Silences what TFDS and its libraries print, draw and log while they work."""
  import tensorflow_datasets as tfds

  tfds.disable_progress_bar()
  levels = {logger: logger.level for logger in map(logging.getLogger, ("absl", "urllib3"))}
  for logger in levels:
    logger.setLevel(logging.ERROR)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    for logger, level in levels.items():
      logger.setLevel(level)


def _check_features(spec: str, features: dict[str, Any]) -> Any:
  """Returns the `ClassLabel` feature of a data set that has one, and images of one shape."""
  import tensorflow_datasets as tfds

  image, label = (features.get(key) for key in ("image", "label"))
  if not isinstance(image, tfds.features.Image) or not isinstance(label, tfds.features.ClassLabel):
    raise DatasetError(
      f"{spec}: has the features {', '.join(sorted(features))}: "
      "choose a data set with an Image called image and a ClassLabel called label"
    )
  return label


def _pixel_bytes(builder: Any, splits: Iterable[str]) -> float:
  """Returns how much memory all pixels take; infinite if images have different sizes."""
  shape = builder.info.features["image"].shape
  if None in shape:
    return math.inf
  return sum(builder.info.splits[split].num_examples for split in splits) * math.prod(shape)


def _parse_memory(spec: str, text: str) -> int:
  match = re.fullmatch(r"(\d+)(MB|GB)", text)
  if not match:
    raise DatasetError(f"{spec}: memory={text} is no amount of memory: write 500MB or 4GB")
  return int(match[1]) * {"MB": 10**6, "GB": 10**9}[match[2]]


class _Split(NamedTuple):
  images: np.ndarray
  labels: np.ndarray
  ids: list[str] | None


def _read_split(builder: Any, split: str) -> _Split:
  """Returns images, labels and ids in the order in which the shards hold them."""
  import tensorflow_datasets as tfds

  features = dict(builder.info.features)
  has_ids = isinstance(features.get(_ID), tfds.features.Text)
  wanted = {"image": True, "label": True} | ({_ID: True} if has_ids else {})
  batches = builder.as_dataset(
    split=split,
    batch_size=_BATCH_SIZE,
    shuffle_files=False,
    decoders=tfds.decode.PartialDecoding(wanted),
    read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
  )
  size = builder.info.splits[split].num_examples
  images = np.empty((size, *features["image"].shape), features["image"].np_dtype)
  labels = np.empty(size, np.int64)
  ids: list[str] = []
  start = 0
  for batch in tfds.as_numpy(batches):
    stop = start + len(batch["label"])
    images[start:stop] = batch["image"]
    labels[start:stop] = batch["label"]
    if has_ids:
      ids += [name.decode() for name in batch[_ID]]
    start = stop
  return _Split(images, labels, ids if has_ids else None)
