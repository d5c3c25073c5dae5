"""`heldout score`: turns outcomes into memorization, influence and consistency tables."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipelines.launch import (
  arguments,
  bigquery_target,
  checkpoint_source,
  command,
  datasets,
)
from beam_pipelines.launch.engines import prepare_job, print_plan
from beam_pipelines.launch.groups import COMPUTES, READS, WORKERS, WRITES
from beam_pipelines.launch.job import Job
from beam_pipelines.launch.outcome_flag import add_outcome
from beam_pipelines.launch.parser import Parser
from beam_pipelines.launch.scoring import Scoring, plan_scoring
from beam_pipelines.storage.scores.directory import check_owner, read_table
from beam_pipelines.storage.scores.index import stage_index
from beam_pipelines.storage.scores.manifest import read_manifest, read_stub
from beam_pipelines.storage.scores.publication import abandon, finish_publication
from beam_pipelines.storage.scores.staging import ANY, Staging, discard_left_over
from beam_pipelines.storage.scores.tables import TABLE_NAMES
from beam_pipelines.transforms.read_outcomes import (
  OUTCOMES,
  SKIPPED,
  ReadRecordedOutcomes,
  ReadScoredOutcomes,
)
from beam_pipelines.transforms.score_outcomes import ScoreOutcomes
from estimators.outcome_kinds import CORRECT, MARGIN
from files import scratch
from files.errors import UsageError
from files.spill import Spill

_SHOWN_REASONS = 3


def run(argv: Sequence[str]) -> int:
  """Scores an experiment and publishes its tables; returns the exit status."""
  args, options = make_parser().parse(argv)
  if args.source == "recorded":
    checkpoint_source.refuse_flags(args)
  paths = {"--experiment": args.experiment, "--scores": args.scores}
  loads_dataset = args.source == "checkpoints"
  accelerator = prepare_job(args, options, paths, loads_dataset=loads_dataset, many_stages=True)
  check_owner(args.scores, args.experiment)
  if not args.dry_run and finish_publication(args.scores):
    print(f"{args.scores}: finished the publication of an earlier command, which was stopped")
  if not args.dry_run:
    command.show_warnings(
      f"{staging}: kept, since its job may be at work; delete it if no such job runs any more"
      for staging in discard_left_over(args.scores)
    )
  scoring = plan_scoring(args, options)
  if args.dry_run:
    print_plan(_describe_plan(args, scoring), options, accelerator)
    return 0
  job = Job(options)
  if job.template:
    scoring = dataclasses.replace(scoring, staging=dataclasses.replace(scoring.staging, base=ANY))
  _score(args, scoring, job, accelerator)
  if not job.template:
    _print_summary(args, scoring)
  return 0


def _score(args: argparse.Namespace, scoring: Scoring, job: Job, accelerator: str | None) -> None:
  ratios = sorted({key.subset_ratio for key in scoring.listing.keys})
  asked = {"correctness": args.correctness, "index": args.dataset}
  names = [name for name in TABLE_NAMES if asked.get(name, True)]
  with (
    _staged(scoring.staging, job),
    bigquery_target.into_bigquery(args, job, scoring.staging, names, ratios) as load,
    _spill(job) as spill,
    _source(scoring, job.options, accelerator, spill) as source,
    job as pipeline,
  ):
    index = stage_index(scoring.staging, scoring.dataset) if scoring.dataset else ()
    _ = _read(pipeline, scoring, source) | "Score" >> ScoreOutcomes(
      scoring.staging,
      scoring.request,
      scoring.runs_listed,
      scoring.selection,
      scoring.labels,
      scoring.block_size,
      tuple(index),
      scoring.warnings,
      load,
      spill,
    )


@contextlib.contextmanager
def _staged(staging: Staging, job: Job) -> Iterator[None]:
  """Cleans up after the body, unless its job may go on; says why a job did not publish.

  Raises:
    UsageError: it did not.
  """
  if command.is_in_process(job.options):
    staging.mark_owner()
  try:
    yield
  except Exception as error:
    reason = staging.refusal()
    if reason is None:
      raise
    raise UsageError(reason) from error
  finally:
    if not job.may_still_run and not job.template:  # which finds the index there when it runs
      abandon(staging)


@contextlib.contextmanager
def _spill(job: Job) -> Iterator[Spill | None]:
  """Yields where a job in this process has its outcomes wait; engines see to that themselves."""
  if not command.is_in_process(job.options):
    yield None
    return
  with scratch.local_directory() as directory:
    yield Spill(str(directory))


def _source(
  scoring: Scoring, options: PipelineOptions, accelerator: str | None, spill: Spill | None
) -> contextlib.AbstractContextManager[beam.PTransform]:
  if scoring.evaluation is None:
    return contextlib.nullcontext(
      ReadRecordedOutcomes(
        scoring.sizes,
        scoring.packed,
        exact=scoring.appended,
        with_margins=scoring.selection.kind.is_soft,
        spill=spill,
      )
    )
  return checkpoint_source.evaluating(
    scoring.evaluation, accelerator, options, len(scoring.unscored)
  )


def make_parser() -> Parser:
  """Returns the parser of the command's flags."""
  parser = Parser(
    "score",
    "Turns the outcomes of runs into score tables: Parquet files and a manifest. A run that\n"
    "cannot be used is listed with its reason, and does not stop the rest.",
    "Example:\n  heldout score --experiment=runs --scores=scores --dataset=digits",
    runs_jobs=True,
  )
  add = functools.partial(parser.add, READS)
  add("--experiment", type=arguments.path, required=True, metavar="DIR", help="directory of runs")
  datasets.add_flags(parser, "data set that the labels come from, such as digits")
  add(
    "--source",
    choices=("recorded", "checkpoints"),
    default="recorded",
    metavar="WHICH",
    help="recorded outcomes, or checkpoints",
  )
  checkpoint_source.add_flags(parser)
  add("--append", action="store_true", help="read only runs that --scores does not hold yet")
  add("--strict", action="store_true", help="fail if any run cannot be used")
  add_outcome(parser)
  add = functools.partial(parser.add, COMPUTES)
  add(
    "--pairs",
    choices=("same_class", "all"),
    metavar="WHICH",
    help="of the same_class, or all (default: by --dataset)",
  )
  add(
    "--min_influence",
    type=float,
    metavar="X",
    help=f"of a selected pair (default: {CORRECT.min_influence}, of margins "
    f"{MARGIN.min_influence})",
  )
  add(
    "--min_memorization",
    type=float,
    metavar="X",
    help=f"likewise (default: {CORRECT.min_memorization}, of margins {MARGIN.min_memorization})",
  )
  add("--top_k", type=int, metavar="K", help="a pair is among the K largest of either example")
  add = functools.partial(parser.add, WRITES)
  add(
    "--scores", type=arguments.path, required=True, metavar="DIR", help="directory for the tables"
  )
  add("--dense", action="store_true", help="also the influence of all pairs, as Zarr")
  add("--correctness", action="store_true", help="also one row per run and example")
  bigquery_target.add_flags(parser)
  parser.add(
    WORKERS,
    "--worker_memory",
    type=arguments.memory,
    default="2GB",
    metavar="SIZE",
    help="of a worker; blocks of examples are cut to fit",
  )
  parser.add_dry_run()
  return parser


