"""The end of a split's TFRecords: its index, the list of what was left out, and the note, last."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections import Counter
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.pvalue import AsList

import files
from beam_pipelines.transforms.shard_plan import ShardPlan, ShardTask, read_plan
from beam_pipelines.transforms.write_shards import CORRUPT, WRITTEN, WrittenShard
from files.errors import UsageError
from image_datasets import unfinished
from image_datasets.features import FeatureNames
from image_datasets.image_tree import NO_ENTRY, NO_FILE, NO_IMAGE, LeftOut
from image_datasets.record_index import MISSING, RecordIndex, encode_record_index, index_path


@dataclasses.dataclass(frozen=True)
class Built:
  """What the note of a split says.

  Attributes:
    job: the token of who wrote it.
    images: where the files came from.
    shards: how many files there are.
    examples: how many they hold.
    bytes: how large they are.
    converted: how many images became RGB JPEGs, by what they were.
    not_in_index: files that the index lacks.
    no_file: entries of the index without a file.
    not_images: files that are no images by their names.
    corrupt: files that cannot be decoded.
  """

  job: str
  images: str
  shards: int
  examples: int
  bytes: int
  converted: dict[str, int]
  not_in_index: int
  no_file: int
  not_images: int
  corrupt: int


def note_path(output: str, split: str) -> str:
  """Returns where the note of a split lies: it is written last."""
  return files.join(output, f"{split}-info.json")


def list_path(output: str, split: str) -> str:
  """Returns where the list of what was left out of a split lies."""
  return files.join(output, f"{split}-left-out.csv")


@dataclasses.dataclass
class PublishSplit(beam.PTransform):
  """Writes index, list and note of a split. Input: the output of `WriteShards`. Output: `Built`.

  Args:
    task: what was written.
    token: of the mark that the split has while it is written.
  """

  task: ShardTask
  token: str

  def expand(self, shards: dict[str, beam.PCollection]) -> beam.PCollection[Built]:
    """Waits for all shards, then writes in one place."""
    return (
      shards[WRITTEN].pipeline
      | "Once" >> beam.Create([self.token])
      | "Publish split"
      >> beam.Map(_publish, AsList(shards[WRITTEN]), AsList(shards[CORRUPT]), self.task)
    )


def _publish(
  token: str, written: Sequence[WrittenShard], found: Sequence[LeftOut], task: ShardTask
) -> Built:
  if not unfinished.is_held(task.output, task.split, token):
    return _already_published(token, task)
  plan = read_plan(task.plan)
  if task.judged:
    plan = plan.without(found)
  shards = {each.shard: each for each in written}  # a worker may have done its work twice
  if len(shards) < task.shards:
    raise UsageError(
      f"{task.output}: {task.shards - len(shards):,} of {task.shards:,} shards were not written: "
      "the runner lost them, use another --runner"
    )
  ordered = [shards[number] for number in range(task.shards)]
  corrupt = [*found, *(left_out for each in ordered for left_out in each.corrupt)]
  index = _gather_index(plan, task, ordered)
  left_out = sorted({*plan.left_out, *corrupt})
  reasons = Counter(entry.reason for entry in left_out)
  built = Built(
    job=token,
    images=task.images,
    shards=task.shards,
    examples=int((index.shard != MISSING).sum()),
    bytes=int(index.shard_bytes.sum()),
    converted=dict(sorted(sum((each.converted for each in ordered), Counter()).items())),
    not_in_index=reasons[NO_ENTRY],
    no_file=reasons[NO_FILE],
    not_images=reasons[NO_IMAGE],
    corrupt=len(set(corrupt)),
  )
  files.write_bytes(list_path(task.output, task.split), _encode_list(left_out))
  files.write_bytes(index_path(task.output, task.split), encode_record_index(task.split, index))
  files.write_json(note_path(task.output, task.split), dataclasses.asdict(built))
  _delete_others(task)
  unfinished.finish(task.output, task.split)
  return built


def _already_published(token: str, task: ShardTask) -> Built:
  """Returns what the note says, for a worker that does its work twice.

  Raises:
    UsageError: it was another command that wrote the split.
  """
  path = note_path(task.output, task.split)
  note = files.read_json(path) if files.exists(path) else {}
  if note.get("job") != token:
    raise UsageError(f"{task.output}: another command has taken over: nothing was published")
  return Built(**note)


def _delete_others(task: ShardTask) -> None:
  """Deletes the files of an earlier build into another number of shards."""
  pattern = re.compile(rf"{task.split}-\d{{5}}-of-\d{{5}}")
  names = {task.name(shard) for shard in range(task.shards)}
  found = {info.name for info in files.list_files(task.output)}
  others = sorted(name for name in found - names if pattern.fullmatch(name))
  files.delete(files.join(task.output, name) for name in others)


def _gather_index(plan: ShardPlan, task: ShardTask, shards: Sequence[WrittenShard]) -> RecordIndex:
  """Returns where all examples lie; `shards` are all, in order."""
  index = RecordIndex.empty(
    len(plan.index.names),
    [task.name(each.shard) for each in shards],
    [each.bytes for each in shards],
    str(FeatureNames()),
  )
  index.file_names, index.labels = plan.index
  index.class_names = task.texts
  for each in shards:
    index.shard[each.examples] = each.shard
    index.offset[each.examples] = each.offset
    index.length[each.examples] = each.length
  return index


def _encode_list(left_out: Sequence[LeftOut]) -> bytes:
  buffer = io.StringIO()
  writer = csv.writer(buffer, lineterminator="\n")
  writer.writerows([LeftOut._fields, *left_out])
  return buffer.getvalue().encode(errors="surrogateescape")
