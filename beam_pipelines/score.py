"""`heldout score`: turns outcomes into memorization, influence and consistency tables."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import platform
import sys
import uuid
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import numpy as np

from beam_pipelines import arguments, command
from beam_pipelines.errors import UsageError
from beam_pipelines.storage import scores
from beam_pipelines.storage.experiment import Listing, list_runs
from beam_pipelines.storage.scores import ScoresDirectory
from beam_pipelines.transforms import read_outcomes
from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.pack_runs import TRAIN_BLOCKS, PackRuns
from beam_pipelines.transforms.read_outcomes import ReadRecordedOutcomes, SetSizes
from beam_pipelines.transforms.score_examples import CountOutcomes, CScoresParts, ExamplesParts
from beam_pipelines.transforms.select_pairs import PairSelection, PairsParts
from beam_pipelines.transforms.split_halves import Reliability
from beam_pipelines.transforms.write_scores import (
  CorrectnessParts,
  Publish,
  RunsPart,
  SkippedPart,
  StageParts,
  refusal,
)
from image_datasets import ImageDataset, describe_specs, load_dataset

_VERSIONS = ("heldout", "apache-beam", "numpy", "numba", "pyarrow")
_SHOWN_REASONS = 3


def run(argv: Sequence[str]) -> int:
  """Scores an experiment and publishes its tables; returns the exit status."""
  args, options = _parser().parse(argv)
  dataset = load_dataset(args.dataset, args.data_dir) if args.dataset else None
  selection = _selection(args)
  scores.check_owner(args.scores, args.experiment)
  listing = list_runs(args.experiment)
  if not listing.runs:
    raise UsageError(
      f"--experiment={args.experiment} holds no runs: they lie in <subset ratio>/<run id>/"
    )
  directory = ScoresDirectory(args.scores, uuid.uuid4().hex)
  try:
    with beam.Pipeline(options=options) as pipeline:
      _build(pipeline, args, listing, dataset, selection, directory)
  except Exception as error:
    reason = refusal(directory)
    if reason is None:
      raise
    raise UsageError(f"--experiment={args.experiment}: {reason}") from error
  finally:
    directory.discard()
  _print_summary(args.scores)
  return 0


def _parser() -> command.Parser:
  parser = command.Parser(
    "score",
    "Turns the recorded outcomes of an experiment's runs into score tables: Parquet files and a\n"
    "manifest. Runs that cannot be used are listed with the reason and do not stop the rest.",
    "Example:\n"
    "  heldout score --experiment=runs --scores=scores --dataset=digits\n\n"
    f"Data sets:\n{describe_specs()}",
  )
  defaults = PairSelection()
  add = parser.add_argument
  add("--experiment", type=arguments.path, required=True, help="directory of run directories")
  add("--scores", type=arguments.path, required=True, help="directory for the tables")
  add("--dataset", help="data set that the labels come from; see below")
  add("--data_dir", help="where tfds: data sets lie")
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
  add("--correctness", action="store_true", help="also write one row per run and example")
  add("--strict", action="store_true", help="fail if any run cannot be used")
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


def _build(
  pipeline: beam.Pipeline,
  args: argparse.Namespace,
  listing: Listing,
  dataset: ImageDataset | None,
  selection: PairSelection,
  directory: ScoresDirectory,
) -> None:
  sizes = SetSizes(len(dataset.train), len(dataset.test)) if dataset else None
  read = (
    pipeline
    | "Runs" >> beam.Create(listing.runs)
    | "One worker per run" >> beam.Reshuffle()
    | "Read outcomes" >> ReadRecordedOutcomes(sizes)
  )
  outcomes = read[read_outcomes.OUTCOMES]
  listed = pipeline | "Not runs" >> beam.Create(listing.skipped)
  skipped = (read[read_outcomes.SKIPPED], listed) | "Skipped" >> beam.Flatten()
  labels = pipeline | "Labels" >> beam.Create([_labels(dataset)])

  packed = outcomes | "Pack runs" >> PackRuns()
  counts = packed[TRAIN_BLOCKS] | "Count outcomes" >> CountOutcomes()
  parts = [
    counts | "Examples" >> ExamplesParts(labels),
    counts | "C-scores" >> CScoresParts(labels),
    packed | "Influence" >> PairsParts(selection, labels),
    outcomes | "Runs scored" >> RunsPart(),
    skipped | "Inputs skipped" >> SkippedPart(),
  ]
  if args.correctness:
    parts.append(outcomes | "Correctness" >> CorrectnessParts())
  _ = (
    parts
    | "Parts of tables" >> beam.Flatten()
    | "Stage" >> StageParts(directory)
    | "Publish"
    >> Publish(
      directory,
      _manifest(args, selection),
      ratios=packed | "Reliability" >> Reliability(selection, labels),
      skipped=skipped,
      strict=args.strict,
    )
  )


def _labels(dataset: ImageDataset | None) -> Labels:
  if dataset is None:
    return Labels(None, None)
  smallest = np.min_scalar_type(dataset.num_classes)  # the labels travel with the job description
  return Labels(dataset.train.labels.astype(smallest), dataset.test.labels.astype(smallest))


def _manifest(args: argparse.Namespace, selection: PairSelection) -> dict[str, Any]:
  return {
    "experiment": args.experiment,
    "source": "recorded",
    "dataset": args.dataset,
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
      "correctness": args.correctness,
      "strict": args.strict,
    },
  }


def _print_summary(path: str) -> None:
  manifest = scores.read_manifest(path)
  print(
    f"scored {manifest['runs_used']:,} runs at {len(manifest['ratios'])} subset ratios, "
    f"{manifest['rows'].get('influence', 0):,} influence pairs, into {path}"
  )
  if manifest["runs_skipped"]:
    skipped = scores.read_table(path, "skipped").to_pylist()
    print(f"skipped {len(skipped):,} inputs (the `skipped` table lists them):")
    for entry in skipped[:_SHOWN_REASONS]:
      print(f"  {entry['path']} {entry['reason']}")


if __name__ == "__main__":
  sys.exit(command.execute("score", run))
