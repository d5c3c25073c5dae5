"""`heldout build-tfrecords`: writes a tree of image files as indexed TFRecords."""

from __future__ import annotations

import argparse
import functools
import re
from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

import files
from beam_pipelines.launch import arguments, command
from beam_pipelines.launch.engines import prepare_job, print_plan
from beam_pipelines.launch.groups import READS, WRITES
from beam_pipelines.launch.job import Job
from beam_pipelines.launch.parser import Parser
from beam_pipelines.launch.progress import show_progress
from beam_pipelines.transforms.publish_split import PublishSplit, list_path, note_path
from beam_pipelines.transforms.shard_plan import ShardPlan, ShardTask
from beam_pipelines.transforms.write_shards import WriteShards
from files.errors import UsageError
from image_datasets import unfinished
from image_datasets.file_index import SPLITS, FileIndex, read_file_index
from image_datasets.image_tree import ImageTree, match_index, number_tree
from image_datasets.record_index import index_path, read_record_index

# As ImageNet is usually cut.
_SHARDS = {"train": 1024, "validation": 128}
_BYTES_PER_SHARD = 1 << 27


def run(argv: Sequence[str]) -> int:
  """Writes the TFRecords of one split; returns the exit status."""
  args, options = make_parser().parse(argv)
  prepare_job(args, options, {"--images": args.images, "--output": args.output},
              loads_dataset=False)  # fmt: skip
  infos = files.list_files(args.images)
  tree, index = _find_examples(args, [info.name for info in infos])
  shards = _choose_shards(args, len(tree.paths), sum(info.size for info in infos))
  texts = _texts(args.synsets, tree.folders)
  plan = (
    f"{len(tree.paths):,} images of {args.images} in {len(tree.folders):,} classes into "
    f"{shards:,} files {args.output}/{args.split}-*"
  )
  if args.dry_run:
    print_plan(f"would write {plan}", options, None)
    return 0
  print(f"writing {plan}")
  token = unfinished.begin(args.output, args.split)
  task = ShardTask(
    args.images,
    args.output,
    args.split,
    shards,
    files.join(args.output, f"{args.split}-plan-{token}.npz"),
    tree.folders,
    texts,
    judged=index is None,
  )
  _write(task, token, ShardPlan.of(tree, index), options)
  print("\n".join(_summary(task, token)))
  return 0


def make_parser() -> Parser:
  """Returns the parser of the command's flags."""
  parser = Parser(
    "build-tfrecords",
    "Writes a tree of image files, such as ImageNet's, as indexed TFRecords: a data set that\n"
    "`tfrecord:` streams. RGB JPEGs are stored byte for byte; what is something else by its\n"
    "content, such as a PNG, becomes an RGB JPEG.",
    "Example:\n  heldout build-tfrecords --images=birds/train --split=train --output=tfrecords",
    runs_jobs=True,
  )
  add = functools.partial(parser.add, READS)
  add(
    "--images",
    type=arguments.path,
    required=True,
    metavar="DIR",
    help="a folder of images for each class; with --index they may lie flat",
  )
  add(
    "--index",
    type=arguments.path,
    metavar="FILE",
    help="an .npz of tr_filenames, tr_labels, tt_filenames, tt_labels, in the order of the "
    "examples (default: sorted by folder and name)",
  )
  add(
    "--split",
    choices=SPLITS,
    required=True,
    metavar="SPLIT",
    help=f"which it is: {' or '.join(SPLITS)}",
  )
  add(
    "--synsets",
    type=arguments.path,
    metavar="FILE",
    help="lines of `FOLDER name of the class`, for the names of classes",
  )
  add = functools.partial(parser.add, WRITES)
  add(
    "--output",
    type=arguments.path,
    required=True,
    metavar="DIR",
    help="directory of the TFRecords",
  )
  add(
    "--shards",
    type=int,
    metavar="N",
    help="how many files (default: ImageNet's with an index, else by size)",
  )
  parser.add_dry_run()
  parser.set_defaults(gpu=None, nvidia_mps=False)
  return parser


def _find_examples(
  args: argparse.Namespace, names: Sequence[str]
) -> tuple[ImageTree, FileIndex | None]:
  if args.index is None:
    return number_tree(args.images, names, _known_classes(args)), None
  splits = read_file_index(args.index)
  if args.split not in splits:
    raise UsageError(f"{args.index} has no names of the {args.split} split: give another index")
  index = splits[args.split]
  return match_index(args.images, names, index, splits.get("train")), index


