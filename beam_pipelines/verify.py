"""`heldout verify`: compares what checkpoints predict with what their runs have recorded."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.pvalue import AsList
from pydantic import TypeAdapter, ValidationError

import files
from beam_pipelines.launch import arguments, command, datasets
from beam_pipelines.launch.checkpoint_source import (
  add_flags,
  asked_evaluation,
  evaluating,
  scratch_directory,
)
from beam_pipelines.launch.engines import prepare_job, print_plan
from beam_pipelines.launch.groups import COMPUTES, READS
from beam_pipelines.launch.job import Job
from beam_pipelines.launch.parser import Parser
from beam_pipelines.launch.terminal import BAD, GOOD, paint
from beam_pipelines.storage.runs.aux_arrays import SPLITS
from beam_pipelines.storage.runs.experiment import Listing, Skipped, require_runs
from beam_pipelines.storage.runs.judgement import NO_CHECKPOINT, SetSizes
from beam_pipelines.transforms.match_outcomes import MatchOutcomes, RunMatches
from beam_pipelines.transforms.read_outcomes import (
  OUTCOMES,
  SKIPPED,
  ReadRecordedOutcomes,
)
from files.errors import UsageError

if TYPE_CHECKING:
  from beam_pipelines.transforms.evaluate_checkpoints import Evaluation

_SHOWN = 20

# docs/precision.md has what was measured.
_TOLERANCES = {"float32": 0.001, "bfloat16": 0.01}


@dataclasses.dataclass(frozen=True)
class _Found:
  """What a job writes for the command that waits for it."""

  matches: list[RunMatches]
  skipped: list[Skipped]


_FOUND = TypeAdapter(_Found)


class _Verified(NamedTuple):
  matches: list[RunMatches]
  skipped: dict[str, str]  # reasons by path


def run(argv: Sequence[str]) -> int:
  """Prints matches per run and what differs; returns the exit status, 1 if too much does."""
  args, options = make_parser().parse(argv)
  if options.view_as(GoogleCloudOptions).template_location:
    raise UsageError("--template_location: `heldout verify` reads its job's result, so it must run")
  paths = {"--experiment": args.experiment}
  accelerator = prepare_job(args, options, paths, shares_scratch=True)
  dataset = datasets.required_dataset(args)
  command.show_warnings(dataset.warnings)
  listing = require_runs(args.experiment)
  evaluation = asked_evaluation(args, options, dataset)
  if args.dry_run:
    plan = f"would verify {len(listing.runs):,} runs of {args.experiment}, as {args.model}"
    print_plan(plan, options, accelerator)
    return 0
  sizes = SetSizes(len(dataset.train), len(dataset.test))
  verified = _verify(evaluation, accelerator, options, listing, sizes)
  if not verified.matches:
    path, reason = next(iter(verified.skipped.items()))
    raise UsageError(f"no run can be verified; the first: {path} {reason}")
  tolerance = _TOLERANCES[args.precision] if args.tolerance is None else args.tolerance
  differs = any(run.share_differing > tolerance for run in verified.matches)
  word = paint("verified", BAD if differs else GOOD, sys.stdout)
  print("\n".join([*_table(verified.matches), "", *_findings(verified, tolerance, word)]))
  return int(differs)


def make_parser() -> Parser:
  """Returns the parser of the command's flags."""
  parser = Parser(
    "verify",
    "Evaluates the checkpoint of every run and compares its predictions with the recorded ones,\n"
    "example by example. Runs that cannot be verified are listed with the reason.\n"
    "Exit status: 0, or 1 if some run differs by more than the tolerance, or 2 on an error.",
    "Example:\n  heldout verify --experiment=runs --dataset=digits --model=mlp",
    runs_jobs=True,
  )
  parser.add(
    READS,
    "--experiment",
    type=arguments.path,
    required=True,
    metavar="DIR",
    help="directory of run directories",
  )
  datasets.add_flags(parser, "data set that the runs were trained on", required=True)
  add_flags(parser, model_required=True)
  parser.add(
    COMPUTES,
    "--tolerance",
    type=_share,
    metavar="SHARE",
    help="of a run's predictions, at most, that may differ (default: 0.1%%, in bfloat16 1%%)",
  )
  parser.add_dry_run()
  return parser


def _share(text: str) -> float:
  number, percent, _ = text.partition("%")
  try:
    share = float(number) / (100 if percent else 1)
  except ValueError:
    share = float("nan")
  if not 0 <= share <= 1:
    raise argparse.ArgumentTypeError(f"{text!r} is no share: write one such as 0.1% or 0.001")
  return share


