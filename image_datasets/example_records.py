"""Records of image classification: `tf.train.Example`s with the features of indexed TFRecords."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from files.quiet_tensorflow import import_quietly
from image_datasets.errors import DatasetError


@dataclasses.dataclass(frozen=True)
class StoredExample:
  """An example as a record holds it.

  Attributes:
    example: its index.
    label: its class, from 0; records count from 1.
    synset: what the folder of its class is called.
    text: what its class is called.
    file_name: of its image.
    content: an RGB JPEG.
    height: in pixels.
    width: in pixels.
  """

  example: int
  label: int
  synset: str
  text: str
  file_name: str
  content: bytes
  height: int
  width: int


def encode_example(stored: StoredExample) -> bytes:
  """Returns an example as a record: the same bytes every time."""
  values: Mapping[str, int | str | bytes] = {
    "image/encoded": stored.content,
    "image/height": stored.height,
    "image/width": stored.width,
    "image/colorspace": "RGB",
    "image/channels": 3,
    "image/format": "JPEG",
    "image/filename": stored.file_name,
    "image/class/label": stored.label + 1,
    "image/class/synset": stored.synset,
    "image/class/text": stored.text,
    "index": stored.example,
  }
  proto = _messages()
  features = {name: _feature(value) for name, value in values.items()}
  example = proto.Example(features=proto.Features(feature=features))
  return example.SerializeToString(deterministic=True)


class RecordFeatures:
  """The features of a record.

  Args:
    where: of the record, for messages.
    content: of the record.

  Raises:
    DatasetError: it is no `tf.train.Example`.
  """

  def __init__(self, where: str, content: bytes):
    self._where = where
    try:
      self._features = _messages().Example.FromString(content).features.feature
    except Exception as error:  # of a type that depends on how protocol buffers are installed
      raise DatasetError(f"{where}: holds no tf.train.Example: is it a data set?") from error

  def integer(self, name: str) -> int:
    """Returns the one integer of a feature."""
    return int(self._one(name, "int64_list", "one integer"))

  def content(self, name: str) -> bytes:
    """Returns the one value of a feature of bytes."""
    return bytes(self._one(name, "bytes_list", "the bytes of one image"))

  def text(self, name: str) -> str | None:
    """Returns the text of a feature; None if there is none."""
    if name not in self._features:
      return None
    values = self._features[name].bytes_list.value
    return values[0].decode(errors="replace") if len(values) == 1 else None

  def _one(self, name: str, kind: str, what: str) -> Any:
    if name not in self._features:
      known = ", ".join(sorted(self._features))
      raise DatasetError(f"{self._where}: has no feature {name}, only {known or 'none'}: name it")
    values = getattr(self._features[name], kind).value
    if len(values) != 1:
      raise DatasetError(f"{self._where}: feature {name} is not {what}: name another")
    return values[0]


def _feature(value: int | str | bytes) -> Any:
  proto = _messages()
  if isinstance(value, int):
    return proto.Feature(int64_list=proto.Int64List(value=[value]))
  content = value.encode(errors="replace") if isinstance(value, str) else value
  return proto.Feature(bytes_list=proto.BytesList(value=[content]))


@functools.cache
def _messages() -> Any:
  import_quietly()
  import tensorflow as tf  # takes seconds, which who reads no records is spared

  return tf.train
