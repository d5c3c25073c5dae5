"""What loading into BigQuery needs around a pipeline: flags, staged tables, temporary files."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

import files
from beam_pipelines.launch.groups import BIGQUERY
from beam_pipelines.launch.job import Job
from beam_pipelines.launch.parser import Parser
from beam_pipelines.storage.scores import bigquery
from beam_pipelines.storage.scores.bigquery_tables import APPEND, REPLACE, WRITES, BigQueryTables
from beam_pipelines.storage.scores.staging import Staging
from beam_pipelines.transforms.load_bigquery import LoadBigQuery
from files.errors import UsageError


def add_flags(parser: Parser) -> None:
  """Adds the flags that say where in BigQuery the tables go."""
  parser.add(
    BIGQUERY,
    "--bigquery",
    type=_dataset,
    metavar="PROJECT:DATASET",
    help="also load the tables into this BigQuery data set",
  )
  parser.add(
    BIGQUERY,
    "--bigquery_write",
    choices=WRITES,
    default=REPLACE,
    metavar="HOW",
    help="replace the experiment's tables there, append to them, or fill empty ones only",
  )


def _dataset(text: str) -> str:
  try:
    bigquery.parse_dataset(text)
  except ValueError as error:
    raise argparse.ArgumentTypeError(str(error)) from error
  return text


@contextmanager
def into_bigquery(
  args: argparse.Namespace,
  job: Job,
  staging: Staging,
  names: Sequence[str],
  ratios: Iterable[float],
) -> Iterator[LoadBigQuery | None]:
  """Yields the transform that the flags ask for, None for none.

  What is staged for it is gone afterwards, unless the job that loads it may still run.

  Args:
    args: those of `add_flags`, `--experiment`, `--outcome` and `--append`.
    job: the pipeline that the transform becomes a part of.
    staging: where the same tables are staged as Parquet.
    names: the score tables that the job writes.
    ratios: the subset ratios in them.

  Raises:
    UsageError: there is no room on gs:// for temporary files, the data set or a subset ratio cannot
      be used, or the job is only written down: its staged tables would be gone when it runs.
  """
  if not args.bigquery:
    yield None
    return
  if args.append and args.bigquery_write == APPEND:
    raise UsageError(
      f"--append gives whole tables, which --bigquery_write={APPEND} would add to those that are "
      f"there: use --bigquery_write={REPLACE}"
    )
  if job.template:
    raise UsageError("--template_location and --bigquery: a template cannot load its tables")
  try:
    for ratio in ratios:
      bigquery.check_ratio(ratio)
  except ValueError as error:
    raise UsageError(f"--bigquery: {error}") from error
  temporary = _temporary(job.options, staging)
  tables = BigQueryTables(
    args.bigquery, args.experiment, staging.job, tuple(names), args.bigquery_write, args.outcome
  )
  tables.stage()
  try:
    yield LoadBigQuery(staging, tables, temporary)
  finally:
    if not job.may_still_run:
      tables.discard()
      files.delete_directory(temporary)


def _temporary(options: PipelineOptions, staging: Staging) -> str:
  """Returns a directory of this job alone: BigQuery loads files from gs:// only."""
  if staging.path.startswith("gs://"):
    return files.join(staging.path, "bigquery")
  location = options.view_as(GoogleCloudOptions).temp_location or ""
  if not location.startswith("gs://"):
    raise UsageError(
      "--bigquery loads files that lie in Cloud Storage: give --temp_location=gs://BUCKET/DIRECTORY"
    )
  return files.join(location, f"heldout-{staging.job}")