def _verify(
  evaluation: Evaluation,
  accelerator: str | None,
  options: PipelineOptions,
  listing: Listing,
  sizes: SetSizes,
) -> _Verified:
  with scratch_directory(options) as scratch:
    path = files.join(scratch, "verified.json")
    with (
      evaluating(evaluation, accelerator, options, len(listing.runs)) as evaluate,
      Job(options) as pipeline,
    ):
      runs = (
        pipeline | "Runs" >> beam.Create(listing.runs) | "One worker per run" >> beam.Reshuffle()
      )
      recorded = runs | "Read outcomes" >> ReadRecordedOutcomes(sizes)
      evaluated = runs | "Evaluate checkpoints" >> evaluate
      matches = (recorded[OUTCOMES], evaluated[OUTCOMES]) | "Match" >> MatchOutcomes()
      skipped = (recorded[SKIPPED], evaluated[SKIPPED]) | "Skipped" >> beam.Flatten()
      _ = (
        pipeline
        | "Once" >> beam.Create([path])
        | "Write" >> beam.Map(_write, AsList(matches), AsList(skipped))
      )
    if not files.exists(path):
      raise UsageError("workers on other machines need a --temp_location that they can write to")
    packed = [
      Skipped(part.path_of(run), NO_CHECKPOINT) for part in listing.packed for run in part.runs
    ]
    verified = _read(path, [*listing.skipped, *packed])
    _check_conservation(verified, listing)
    return verified


def _write(path: str, matches: Sequence[RunMatches], skipped: Sequence[Skipped]) -> None:
  files.write_bytes(path, _FOUND.dump_json(_Found(list(matches), list(skipped))))


def _read(path: str, listed: Sequence[Skipped]) -> _Verified:
  try:
    found = _FOUND.validate_json(files.read_document(path))
  except ValidationError as error:
    what = error.errors(include_url=False)[0]["msg"]
    raise UsageError(f"{path} is not what the job wrote ({what}): verify again") from None
  reasons = defaultdict(set)  # recorded outcome and checkpoint may both be unusable
  for skipped in [*listed, *found.skipped]:
    reasons[skipped.path].add(skipped.reason)
  return _Verified(
    sorted(found.matches), {path: "; ".join(sorted(reasons[path])) for path in sorted(reasons)}
  )


def _check_conservation(verified: _Verified, listing: Listing) -> None:
  """Makes sure that every run was verified or is named as not verified."""
  matched = {run.key for run in verified.matches}
  lost = [
    run.path for run in listing.runs if run.key not in matched and run.path not in verified.skipped
  ]
  if lost:
    raise UsageError(
      f"{len(lost):,} of {len(listing.runs):,} runs were neither verified nor skipped, such as "
      f"{lost[0]}: the runner lost them, use another --runner"
    )


def _table(matches: Sequence[RunMatches]) -> Iterator[str]:
  yield f"{'ratio':>8}{'run':>8}{''.join(f'{split:>24}' for split in SPLITS)}{'differing':>12}"
  for run in matches:
    yield _line(str(run.key.subset_ratio), str(run.key.run), run)
  yield _line("total", "", _total(matches))


def _total(matches: Sequence[RunMatches]) -> RunMatches:
  same, examples = (
    tuple(map(sum, zip(*columns, strict=True)))
    for columns in ([run.same for run in matches], [run.examples for run in matches])
  )
  return RunMatches(matches[0].key, same, examples)


def _line(ratio: str, name: str, run: RunMatches) -> str:
  counts = [f"{same:,}/{of:,}" for same, of in zip(run.same, run.examples, strict=True)]
  return (
    f"{ratio:>8}{name:>8}{''.join(f'{count:>24}' for count in counts)}{run.share_differing:>12.4%}"
  )


def _findings(verified: _Verified, tolerance: float, word: str) -> Iterator[str]:
  runs, total = verified.matches, _total(verified.matches)
  yield (
    f"{word} {len(runs):,} runs: {sum(total.same):,} of {sum(total.examples):,} predictions "
    "are the recorded ones"
  )
  differing = sorted(
    (run for run in runs if run.differing), key=lambda run: (-run.share_differing, run.key)
  )
  if differing:
    over = sum(run.share_differing > tolerance for run in differing)
    yield f"{len(differing):,} of {len(runs):,} runs differ, {over:,} by more than {tolerance:.4%}:"
    yield from _first(
      [
        f"  {run.key.subset_ratio}/{run.key.run}: {run.differing:,} of {sum(run.examples):,} "
        f"predictions ({run.share_differing:.4%})"
        for run in differing
      ]
    )
  if verified.skipped:
    yield f"not verified: {len(verified.skipped):,}"
    yield from _first([f"  {path}: {reason}" for path, reason in verified.skipped.items()])


def _first(lines: Sequence[str]) -> Iterator[str]:
  yield from lines[:_SHOWN]
  if len(lines) > _SHOWN:
    yield f"  … and {len(lines) - _SHOWN:,} more"


if __name__ == "__main__":
  command.execute_module("verify", run)