def _describe_plan(args: argparse.Namespace, scoring: Scoring) -> str:
  what = "recorded outcomes" if args.source == "recorded" else f"checkpoints of {args.model}"
  where = args.scores + (f" and BigQuery's {args.bigquery}" if args.bigquery else "")
  return (
    f"would score {scoring.runs_unscored:,} runs of {args.experiment}, from {what}, into {where}"
  )


def _read(pipeline: beam.Pipeline, scoring: Scoring, source: beam.PTransform) -> dict[str, Any]:
  read = (
    pipeline
    | "Runs" >> beam.Create(scoring.unscored, reshuffle=False)
    | "One worker per run" >> beam.Reshuffle()
    | "Read outcomes" >> source
  )
  listed = pipeline | "Not runs" >> beam.Create(scoring.skipped)
  skipped = (read[SKIPPED], listed) | "Skipped" >> beam.Flatten()
  outcomes = [read[OUTCOMES]]
  if scoring.scored:
    outcomes.append(
      pipeline
      | "Parts of outcomes" >> beam.Create(scoring.scored)
      | "One worker per part" >> beam.Reshuffle()
      | "Read scored outcomes" >> ReadScoredOutcomes(scoring.staging.scores)
    )
  return {OUTCOMES: tuple(outcomes), SKIPPED: skipped}


def _print_summary(args: argparse.Namespace, scoring: Scoring) -> None:
  """Says what was published.

  Raises:
    UsageError: it was not this job that published, whatever its runner says.
  """
  stub = read_stub(args.scores)
  if stub is None or stub.job != scoring.request.job:
    raise UsageError(
      f"{args.scores}: the job ended without an error, and without publishing: its runner lost "
      "some of its work; use another one"
    )
  manifest = read_manifest(args.scores)
  print(
    f"scored {manifest.runs_used:,} runs at subset ratios "
    f"{', '.join(str(ratio.subset_ratio) for ratio in manifest.ratios)}: "
    f"{manifest.rows.get('influence', 0):,} influence pairs, into {args.scores}"
    + (f" and BigQuery's {args.bigquery}" if args.bigquery else "")
  )
  if manifest.runs_skipped:
    skipped = read_table(args.scores, "skipped").to_pylist()
    print(f"skipped {len(skipped):,} inputs (the `skipped` table lists them):")
    for entry in skipped[:_SHOWN_REASONS]:
      print(f"  {entry['path']} {entry['reason']}")
  command.show_warnings(manifest.warnings)


if __name__ == "__main__":
  command.execute_module("score", run)
