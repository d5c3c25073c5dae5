"""`heldout import-outcomes`: makes runs of what was trained and evaluated elsewhere."""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import GoogleCloudOptions

import files
from beam_pipelines.launch import arguments, command, foreign_source
from beam_pipelines.launch.engines import prepare_job, print_plan
from beam_pipelines.launch.groups import READS, WRITES
from beam_pipelines.launch.job import Job
from beam_pipelines.launch.parser import Parser
from beam_pipelines.launch.progress import show_progress
from beam_pipelines.storage.layouts.foreign_rows import Description, ForeignRows
from beam_pipelines.storage.layouts.sources import Source
from beam_pipelines.storage.runs import packed_part, unfinished_packs
from beam_pipelines.storage.runs.experiment import Listing, list_runs
from beam_pipelines.storage.runs.judgement import (
  SetSizes,
  UnusableRunError,
  fetch_many,
  read_outcome,
)
from beam_pipelines.storage.runs.packs import RESULT
from beam_pipelines.transforms.import_outcomes import ImportOutcomes, ImportTask
from files.errors import UsageError

_LARGEST_RUN = 2**63 - 1
_ROWS_LOOKED_AT = 1024
_NOTED_DIFFERENCE = 0.05
_SHOWN = 3


class _Ratio(NamedTuple):
  value: float
  how: str


def run(argv: Sequence[str]) -> int:
  """Imports outcomes as packed runs, and says what became of the rows; returns the exit status."""
  args, options = make_parser().parse(argv)
  source = foreign_source.asked_source(args)
  if options.view_as(GoogleCloudOptions).template_location:
    raise UsageError(
      "--template_location: `heldout import-outcomes` reads its job's result, so it must run"
    )
  paths = {"--experiment": args.experiment, **foreign_source.named_paths(args)}
  prepare_job(args, options, paths, loads_dataset=False)
  rows = source.open()
  described = rows.description
  ratio = _subset_ratio(source, rows)
  if not args.dry_run:
    unfinished_packs.discard_left_over(args.experiment)
  listing = list_runs(args.experiment)
  _check_sizes(args.experiment, listing, described)
  task = _task(args, source, listing, described, ratio.value)
  ranges = list(_ranges(task.rows, described))
  if args.dry_run:
    print_plan(f"would import {_plan(task, described, ratio)}", options, None)
    return 0
  print(f"importing {_plan(task, described, ratio)}")
  job = Job(options)
  unfinished_packs.mark_owner(task.directory)
  try:
    _import(job, task, ranges)
    if not files.exists(files.join(task.directory, RESULT)):
      raise UsageError("workers on other machines need an --experiment that they can write to")
    result = files.read_json(files.join(task.directory, RESULT))
  finally:
    if not job.may_still_run:
      unfinished_packs.finish(task.directory)
  return _conclude(task, described, result)


def _import(job: Job, task: ImportTask, ranges: Sequence[tuple[int, int]]) -> None:
  def count() -> int:
    return len(files.list_files(task.directory))

  with show_progress(count, len(ranges), "part"), job as pipeline:
    _ = (
      pipeline
      | "Ranges of rows" >> beam.Create(ranges, reshuffle=False)
      | "One worker per range" >> beam.Reshuffle()
      | "Import" >> ImportOutcomes(task)
    )


def make_parser() -> Parser:
  """Returns the parser of the command's flags."""
  parser = Parser(
    "import-outcomes",
    "Makes packed runs of outcomes that were recorded elsewhere: each row, a model that was\n"
    "trained on a subset, becomes a run. What is there already is not imported again.\n"
    "docs/outcomes_elsewhere.md has the layouts.",
    "Example:\n  heldout import-outcomes --experiment=runs --from=lira --source=exp/cifar10",
    runs_jobs=True,
  )
  foreign_source.add_flags(parser)
  parser.add(
    READS,
    "--rows",
    type=arguments.run_range,
    metavar="START:STOP",
    help="only these rows (default: all)",
  )
  parser.add(
    WRITES,
    "--experiment",
    type=arguments.path,
    required=True,
    metavar="DIR",
    help="directory of runs; new, or to add to",
  )
  parser.add(
    WRITES,
    "--first_run",
    type=int,
    metavar="N",
    help="run id of row 0 (default: after the runs that are there)",
  )
  parser.add_dry_run()
  parser.set_defaults(gpu=None, nvidia_mps=False)
  return parser


