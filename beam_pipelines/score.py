"""`heldout score`: turns outcomes into memorization, influence and consistency tables."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import platform
import sys
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import numpy as np

from beam_pipelines.launch import arguments, command
from beam_pipelines.launch import bigquery_target as loading
from beam_pipelines.launch.checkpoint_source import (
  add_flags,
  asked_evaluation,
  evaluating,
  refuse_flags,
)
from beam_pipelines.launch.dataflow import prepare_job, print_plan
from beam_pipelines.launch.job import Job
from beam_pipelines.storage.runs import aux_arrays
from beam_pipelines.storage.runs.experiment import Listing, RunDirectory, RunKey, require_runs
from beam_pipelines.storage.runs.judgement import SetSizes
from beam_pipelines.storage.scores import directory as scores
from beam_pipelines.storage.scores.directory import ScoresDirectory
from beam_pipelines.storage.scores.tables import SCORE_TABLES
from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.pack_runs import choose_block_size
from beam_pipelines.transforms.publish_scores import refusal
from beam_pipelines.transforms.read_outcomes import (
  OUTCOMES,
  SKIPPED,
  ReadRecordedOutcomes,
  ReadScoredOutcomes,
)
from beam_pipelines.transforms.score_outcomes import ScoreOutcomes
from beam_pipelines.transforms.select_pairs import PairSelection
from files.errors import UsageError
from image_datasets import ImageDataset, describe_specs, load_dataset

_VERSIONS = ("heldout", "apache-beam", "numpy", "numba", "pyarrow", "tensorflow")
_SHOWN_REASONS = 3


def run(argv: Sequence[str]) -> int:
  """Scores an experiment and publishes its tables; returns the exit status."""
  args, options = _parser().parse(argv)
  evaluates = args.source == "checkpoints"
  if not evaluates:
    refuse_flags(args)
  paths = {"--experiment": args.experiment, "--scores": args.scores}
  accelerator = prepare_job(args, options, paths, loads_dataset=evaluates)
  dataset = load_dataset(args.dataset, args.data_dir) if args.dataset else None
  selection = _selection(args)
  scores.check_owner(args.scores, args.experiment)
  listing = require_runs(args.experiment)
  scored = _scored_runs(args.scores) if args.append else set()
  unscored = [run for run in listing.runs if run.key not in scored]
  sizes = _sizes(args, dataset, bool(scored))
  block_size = choose_block_size(
    args.worker_memory, _most_runs(listing), _num_test(sizes, unscored), args.dense
  )
  directory = ScoresDirectory(args.scores, uuid.uuid4().hex)
  evaluation = asked_evaluation(args, dataset) if evaluates else None
  if args.dry_run:
    print_plan(_plan(args, len(unscored)), options, accelerator)
    return 0
  recorded = contextlib.nullcontext(ReadRecordedOutcomes(sizes))
  evaluated = evaluation and evaluating(evaluation, accelerator, options, len(unscored))
  names = [name for name in SCORE_TABLES if name != "correctness" or args.correctness]
  ratios = sorted({run.key.subset_ratio for run in listing.runs})
  job = Job(options)
  try:
    with (
      loading.into_bigquery(args, job, directory, names, ratios) as load,
      evaluated or recorded as source,
      job as pipeline,
    ):
      read = _read(pipeline, unscored, listing, source)
      if scored:
        read[OUTCOMES] = _with_scored(read[OUTCOMES], args.scores)
      _ = read | "Score" >> ScoreOutcomes(
        directory,
        _manifest(args, selection),
        selection,
        _labels(dataset),
        block_size,
        dense=args.dense,
        correctness=args.correctness,
        strict=args.strict,
        load=load,
      )
  except Exception as error:
    reason = refusal(directory)
    if reason is None:
      raise
    raise UsageError(f"--experiment={args.experiment}: {reason}") from error
  finally:
    if not job.may_still_run:
      directory.discard()
  if not job.template:
    _print_summary(args.scores, args.bigquery)
  return 0


def _parser() -> command.Parser:
  parser = command.Parser(
    "score",
    "Turns the outcomes of an experiment's runs into score tables: Parquet files and a manifest.\n"
    "Outcomes are what the runs have recorded, or what their checkpoints predict.\n"
    "Runs that cannot be used are listed with the reason and do not stop the rest.",
    "Examples:\n"
    "  heldout score --experiment=runs --scores=scores --dataset=digits\n"
    "  heldout score --experiment=runs --scores=scores --dataset=digits \\\n"
    "      --source=checkpoints --model=mlp\n\n"
    f"Data sets:\n{describe_specs()}",
  )
  defaults = PairSelection()
  add = parser.add_argument
  add("--experiment", type=arguments.path, required=True, help="directory of run directories")
  add("--scores", type=arguments.path, required=True, help="directory for the tables")
  arguments.add_dataset(parser, "data set that the labels come from")
  add(
    "--source",
    choices=("recorded", "checkpoints"),
    default="recorded",
    help="where outcomes come from; checkpoints are evaluated and need --dataset and --model",
  )
  add_flags(parser)
  add(
    "--pairs",
    choices=("same_class", "all"),
    help="which pairs can be influence pairs (default: same_class with a data set, otherwise all)",
  )
  add("--min_influence", type=float, default=defaults.min_influence, help="of a selected pair")
  add(
    "--min_memorization",
    type=float,
    default=defaults.min_memorization,
    help="of the training example of a selected pair",
  )
  add("--top_k", type=int, help="keep a pair only if among the k largest of either example")
  add("--dense", action="store_true", help="also write the influence of all pairs, as Zarr")
  add("--correctness", action="store_true", help="also write one row per run and example")
  add("--append", action="store_true", help="read only runs that --scores does not hold yet")
  add(
    "--worker_memory",
    type=arguments.memory,
    default="2GB",
    help="memory of a worker; blocks of examples are cut to fit",
  )
  add("--strict", action="store_true", help="fail if any run cannot be used")
  loading.add_flags(parser)
  add("--dry_run", action="store_true", help="print what would be done and where, do nothing")
  return parser


def _selection(args: argparse.Namespace) -> PairSelection:
  pairs = args.pairs or ("same_class" if args.dataset else "all")
  if pairs == "same_class" and not args.dataset:
    raise UsageError("--pairs=same_class needs labels: give --dataset, or use --pairs=all")
  if args.top_k is not None and args.top_k < 1:
    raise UsageError(f"--top_k={args.top_k}: at least one pair is kept per example")
  for name in ("min_influence", "min_memorization"):
    if not -1 <= getattr(args, name) <= 1:
      raise UsageError(f"--{name}={getattr(args, name)}: scores lie between -1 and 1")
  return PairSelection(args.min_influence, args.min_memorization, pairs == "same_class", args.top_k)


def _scored_runs(path: str) -> set[RunKey]:
  """Returns the runs whose outcomes a scores directory keeps, if there is one."""
  rows = scores.read_table(path, "outcomes").select(["subset_ratio", "run"]).to_pylist()
  return {RunKey(**row) for row in rows}


def _sizes(
  args: argparse.Namespace, dataset: ImageDataset | None, appending: bool
) -> SetSizes | None:
  """Returns the sizes that every run must have, None for whatever most have.

  Raises:
    UsageError: the data set is not of the sizes of the scores to append to.
  """
  sizes = SetSizes(len(dataset.train), len(dataset.test)) if dataset else None
  if not appending:
    return sizes
  examples = scores.read_manifest(args.scores)["examples"]
  scored = SetSizes(examples["train"], examples["test"])
  if sizes not in (None, scored):
    raise UsageError(
      f"--append: {args.scores} holds scores of {scored.num_train:,} training and "
      f"{scored.num_test:,} test examples, which is not --dataset={args.dataset}"
    )
  return scored


def _most_runs(listing: Listing) -> int:
  return max(Counter(run.key.subset_ratio for run in listing.runs).values())


def _num_test(sizes: SetSizes | None, runs: Sequence[RunDirectory]) -> int:
  """Returns the number of test examples, from the first readable run if need be."""
  if sizes is not None:
    return sizes.num_test
  for run in runs:
    with contextlib.suppress(aux_arrays.AuxArraysError):
      return aux_arrays.read(run).num_test
  return 0


def _plan(args: argparse.Namespace, num_runs: int) -> str:
  what = "recorded outcomes" if args.source == "recorded" else f"checkpoints of {args.model}"
  where = args.scores + (f" and BigQuery's {args.bigquery}" if args.bigquery else "")
  return f"would score {num_runs:,} runs of {args.experiment}, from {what}, into {where}"


def _read(
  pipeline: beam.Pipeline,
  runs: Sequence[RunDirectory],
  listing: Listing,
  source: beam.PTransform,
) -> dict[str, beam.PCollection]:
  read = (
    pipeline
    | "Runs" >> beam.Create(runs, reshuffle=False)
    | "One worker per run" >> beam.Reshuffle()
    | "Read outcomes" >> source
  )
  listed = pipeline | "Not runs" >> beam.Create(listing.skipped)
  skipped = (read[SKIPPED], listed) | "Skipped" >> beam.Flatten()
  return {OUTCOMES: read[OUTCOMES], SKIPPED: skipped}


def _with_scored(outcomes: beam.PCollection, path: str) -> beam.PCollection:
  scored = (
    outcomes.pipeline
    | "Parts of outcomes" >> beam.Create(scores.list_parts(path, "outcomes"))
    | "One worker per part" >> beam.Reshuffle()
    | "Read scored outcomes" >> ReadScoredOutcomes()
  )
  return (outcomes, scored) | "New and scored" >> beam.Flatten()


def _labels(dataset: ImageDataset | None) -> Labels:
  if dataset is None:
    return Labels(None, None)
  smallest = np.min_scalar_type(dataset.num_classes)  # the labels travel with the job description
  return Labels(dataset.train.labels.astype(smallest), dataset.test.labels.astype(smallest))


def _manifest(args: argparse.Namespace, selection: PairSelection) -> dict[str, Any]:
  return {
    "experiment": args.experiment,
    "source": args.source,
    "dataset": args.dataset,
    "model": args.model,
    "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    "versions": {
      "python": platform.python_version(),
      **{name: importlib.metadata.version(name) for name in _VERSIONS},
    },
    "options": {
      "pairs": "same_class" if selection.same_class else "all",
      "min_influence": selection.min_influence,
      "min_memorization": selection.min_memorization,
      "top_k": selection.top_k,
      **{name: getattr(args, name) for name in ("precision", "xla", "batch_size", "checkpoint")},
      "gpu": args.gpu and args.gpu.name,
      "dense": args.dense,
      "correctness": args.correctness,
      "strict": args.strict,
      "bigquery": args.bigquery,
      "bigquery_write": args.bigquery_write,
    },
  }


def _print_summary(path: str, dataset: str | None) -> None:
  manifest = scores.read_manifest(path)
  print(
    f"scored {manifest['runs_used']:,} runs at subset ratios "
    f"{', '.join(str(ratio['subset_ratio']) for ratio in manifest['ratios'])}: "
    f"{manifest['rows'].get('influence', 0):,} influence pairs, into {path}"
    + (f" and BigQuery's {dataset}" if dataset else "")
  )
  if manifest["runs_skipped"]:
    skipped = scores.read_table(path, "skipped").to_pylist()
    print(f"skipped {len(skipped):,} inputs (the `skipped` table lists them):")
    for entry in skipped[:_SHOWN_REASONS]:
      print(f"  {entry['path']} {entry['reason']}")


if __name__ == "__main__":
  sys.exit(command.execute("score", run))
