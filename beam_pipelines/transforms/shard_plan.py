"""Which file of a tree becomes which example in which shard: a file that all workers read."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable

import numpy as np

import files
from files.npz import NUMBERS, STRINGS, read_arrays
from image_datasets.file_index import FileIndex
from image_datasets.image_tree import ImageTree, LeftOut

_LARGEST = 1 << 34  # bytes of names, unpacked: for a hundred million of them


@dataclasses.dataclass(frozen=True)
class ShardTask:
  """What is written, the same for all shards of a split.

  Attributes:
    images: the tree of image files.
    output: the directory of the shards.
    split: what their names begin with.
    shards: how many.
    plan: the file of the `ShardPlan`.
    folders: what each class's folder is called, by label.
    texts: what each class is called, by label.
    judged: whether corrupt files are found before the examples are numbered, so that there are no
      gaps; else their numbers are given already.
  """

  images: str
  output: str
  split: str
  shards: int
  plan: str
  folders: tuple[str, ...]
  texts: tuple[str, ...]
  judged: bool

  def name(self, shard: int) -> str:
    """Returns the name of a shard's file."""
    return f"{self.split}-{shard:05d}-of-{self.shards:05d}"


@dataclasses.dataclass(frozen=True, eq=False)
class ShardPlan:
  """Which file is which example.

  Attributes:
    paths: str [files], below the tree.
    examples: int64 [files], ascending.
    labels: int64 [files].
    index: names and labels of all examples, also of those that have no file.
    left_out: what is no example.
  """

  paths: np.ndarray
  examples: np.ndarray
  labels: np.ndarray
  index: FileIndex
  left_out: tuple[LeftOut, ...]

  @classmethod
  def of(cls, tree: ImageTree, index: FileIndex | None) -> ShardPlan:
    """Returns the plan of a tree; without an index its paths are the names."""
    index = FileIndex(tree.paths, tree.labels) if index is None else index
    return cls(tree.paths, tree.examples, tree.labels, index, tree.left_out)

  def without(self, corrupt: Iterable[LeftOut]) -> ShardPlan:
    """Returns the plan without files that are no images, its examples numbered anew."""
    sound = ~np.isin(self.paths, [left_out.path for left_out in corrupt])
    paths, labels = self.paths[sound], self.labels[sound]
    return ShardPlan(paths, np.arange(len(paths)), labels, FileIndex(paths, labels), self.left_out)

  def write(self, path: str) -> None:
    """Writes the plan for `read_plan`."""
    buffer = io.BytesIO()
    np.savez_compressed(
      buffer,
      paths=_bytes(self.paths),
      examples=self.examples,
      labels=self.labels,
      index_names=_bytes(self.index.names),
      index_labels=self.index.labels,
      left_out=_bytes(np.array(self.left_out, dtype=str).reshape(-1, len(LeftOut._fields))),
    )
    files.write_bytes(path, buffer.getvalue())


def read_plan(path: str) -> ShardPlan:
  """Returns the plan that a job has written."""
  arrays = read_arrays(files.read_bytes(path), kinds=NUMBERS + STRINGS, limit=_LARGEST)
  return ShardPlan(
    _text(arrays["paths"]),
    arrays["examples"],
    arrays["labels"],
    FileIndex(_text(arrays["index_names"]), arrays["index_labels"]),
    tuple(LeftOut(*row) for row in _text(arrays["left_out"]).tolist()),
  )


def _bytes(texts: np.ndarray) -> np.ndarray:
  return np.char.encode(texts, "utf8", "surrogateescape")


def _text(encoded: np.ndarray) -> np.ndarray:
  return np.char.decode(encoded, "utf8", "surrogateescape")