def _subset_ratio(source: Source, rows: ForeignRows) -> _Ratio:
  """Returns the subset ratio that is asked for, that the layout names, or that the masks show.

  Raises:
    UsageError: the masks show none.
  """
  described = rows.description
  if source.subset_ratio is not None:
    return _Ratio(source.subset_ratio, "as asked for")
  if described.given_ratio is not None:
    return _Ratio(described.given_ratio, "by the files' names")
  step = max(1, described.rows // _ROWS_LOOKED_AT)
  seen = looked_at = 0
  for row in range(0, described.rows, step):
    masks = rows.read_masks(row, row + 1)
    seen += int(np.count_nonzero(masks))
    looked_at += masks.size
  share = seen / looked_at if looked_at else 0.0
  ratio = round(share, 1)
  if not 0 < ratio < 1:
    raise UsageError(
      f"the runs saw {share:.2%} of the training set, to one decimal {ratio:g}, which is no subset "
      "ratio: say it with --subset_ratio"
    )
  return _Ratio(ratio, f"the runs saw {share:.2%} of the training set")


def _check_sizes(experiment: str, listing: Listing, described: Description) -> None:
  """Makes sure that runs which are there are of the same data set, as far as can be seen.

  Raises:
    UsageError: they are not.
  """
  there = [SetSizes(packed.num_train, packed.num_test) for packed in listing.packed]
  for directory, fetched in fetch_many(listing.runs[:1]):
    if isinstance(fetched, bytes):
      try:
        there.append(SetSizes.of(read_outcome(directory, fetched)))
      except UnusableRunError:
        continue  # `score` says it
  for sizes in there:
    if sizes.num_train != described.num_train or (
      sizes.num_test != described.num_test and sizes.num_test and described.num_test
    ):
      raise UsageError(
        f"--experiment={experiment} holds runs of {sizes.num_train:,} training and "
        f"{sizes.num_test:,} test examples, these are of {described.num_train:,} and "
        f"{described.num_test:,}: choose another directory"
      )


def _task(
  args: argparse.Namespace,
  source: Source,
  listing: Listing,
  described: Description,
  ratio: float,
) -> ImportTask:
  rows = args.rows or range(described.rows)
  if rows.stop > described.rows:
    raise UsageError(f"--rows={rows.start}:{rows.stop}: there are {described.rows:,} rows")
  first_run = args.first_run
  if first_run is None:
    there = [key.run for key in listing.keys if key.subset_ratio == ratio]
    first_run = max(there, default=-1) + 1
  if not 0 <= first_run <= _LARGEST_RUN - rows.stop:
    raise UsageError(f"--first_run={first_run}: run ids lie in 0…{_LARGEST_RUN}")
  return ImportTask(
    source=source,
    experiment=args.experiment,
    subset_ratio=ratio,
    rows=(rows.start, rows.stop),
    first_run=first_run,
    pack=f"runs-from-{first_run + rows.start:06d}-{uuid.uuid4().hex[:8]}",
    there=tuple(packed for packed in listing.packed if packed.subset_ratio == ratio),
  )


def _ranges(rows: tuple[int, int], described: Description) -> Iterator[tuple[int, int]]:
  step = packed_part.runs_per_part(
    described.num_train, described.num_test, margins=described.margins is not None
  )
  start, stop = rows
  for first in range(start, stop, step):
    yield first, min(first + step, stop)


def _plan(task: ImportTask, described: Description, ratio: _Ratio) -> str:
  start, stop = task.rows
  test = f"{described.num_test:,} test examples" if described.num_test else "no test outcomes"
  train = "" if described.train else " (without outcomes)"
  margins = f", with margins by {described.margins}" if described.margins else ""
  bits = f"; bits {described.origin['bits']}" if "bits" in described.origin else ""
  return (
    f"{stop - start:,} rows of {task.source.layout}, {described.num_train:,} training examples"
    f"{train} and {test}{margins}{bits}, at subset ratio {ratio.value} ({ratio.how}), into "
    f"{task.experiment}"
  )


def _conclude(task: ImportTask, described: Description, result: dict[str, Any]) -> int:
  """Says what the job has done.

  Raises:
    UsageError: nothing was imported.
  """
  if result["refusal"]:
    raise UsageError(result["refusal"])
  imported, there, left_out = (result[name] for name in ("imported", "there", "left_out"))
  problems = [f"row {row} {reason}" for row, reason in result["problems"]]
  if not imported and not there:
    raise UsageError(f"none of {left_out:,} rows is a run; the first: {problems[0]}")
  if imported:
    print(
      f"imported {imported:,} runs at subset ratio {task.subset_ratio}, "
      f"{result['bytes'] / 1e6:,.1f} MB, into {task.directory}"
    )
  if there:
    print(f"{there:,} runs were there already")
  if left_out:
    print(f"left out {left_out:,} rows:")
    for problem in problems[:_SHOWN]:
      print(f"  {problem}")
  command.show_warnings(_doubts(task, described, result))
  return 0


def _doubts(task: ImportTask, described: Description, result: dict[str, Any]) -> Iterator[str]:
  seen, unseen = result["seen"], result["unseen"]
  if not seen or not unseen:
    return
  share = seen / (seen + unseen)
  if abs(share - task.subset_ratio) > _NOTED_DIFFERENCE:
    yield (
      f"the runs saw {share:.1%} of the training set on average, and are kept as of subset ratio "
      f"{task.subset_ratio}"
    )
  inside, outside = result["correct_seen"] / seen, result["correct_unseen"] / unseen
  if described.train and inside < outside:
    yield (
      f"the runs are right on {inside:.1%} of the examples that they saw and on {outside:.1%} of "
      "the others: masks may be inverted, margins of the other sign, or examples in another order"
    )


if __name__ == "__main__":
  command.execute_module("import-outcomes", run)
