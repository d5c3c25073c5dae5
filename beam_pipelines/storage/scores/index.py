"""The table `index`: what each scored example is, so that scores find it again in any order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipelines.storage.scores.manifest import StoredPart
from beam_pipelines.storage.scores.staging import Staging
from beam_pipelines.storage.scores.tables import make_table

SPLITS = ("train", "test")

_PART_ROWS = 1 << 16


class IndexedSplit(Protocol):
  """What is to be known of one split of a data set."""

  @property
  def labels(self) -> np.ndarray:
    """Integers `[n]`."""

  @property
  def ids(self) -> np.ndarray | None:
    """What the data set calls each example, str `[n]`; None if it has no names for them."""

  @property
  def pixel_hashes(self) -> np.ndarray | None:
    """The hash of each image, ASCII `[n]`; None if nobody computed them."""

  def __len__(self) -> int: ...


class IndexedDataset(Protocol):
  """What is to be known of a data set."""

  @property
  def spec(self) -> str:
    """Its name, for messages."""

  @property
  def train(self) -> IndexedSplit:
    """Training examples, by index."""

  @property
  def test(self) -> IndexedSplit:
    """Test examples, by index."""

  @property
  def class_names(self) -> Sequence[str]:
    """Names by label."""


def stage_index(staging: Staging, dataset: IndexedDataset) -> list[StoredPart]:
  """Writes the index of a data set where a job stages its tables; returns its parts."""
  return [staging.stage("index", name, rows) for name, rows in index_parts(dataset)]


def split_of(part: StoredPart) -> str:
  """Returns the split whose examples a part of an index is about."""
  return part.name.partition("-")[0]


def index_parts(dataset: IndexedDataset) -> Iterator[tuple[str, pa.Table]]:
  """Yields names and rows of the parts of an index; names follow from rows."""
  names = pa.array(list(dataset.class_names), pa.string())
  for split, of_split in zip(SPLITS, (dataset.train, dataset.test), strict=True):
    for start in range(0, len(of_split.labels), _PART_ROWS):
      rows = slice(start, start + _PART_ROWS)
      labels = of_split.labels[rows]
      yield (
        f"{split}-from-{start:08d}",
        make_table(
          "index",
          split=split,
          example=np.arange(start, start + len(labels)),
          id=_texts(of_split.ids, rows),
          label=labels,
          class_name=names.take(pa.array(labels)),
          pixels=_texts(of_split.pixel_hashes, rows),
        ),
      )


def _texts(values: np.ndarray | None, rows: slice) -> pa.Array | None:
  return None if values is None else pc.cast(pa.array(values[rows]), pa.string())
