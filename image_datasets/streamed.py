"""A data set whose images are read from TFRecord files when they are needed, never held whole."""

import contextlib
import dataclasses
import functools
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

import files
from files.quiet_tensorflow import import_quietly
from files.read_ahead import map_ahead
from files.tfrecord import TFRecordError, read_record, read_records
from image_datasets.doubts import find_label_doubts
from image_datasets.errors import DatasetError, explained
from image_datasets.example_records import RecordFeatures
from image_datasets.features import FeatureNames
from image_datasets.interface import Batch
from image_datasets.preprocessing import Preprocessing
from image_datasets.record_index import RecordIndex

if TYPE_CHECKING:
  from image_datasets.decoding import RawRecord

_READ_AT_ONCE = 32
_NO_SEED = np.zeros(2, np.int32)
_ADVICE = "build it again, or fetch its files anew"


class StreamedExamples:
  """One split of a streamed data set.

  Args:
    directory: where its files lie.
    index: where in them each example lies; all are there.
    features: of the records.
    preprocessing: from an encoded image to what models see.
  """

  def __init__(
    self,
    directory: str,
    index: RecordIndex,
    features: FeatureNames,
    preprocessing: Preprocessing,
  ):
    self._directory = directory
    self._index = index
    self._features = features
    self._preprocessing = preprocessing
    self.labels = index.labels
    self.labels.setflags(write=False)

  def __len__(self) -> int:
    return len(self.labels)

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of what models see."""
    return self._preprocessing.image_shape

  @property
  def crops_resized(self) -> bool:
    """Whether images have many sizes, so that random crops of them are resized."""
    return self._preprocessing.crops_resized

  @functools.cached_property
  def ids(self) -> np.ndarray | None:
    """What each example's file was called, str [n]; None where that names no example."""
    names = self._index.file_names
    return names if np.char.str_len(names).all() and len(np.unique(names)) == len(names) else None

  @property
  def pixel_hashes(self) -> None:
    """None: nobody reads all images for it."""
    return None

  def batches(
    self, batch_size: int, order: np.ndarray | None = None, crops: np.ndarray | None = None
  ) -> Iterator[Batch]:
    """Yields examples as models see them, decoded in parallel, some batches ahead.

    Args:
      batch_size: examples per batch; the last may have fewer.
      order: int64 [m], which examples, in which order; any may come several times. None: each once,
        as they lie in the files, which are read from beginning to end. Otherwise each record is
        read by itself, 32 at a time.
      crops: int32 [m, 2], seeds of random crops, one for each of `order`; None: no random crops.

    Raises:
      DatasetError: a file cannot be read, or an image cannot be decoded.
    """
    import_quietly()
    import tensorflow as tf

    from image_datasets.decoding import decoded_batches

    failures: list[Exception] = []

    def draw() -> Iterator["RawRecord"]:
      try:
        yield from self._records(order, crops)
      except Exception as error:  # which TensorFlow would turn into a text, and print
        failures.append(error)

    done = 0
    try:
      for batch in decoded_batches(
        draw, self._features.image, self._preprocessing, batch_size, crop=crops is not None
      ):
        yield batch
        done += len(batch.examples)
    except tf.errors.OpError as error:
      raise self._broken_image(itertools.islice(self._records(order, crops), done, None)) from error
    if failures:
      raise failures[0]

  def records(self, examples: Iterable[int] | None = None) -> Iterator[tuple[int, bytes]]:
    """Yields index and content of records.

    Args:
      examples: which, in which order; None: each once, as they lie in the files.

    Raises:
      DatasetError: a file cannot be read, is damaged, or is not what the index says.
    """
    yield from self._in_storage_order() if examples is None else self._one_by_one(examples)

  def pictures(self, examples: Sequence[int]) -> list[np.ndarray]:
    """Returns the images of a few examples in RGB, and reads no others."""
    return [self._picture(example, content) for example, content in self.records(examples)]

  def where(self, example: int) -> str:
    """Returns how to call an example in a message: file, index, and what its image was called."""
    path = files.join(self._directory, str(self._index.shard_names[self._index.shard[example]]))
    name = self._index.file_names[example]
    return f"{path}: example {example}" + (f" ({name})" if name else "")

  def _records(self, order: np.ndarray | None, crops: np.ndarray | None) -> Iterator["RawRecord"]:
    from image_datasets.decoding import RawRecord

    seeds = itertools.repeat(_NO_SEED) if crops is None else iter(crops)
    chosen = None if order is None else order.tolist()
    for (example, content), seed in zip(self.records(chosen), seeds, strict=False):
      yield RawRecord(example, content, seed)

  def _in_storage_order(self) -> Iterator[tuple[int, bytes]]:
    index = self._index
    order = index.in_storage_order()
    bounds = np.searchsorted(index.shard[order], np.arange(len(index.shard_names) + 1))
    for name, (start, stop) in zip(index.shard_names, itertools.pairwise(bounds), strict=True):
      path = files.join(self._directory, str(name))
      examples = order[start:stop].tolist()
      with _reading(path):
        for record, example in itertools.zip_longest(read_records(path), examples):
          if record is None or example is None or record.offset != index.offset[example]:
            raise DatasetError(f"{path}: is not the file that its index describes: {_ADVICE}")
          yield example, record.content

  def _one_by_one(self, examples: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    for example, reading in map_ahead(self._read, examples, _READ_AT_ONCE):
      yield example, reading.result()

  def _read(self, example: int) -> bytes:
    index = self._index
    path = files.join(self._directory, str(index.shard_names[index.shard[example]]))
    with _reading(path):
      return read_record(path, int(index.offset[example]), int(index.length[example]))

  def _picture(self, example: int, content: bytes) -> np.ndarray:
    from PIL import Image

    where = self.where(example)
    encoded = RecordFeatures(where, content).content(self._features.image)
    with explained(where, _ADVICE), Image.open(io.BytesIO(encoded)) as image:
      return np.asarray(image.convert("RGB"))

  def _broken_image(self, records: Iterable["RawRecord"]) -> DatasetError:
    """Returns the error that names the first image that cannot be decoded."""
    for record in records:
      if reason := self.why_broken(record.example, record.content):
        return DatasetError(f"{self.where(record.example)}: {reason}: {_ADVICE}")
    return DatasetError(f"{self._directory}: an image could not be decoded, and now can: try again")

  def why_broken(self, example: int, content: bytes) -> str | None:
    """Returns what is wrong with a record: its index, its label or its image; None for nothing."""
    import_quietly()
    import tensorflow as tf

    from image_datasets.decoding import decode_record

    names = self._features
    try:
      read = RecordFeatures("the record", content)
      if names.index is not None and (index := read.integer(names.index)) != example:
        return f"its index is {index}"
      label = read.integer(names.label) - names.first_label
      if label != self.labels[example]:
        return f"its label is {label + names.first_label}, not what the index beside it says"
      decode_record(tf.constant(content), names.image, self._preprocessing)
      tf.io.decode_image(read.content(names.image), channels=3)  # what no crop has shown
    except DatasetError as error:
      return str(error)
    except tf.errors.OpError as error:
      return f"cannot be decoded: {error.message.splitlines()[0]}"
    return None


@dataclasses.dataclass(frozen=True, eq=False)
class StreamedDataset:
  """A training set and a test set that are read from files, over and over.

  Attributes:
    spec: the spec that loads this data set again.
    train: the training examples.
    test: the test examples.
    class_names: one name per class.
    image_shape: of what models see.
    crops_resized: whether images have many sizes, so that random crops of them are resized.
    pixel_max: of pictures.
    warnings: what is likely not as it was meant.
  """

  spec: str
  train: StreamedExamples
  test: StreamedExamples
  class_names: tuple[str, ...]
  image_shape: tuple[int, int, int]
  crops_resized: bool
  pixel_max: float = 255.0
  warnings: tuple[str, ...] = ()

  @property
  def num_classes(self) -> int:
    """Labels are 0 … num_classes - 1."""
    return len(self.class_names)


def streamed_dataset(
  spec: str,
  splits: Mapping[str, StreamedExamples],
  class_names: Sequence[str],
  warnings: Sequence[str] = (),
) -> StreamedDataset:
  """Makes a data set of its splits `train` and `test`.

  Args:
    spec: the data set's spec; error messages start with it.
    splits: of one preprocessing.
    class_names: a name per class.
    warnings: what reading it has shown already; what is odd about its labels is added.

  Raises:
    DatasetError: a label is that of no class.
  """
  train, test = splits["train"], splits["test"]
  for name, split in splits.items():
    if (largest := int(split.labels.max())) >= len(class_names):
      raise DatasetError(
        f"{spec}: {name} label {largest} of example {split.labels.argmax()} is outside "
        f"0..{len(class_names) - 1}: correct the labels"
      )
  dataset = StreamedDataset(
    spec, train, test, tuple(class_names), train.image_shape, train.crops_resized
  )
  return dataclasses.replace(dataset, warnings=(*warnings, *find_label_doubts(dataset)))


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
  """Says in one line what is wrong with a file of records."""
  with explained(path, _ADVICE):
    try:
      yield
    except TFRecordError as error:
      raise DatasetError(f"{error}: {_ADVICE}") from error
