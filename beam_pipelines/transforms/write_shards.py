"""TFRecords as a transform: the files of a tree in, shards and the index of what is in them out."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsList
from apache_beam.utils.shared import Shared

import files
from beam_pipelines.transforms.shard_plan import ShardTask, read_plan
from files.tfrecord import FOOTER_BYTES, HEADER_BYTES, frame
from image_datasets.example_records import StoredExample, encode_example
from image_datasets.image_tree import LeftOut
from image_datasets.jpeg import CorruptImageError, EncodedImage, as_rgb_jpeg

WRITTEN = "written"
CORRUPT = "corrupt"

_FILES_PER_JUDGEMENT = 1024


@dataclasses.dataclass(frozen=True)
class WrittenShard:
  """What a shard has become.

  Attributes:
    shard: its number.
    bytes: of its file.
    examples: int64 [n], in the order in which they lie.
    offset: int64 [n], of their records' contents.
    length: int64 [n], of these.
    corrupt: the files that are no images.
    converted: how many files became RGB JPEGs, by what they were.
  """

  shard: int
  bytes: int
  examples: np.ndarray
  offset: np.ndarray
  length: np.ndarray
  corrupt: tuple[LeftOut, ...]
  converted: Counter[str]


@dataclasses.dataclass
class WriteShards(beam.PTransform):
  """Writes the shards of a split.

  Input: the numbers of shards. Output: a dict of `written` (a `WrittenShard` each) and `corrupt`
  (`LeftOut`s that were found before). Example i goes to shard i modulo `task.shards`; a shard holds
  its examples in ascending order, whatever runs beside it, and appears when it is whole. A worker
  holds some 64 MiB of files at a time, and the plan.

  Args:
    task: what is written.
    files: how many files there are.
  """

  task: ShardTask
  files: int

  def expand(self, shards: beam.PCollection[int]) -> dict[str, beam.PCollection]:
    """Judges first where examples are numbered by what is sound."""
    starts = range(0, self.files if self.task.judged else 0, _FILES_PER_JUDGEMENT)
    corrupt = (
      shards.pipeline
      | "Some files" >> beam.Create(starts)
      | "One worker per some files" >> beam.Reshuffle()
      | "Find corrupt files" >> beam.ParDo(_FindCorrupt(self.task))
    )
    written = shards | "Write shard" >> beam.ParDo(_WriteShard(self.task), AsList(corrupt))
    return {WRITTEN: written, CORRUPT: corrupt}


class _PlannedDoFn(beam.DoFn):
  def __init__(self, task: ShardTask):
    self._task = task
    self._shared = Shared()

  def setup(self) -> None:
    self._plan = self._shared.acquire(lambda: read_plan(self._task.plan), tag=self._task.plan)

  def _read(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    whole = [files.join(self._task.images, path) for path in paths]
    for path, (_, content) in zip(paths, files.read_many(whole), strict=True):
      if isinstance(content, OSError):
        raise content
      yield path, content


class _FindCorrupt(_PlannedDoFn):
  def process(self, start: int) -> Iterator[LeftOut]:
    for path, content in self._read(
      self._plan.paths[start : start + _FILES_PER_JUDGEMENT].tolist()
    ):
      try:
        as_rgb_jpeg(content)
      except CorruptImageError as error:
        yield LeftOut(path, str(error))


class _WriteShard(_PlannedDoFn):
  def process(self, shard: int, corrupt: Sequence[LeftOut]) -> Iterator[WrittenShard]:
    task, plan = self._task, self._plan
    if task.judged:
      plan = plan.without(corrupt)
    mine = np.flatnonzero(plan.examples % task.shards == shard)
    lengths, examples, broken, converted = [], [], [], Counter[str]()
    with files.create(files.join(task.output, task.name(shard))) as file:
      for row, (path, content) in zip(mine, self._read(plan.paths[mine].tolist()), strict=True):
        try:
          image = as_rgb_jpeg(content, judged=task.judged)
        except CorruptImageError as error:
          broken.append(LeftOut(path, str(error)))
          continue
        example = int(plan.examples[row])
        record = self._encode(example, int(plan.labels[row]), path, image)
        file.write(frame(record))
        examples.append(example)
        lengths.append(len(record))
        if image.was:
          converted[image.was] += 1
    length = np.array(lengths, np.int64)
    stops = np.cumsum(length + HEADER_BYTES + FOOTER_BYTES)
    yield WrittenShard(
      shard,
      int(stops[-1]) if len(stops) else 0,
      np.array(examples, np.int64),
      stops - FOOTER_BYTES - length,
      length,
      tuple(broken),
      converted,
    )

  def _encode(self, example: int, label: int, path: str, image: EncodedImage) -> bytes:
    return encode_example(
      StoredExample(
        example,
        label,
        self._task.folders[label],
        self._task.texts[label],
        path.rpartition("/")[2],
        image.content,
        image.height,
        image.width,
      )
    )
