"""`tfds:NAME[:VERSION]`: TensorFlow Datasets."""

import contextlib
import io
import logging
import posixpath
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import files
from image_datasets.checks import checked_dataset
from image_datasets.dataset import ImageDataset
from image_datasets.doubts import left_out
from image_datasets.errors import DatasetError, explained

_LOGGER = logging.getLogger(__name__)
_BATCH_SIZE = 1024
_ID = "id"  # CIFAR's: split and number in the original files


def load(name: str, data_dir: str | None = None) -> ImageDataset:
  """Loads the `train` and `test` splits of a data set with `image` and `label` features.

  The examples come in TFDS's order, the same every time but not that of the original files:
  TFDS shuffles by a hash of its keys when it prepares the data. Example indices of
  `tfds:mnist` and of `idx:DIR` name different images.

  What `data_dir` holds already is read offline; anything else is downloaded into it.

  Args:
    name: TFDS's name, with a version to be certain which one: `cifar100:3.0.2`.
    data_dir: TFDS's directory; by default its own choice, ~/tensorflow_datasets.

  Raises:
    DatasetError: if TFDS does not know the name, cannot download it or cannot read it, or if
      it is no classification data set with images of one shape.
  """
  spec = f"tfds:{name}"
  with _quiet():
    builder = _prepared_builder(spec, name, data_dir)
    missing = {"train", "test"} - set(builder.info.splits)
    if missing:
      raise DatasetError(
        f"{spec}: has no split {' or '.join(sorted(missing))}, "
        f"only {', '.join(builder.info.splits)}: choose a data set with train and test"
      )
    label = _check_features(spec, dict(builder.info.features))
    with explained(f"{spec} in {builder.data_dir}", "delete that directory and prepare it again"):
      train, test = (_read_split(builder, split) for split in ("train", "test"))
  return checked_dataset(
    spec,
    train=train[:2],
    test=test[:2],
    train_ids=train.ids,
    test_ids=test.ids,
    num_classes=label.num_classes,
    class_names=label.names,
    warnings=left_out(spec, "validation" if "validation" in builder.info.splits else None),
  )


def _prepared_builder(spec: str, name: str, data_dir: str | None) -> Any:
  """Returns the builder of a data set whose files are in place, downloading them if need be."""
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
      "%s is not in %s yet: downloading it (without a network TFDS gives up after 3 to 4 minutes)",
      spec,
      builder.data_dir,
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
  if None in image.shape:
    raise DatasetError(
      f"{spec}: its images have different sizes, {image.shape}: choose a data set of one size"
    )
  return label


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