def _known_classes(args: argparse.Namespace) -> tuple[str, ...] | None:
  """Returns the classes of the training split beside this one, if it was built from folders too."""
  path = index_path(args.output, "train")
  if args.split == "train":
    return None
  unfinished.check_finished(
    args.output, "train", [info.name for info in files.list_files(args.output)]
  )
  if not files.exists(path):
    return None
  training = read_record_index(path, "train")
  if training is None:
    return None
  folders = {
    int(label): str(name).partition("/")[0]
    for name, label in zip(training.file_names, training.labels, strict=True)
    if "/" in str(name)
  }
  return tuple(folders[label] for label in sorted(folders)) or None


def _choose_shards(args: argparse.Namespace, images: int, size: int) -> int:
  if args.shards is None:
    wanted = _SHARDS[args.split] if args.index else -(-size // _BYTES_PER_SHARD)
    return max(1, min(wanted, _SHARDS["train"], images))
  if not 1 <= args.shards <= min(images, 99_999):
    raise UsageError(
      f"--shards={args.shards}: {images:,} images go into 1 to {min(images, 99_999):,} files"
    )
  return args.shards


def _texts(path: str | None, folders: Sequence[str]) -> tuple[str, ...]:
  """Returns what each class is called."""
  if path is None:
    return tuple(folders)
  try:
    lines = files.read_bytes(path).decode().splitlines()
  except UnicodeDecodeError as error:
    raise UsageError(f"{path}: is no text in UTF-8: {error}") from error
  texts = dict(re.split(r"[ \t]+", line.strip(), maxsplit=1) for line in lines if " " in line)
  if missing := [folder for folder in folders if folder not in texts]:
    raise UsageError(f"{path}: names no class {missing[0]}: write `{missing[0]} its name`")
  return tuple(texts[folder] for folder in folders)


def _write(task: ShardTask, token: str, plan: ShardPlan, options: PipelineOptions) -> None:
  job = Job(options)
  try:
    _delete_former(task)
    plan.write(task.plan)
    names = {task.name(shard) for shard in range(task.shards)}

    def count() -> int:
      return len(names & {info.name for info in files.list_files(task.output)})

    with show_progress(count, task.shards, "file"), job as pipeline:
      _ = (
        pipeline
        | "Numbers of shards" >> beam.Create(range(task.shards))
        | "One worker per shard" >> beam.Reshuffle()
        | "Write shards" >> WriteShards(task, len(plan.paths))
        | "Publish" >> PublishSplit(task, token)
      )
  finally:
    if not job.may_still_run:
      files.delete([task.plan])
      unfinished.stop(task.output, task.split, token)


def _delete_former(task: ShardTask) -> None:
  """Deletes what says of an earlier build that it is whole, and what a killed one has left."""
  left = re.compile(rf"{task.split}-plan-[^/]+\.npz|{task.split}-[^/]+\.tmp")
  names = [info.name for info in files.list_files(task.output, unfinished=True)]
  files.delete([note_path(task.output, task.split), index_path(task.output, task.split)])
  files.delete(files.join(task.output, name) for name in names if left.fullmatch(name))


def _summary(task: ShardTask, token: str) -> Iterator[str]:
  """Says what was written.

  Raises:
    UsageError: it was not this job that wrote it, or examples are missing.
  """
  path = note_path(task.output, task.split)
  built = files.read_json(path) if files.exists(path) else {}
  if built.get("job") != token:
    raise UsageError(
      f"{task.output}: the job ended without an error, and without its note: its runner lost some "
      "of its work; use another one"
    )
  yield (
    f"wrote {built['examples']:,} examples, {built['bytes'] / 1e9:,.3f} GB, in "
    f"{built['shards']:,} files of {task.output}"
  )
  if built["converted"]:
    kinds = ", ".join(f"{count:,} × {kind}" for kind, count in built["converted"].items())
    yield f"converted to RGB JPEG: {kinds}"
  counts = {
    "files that the index lacks": built["not_in_index"],
    "entries of the index without a file": built["no_file"],
    "files that are no images by their names": built["not_images"],
    "corrupt images": built["corrupt"],
  }
  if any(counts.values()):
    yield f"left out, as {list_path(task.output, task.split)} lists:"
    yield from (f"  {what}: {count:,}" for what, count in counts.items() if count)


if __name__ == "__main__":
  command.execute_module("build-tfrecords", run)
