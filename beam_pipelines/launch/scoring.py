"""What `heldout score` is asked for, and what of it there is to do."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import importlib.metadata
import math
import platform
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipelines.launch import checkpoint_source, datasets
from beam_pipelines.storage.runs import aux_arrays
from beam_pipelines.storage.runs.experiment import (
  Listing,
  RunDirectory,
  Skipped,
  require_runs,
)
from beam_pipelines.storage.runs.judgement import NO_CHECKPOINT, SetSizes
from beam_pipelines.storage.runs.packs import PackedRuns
from beam_pipelines.storage.runs.run_place import RunKey
from beam_pipelines.storage.scores.directory import Scores, open_scores
from beam_pipelines.storage.scores.manifest import (
  Manifest,
  Options,
  Request,
  StoredPart,
  read_manifest,
  read_stub,
)
from beam_pipelines.storage.scores.pairing import check_index
from beam_pipelines.storage.scores.staging import Staging
from beam_pipelines.transforms.labels import Labels
from beam_pipelines.transforms.pack_runs import choose_block_size
from beam_pipelines.transforms.select_pairs import PairSelection
from estimators.outcome_kinds import OUTCOME_KINDS
from files.errors import UsageError
from image_datasets import Dataset

if TYPE_CHECKING:
  from beam_pipelines.transforms.evaluate_checkpoints import Evaluation

_VERSIONS = ("heldout", "apache-beam", "numpy", "numba", "pyarrow", "tensorflow")

_BY_MAX = "records margins by max, from which no probabilities follow"

_KEPT_OPTIONS = (
  "outcome",
  "precision",
  "xla",
  "batch_size",
  "checkpoint",
  "dense",
  "correctness",
  "strict",
  "bigquery",
  "bigquery_write",
)


@dataclasses.dataclass(frozen=True)
class Scoring:
  """What is asked for, and what of it there is to do.

  Attributes:
    request: what goes into the manifest.
    staging: where the tables are staged.
    selection: which pairs are selected.
    listing: what the experiment holds.
    skipped: inputs that are known to be of no use before anything is read.
    unscored: the run directories whose outcomes are read.
    packed: the packed runs whose outcomes are read.
    scored: what holds the outcomes of the others: parts of the scores that are appended to.
    runs_scored: how many runs those are.
    sizes: what every run must have; None for whatever most have.
    appended: whether there are scores of these sizes, to which the others are added.
    dataset: the data set of the examples, if one is given.
    block_size: training examples per block.
    evaluation: how checkpoints are evaluated; None reads recorded outcomes.
    warnings: what is known to be odd before anything is read.
  """

  request: Request
  staging: Staging
  selection: PairSelection
  listing: Listing
  skipped: tuple[Skipped, ...]
  unscored: tuple[RunDirectory, ...]
  packed: tuple[PackedRuns, ...]
  scored: tuple[StoredPart, ...]
  runs_scored: int
  sizes: SetSizes | None
  appended: bool
  dataset: Dataset | None
  block_size: int
  evaluation: Evaluation | None
  warnings: tuple[str, ...]

  @property
  def labels(self) -> Labels:
    """Classes of the examples."""
    return _labels(self.dataset)

  @property
  def runs_listed(self) -> int:
    """Inputs that will be used or skipped."""
    return self.runs_unscored + self.runs_scored + len(self.skipped)

  @property
  def runs_unscored(self) -> int:
    """Runs whose outcomes are read."""
    return len(self.unscored) + sum(len(packed.runs) for packed in self.packed)


def plan_scoring(args: argparse.Namespace, options: PipelineOptions) -> Scoring:
  """Looks at everything that the job depends on, and writes nothing.

  Raises:
    UsageError: something is missing, or does not go together.
  """
  selection = _selection(args)
  staging = Staging.begin(args.scores, uuid.uuid4().hex)
  request = _request(args, selection, staging.job)
  appends = args.append and read_stub(args.scores) is not None
  if appends:
    # Before a data set is loaded, which may take long. Should others publish meanwhile, this job
    # will not.
    _check_appendable(read_manifest(args.scores), request)
  dataset = datasets.asked_dataset(args)
  evaluation = None
  if args.source == "checkpoints":
    evaluation = checkpoint_source.asked_evaluation(
      args, options, dataset, with_margins=selection.kind.is_soft
    )
  listing = require_runs(args.experiment)
  scored: set[RunKey] = set()
  parts: tuple[StoredPart, ...] = ()
  sizes = SetSizes(len(dataset.train), len(dataset.test)) if dataset else None
  if appends:
    with open_scores(args.scores) as former:
      scored = _runs_of(former)
      parts = former.manifest.parts_of("outcomes")
      sizes = _sizes_of(former.manifest, sizes, args)
      if dataset:
        check_index(args.scores, former.table("index"), dataset)
  unscored = tuple(run for run in listing.runs if run.key not in scored)
  left = (packed.without(scored) for packed in listing.packed)
  packed, skipped = tuple(packed for packed in left if packed.runs), listing.skipped
  if evaluation is not None:
    skipped += tuple(
      Skipped(part.path_of(run), NO_CHECKPOINT) for part in packed for run in part.runs
    )
    packed = ()
  if selection.kind.name == "probability":
    by_max = [part for part in packed if part.margin == "max"]
    skipped += tuple(Skipped(part.path_of(run), _BY_MAX) for part in by_max for run in part.runs)
    packed = tuple(part for part in packed if part.margin != "max")
  most_runs = max(Counter(key.subset_ratio for key in {*scored, *listing.keys}).values())
  return Scoring(
    request,
    staging,
    selection,
    listing,
    skipped,
    unscored,
    packed,
    parts,
    len(scored),
    sizes,
    bool(parts),
    dataset,
    choose_block_size(
      args.worker_memory,
      most_runs,
      _num_test(sizes, unscored, packed),
      args.dense,
      selection.kind,
    ),
    evaluation,
    warnings=(
      *(dataset.warnings if dataset else ()),
      *(_doubt_margins(len(unscored), packed) if selection.kind.name == "margin" else ()),
    ),
  )


def _doubt_margins(directories: int, packed: Sequence[PackedRuns]) -> Iterator[str]:
  """Yields what to know of margins that are no log-odds."""
  by_max = sum(len(part.runs) for part in packed if part.margin == "max")
  runs = directories + sum(len(part.runs) for part in packed)
  if by_max:
    apart = "" if by_max == runs else ", as those of the others are: score the two apart"
    yield (
      f"{by_max:,} of {runs:,} runs record margins by max, the label's logit minus the largest "
      f"other, which are no log-odds{apart}"
    )


def _runs_of(scores: Scores) -> set[RunKey]:
  rows = scores.table("outcomes").select(["subset_ratio", "run"]).to_pylist()
  return {RunKey(**row) for row in rows}


def _sizes_of(former: Manifest, sizes: SetSizes | None, args: argparse.Namespace) -> SetSizes:
  """Returns the sizes of the scores that are appended to.

  Raises:
    UsageError: they are not those of the data set.
  """
  scored = SetSizes(former.examples.train, former.examples.test, former.examples.train_recorded)
  if sizes is not None and not scored.lacks_only_sides_of(sizes):
    raise UsageError(
      f"--append: {args.scores} holds scores of {scored.num_train:,} training and "
      f"{scored.num_test:,} test examples, which is not --dataset={args.dataset}"
    )
  return scored


def _check_appendable(former: Manifest, request: Request) -> None:
  """Makes sure that old and new outcomes are of one kind, so that they may be counted together.

  Raises:
    UsageError: they are not.
  """
  for name, was, now in (
    ("outcome", former.options.outcome, request.options.outcome),
    ("source", former.source, request.source),
    ("dataset", former.dataset, request.dataset),
    ("model", former.model, request.model),
    ("precision", former.options.precision, request.options.precision),
    ("checkpoint", former.options.checkpoint, request.options.checkpoint),
  ):
    if was != now:
      raise UsageError(
        f"--append: the scores there were made with {_flag(name, was)}, not {_flag(name, now)}: "
        "use the same, or score anew without --append"
      )


def _flag(name: str, value: str | int | None) -> str:
  return f"--{name}={value}" if value is not None else f"no --{name}"


def _num_test(
  sizes: SetSizes | None, runs: Sequence[RunDirectory], packed: Sequence[PackedRuns]
) -> int:
  """Returns the number of test examples, from the first readable run if need be."""
  if sizes is not None:
    return sizes.num_test
  if packed:
    return max(part.num_test for part in packed)
  for run in runs:
    with contextlib.suppress(aux_arrays.AuxArraysError):
      return aux_arrays.read(run).num_test
  return 0


def _selection(args: argparse.Namespace) -> PairSelection:
  pairs = args.pairs or ("same_class" if args.dataset else "all")
  if pairs == "same_class" and not args.dataset:
    raise UsageError("--pairs=same_class needs labels: give --dataset, or use --pairs=all")
  if args.top_k is not None and args.top_k < 1:
    raise UsageError(f"--top_k={args.top_k}: at least one pair is kept per example")
  kind = OUTCOME_KINDS[args.outcome]
  least = {}
  for name in ("min_influence", "min_memorization"):
    asked = getattr(args, name)
    least[name] = getattr(kind, name) if asked is None else asked
    lowest, highest = kind.bounds
    if not (math.isfinite(least[name]) and lowest <= least[name] <= highest):
      bounded = math.isfinite(highest)
      what = f"scores lie between {lowest} and {highest}" if bounded else "it must be finite"
      raise UsageError(f"--{name}={asked}: {what}")
  return PairSelection(**least, same_class=pairs == "same_class", top_k=args.top_k, kind=kind)


def _labels(dataset: Dataset | None) -> Labels:
  if dataset is None:
    return Labels(None, None)
  smallest = np.min_scalar_type(dataset.num_classes)  # the labels travel with the job description
  return Labels(dataset.train.labels.astype(smallest), dataset.test.labels.astype(smallest))


def _request(args: argparse.Namespace, selection: PairSelection, job: str) -> Request:
  return Request(
    experiment=args.experiment,
    job=job,
    created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    source=args.source,
    dataset=args.dataset,
    model=args.model,
    options=Options(
      pairs="same_class" if selection.same_class else "all",
      min_influence=selection.min_influence,
      min_memorization=selection.min_memorization,
      top_k=selection.top_k,
      gpu=args.gpu and args.gpu.name,
      **{name: getattr(args, name) for name in _KEPT_OPTIONS},
    ),
    versions={
      "python": platform.python_version(),
      **{name: importlib.metadata.version(name) for name in _VERSIONS},
    },
  )
