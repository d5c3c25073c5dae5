"""TensorFlow Datasets' own files as a streamed data set, in the order of TFDS."""

from collections.abc import Mapping, Sequence
from typing import Any

import files
from image_datasets.errors import DatasetError
from image_datasets.features import FeatureNames
from image_datasets.preprocessing import ImageNetPreprocessing, PixelPreprocessing, Preprocessing
from image_datasets.scan import find_records
from image_datasets.streamed import StreamedDataset, StreamedExamples, streamed_dataset

_NAMES = ("id", "file_name")


def stream(
  spec: str,
  builder: Any,
  splits: Mapping[str, str],
  class_names: Sequence[str],
  warnings: Sequence[str],
) -> StreamedDataset:
  """Returns a data set of a builder whose files are in place.

  Images of one shape are divided by 255, others preprocessed as ImageNet is.

  Args:
    spec: the data set's.
    builder: TFDS's.
    splits: what TFDS calls `train` and `test`.
    class_names: a name per class.
    warnings: sentences to be shown.

  Raises:
    DatasetError: the files are no TFRecords, or cannot be read.
  """
  if builder.info.file_format.value != "tfrecord":
    raise DatasetError(
      f"{spec} in {builder.data_dir}: its files are {builder.info.file_format.value}, which cannot "
      "be streamed: prepare it again with --file_format=tfrecord"
    )
  shape = builder.info.features["image"].shape
  preprocessing: Preprocessing = (
    ImageNetPreprocessing() if None in shape else PixelPreprocessing(tuple(shape))
  )
  directory = str(builder.data_dir)
  called = [name for name in _NAMES if name in builder.info.features]
  features = FeatureNames(
    index=None, label="label", image="image", first_label=0, name=called[0] if called else ""
  )
  found = {}
  for role, split in splits.items():
    names = [str(path).rpartition("/")[2] for path in builder.info.splits[split].filepaths]
    sizes = {name: files.size(files.join(directory, name)) for name in names}
    index = find_records(directory, split, sizes, features)
    found[role] = StreamedExamples(directory, index, features, preprocessing)
  return streamed_dataset(spec, found, class_names, warnings)
