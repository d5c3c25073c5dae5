"""`heldout inspect`: says what an experiment directory holds, and what could be scored of it."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from beam_pipelines.launch import arguments, command, datasets
from beam_pipelines.launch.checkpoint_source import add_checkpoint_flag, add_model, describe_weights
from beam_pipelines.launch.groups import READS
from beam_pipelines.launch.outcome_flag import add_outcome
from beam_pipelines.launch.parser import Parser
from beam_pipelines.launch.progress import columns
from beam_pipelines.launch.terminal import warning
from beam_pipelines.storage.runs.experiment import (
  Listing,
  RunDirectory,
  Skipped,
  require_runs,
)
from beam_pipelines.storage.runs.judgement import (
  NO_CHECKPOINT,
  SetSizes,
  UnusableRunError,
  WantedCheckpoint,
  agree_on_sizes,
  check_sizes,
  choose_checkpoint,
  fetch_arrays,
  fetch_many,
  read_outcome,
  read_packed,
  read_subset,
)
from beam_pipelines.storage.runs.misreadings import RunTrace, find_misreadings
from beam_pipelines.storage.runs.outcome import Accuracies, RunOutcome
from beam_pipelines.storage.runs.packs import PackedRuns
from beam_pipelines.storage.runs.run_place import RunKey
from beam_pipelines.transforms.skip_runs import skip
from estimators.outcome_kinds import OUTCOME_KINDS
from files.errors import UsageError
from image_datasets import load_dataset

if TYPE_CHECKING:
  from models import VariableSpec

T = TypeVar("T")

_CONCURRENT_READS = 16


class _Recorded(NamedTuple):
  """What is kept of a run's recorded outcome."""

  accuracies: Accuracies
  sizes: SetSizes
  trace: RunTrace


class _Found(NamedTuple):
  """What lies there of a run, whether in a directory or in a pack."""

  key: RunKey
  path: str
  complete: bool
  bytes: float
  has_checkpoint: bool


class _Judged(NamedTuple):
  """A run with why it would be skipped, by where its outcome would come from; None if it is not."""

  run: _Found
  recorded: _Recorded | None
  skipped_recorded: Skipped | None
  skipped_checkpoint: Skipped | None


def run(argv: Sequence[str]) -> int:
  """Prints one line per subset ratio and one per problem; returns the exit status."""
  args, _ = make_parser().parse(argv)
  if args.model and not args.dataset:
    raise UsageError("--model needs --dataset: it says how large the images are")
  dataset = load_dataset(args.dataset, args.data_dir) if args.dataset else None
  specs = describe_weights(args.model, dataset) if dataset and args.model else None
  listing = require_runs(args.experiment)
  sizes = SetSizes(len(dataset.train), len(dataset.test)) if dataset else None
  with_margins = OUTCOME_KINDS[args.outcome].is_soft
  judged = _judge(listing, sizes, args.checkpoint, specs, with_margins=with_margins)
  print(
    "\n".join(
      [
        *(args.experiment, "", *_table(judged), ""),
        *_findings(judged, listing.skipped, read_checkpoints=specs is not None),
        *(
          warning(text, sys.stdout)
          for text in (*(dataset.warnings if dataset else ()), *_misreadings(judged))
        ),
      ]
    )
  )
  return 0


def make_parser() -> Parser:
  """Returns the parser of the command's flags."""
  parser = Parser(
    "inspect",
    "Says what is in an experiment directory: ratios, runs, accuracies, size, and what is wrong.\n"
    "Runs are judged as `heldout score` judges them, for both sources of outcomes.",
    "Examples:\n"
    "  heldout inspect --experiment=gs://bucket/cifar100-inception\n"
    "  heldout inspect --experiment=runs --dataset=digits --model=mlp",
  )
  parser.add(
    READS,
    "--experiment",
    type=arguments.path,
    required=True,
    metavar="DIR",
    help="what to inspect",
  )
  datasets.add_flags(
    parser, "data set whose sizes runs must have (default: most runs')", check=False
  )
  add_model(parser, "also read the checkpoints, of this architecture")
  add_checkpoint_flag(parser)
  add_outcome(parser)
  return parser


def _judge(
  listing: Listing,
  sizes: SetSizes | None,
  wanted: WantedCheckpoint,
  specs: Mapping[str, VariableSpec] | None,
  *,
  with_margins: bool,
) -> list[_Judged]:
  """Judges runs from both sources.

  Args:
    listing: the runs.
    sizes: of the data set; None: whatever most runs have.
    wanted: which of several checkpoints.
    specs: what the checkpoints must hold; None: go by the names of their files.
    with_margins: whether runs must record margins.
  """
  runs = listing.runs
  recorded = [
    _read(run, fetched, with_margins=with_margins)
    for run, fetched in _shown(fetch_many(runs), len(runs))
  ]
  from_packs = [
    _read_packed(packed, with_margins=with_margins)
    for packed in _shown(listing.packed, len(listing.packed))
  ]
  packed = list(itertools.chain.from_iterable(from_packs))
  everything = [*recorded, *(found for _, found in packed)]
  counts = Counter(found.sizes for found in everything if isinstance(found, _Recorded))
  agreed = agree_on_sizes(counts.items(), sizes) if packed or not sizes else (sizes,)
  train_sizes = {agreed_on.num_train for agreed_on in agreed}
  num_train = train_sizes.pop() if len(train_sizes) == 1 else None

  def judge(pair: tuple[RunDirectory, _Recorded | Skipped]) -> _Judged:
    run, found = pair
    known = found if isinstance(found, _Recorded) else None
    return _Judged(
      _Found(run.key, run.path, run.complete, run.bytes, bool(run.checkpoint_names)),
      known,
      found if isinstance(found, Skipped) else _judge_sizes(run.path, found.sizes, agreed),
      _judge_checkpoint(run, known, num_train, wanted, specs),
    )

  with ThreadPoolExecutor(_CONCURRENT_READS) as pool:
    judged = list(_shown(pool.map(judge, zip(runs, recorded, strict=True)), len(runs)))
  for run, found in packed:
    known = found if isinstance(found, _Recorded) else None
    skipped = found if isinstance(found, Skipped) else _judge_sizes(run.path, found.sizes, agreed)
    judged.append(_Judged(run, known, skipped, Skipped(run.path, NO_CHECKPOINT)))
  return sorted(judged, key=lambda row: row.run.key)


def _shown(items: Iterable[T], total: int) -> Iterable[T]:
  return tqdm(items, total=total, unit=" runs", disable=None, leave=False, ncols=columns())


def _read(
  run: RunDirectory, fetched: bytes | UnusableRunError, *, with_margins: bool
) -> _Recorded | Skipped:
  try:
    if isinstance(fetched, UnusableRunError):
      raise fetched
    outcome = read_outcome(run, fetched, with_margins=with_margins)
  except UnusableRunError as error:
    return skip(run.path, error)
  return _keep(outcome)


def _read_packed(
  packed: PackedRuns, *, with_margins: bool
) -> list[tuple[_Found, _Recorded | Skipped]]:
  share = packed.part.bytes / packed.part.rows
  read = []
  for run, found in read_packed(packed, with_margins=with_margins):
    path = packed.path_of(run)
    place = _Found(RunKey(packed.subset_ratio, run), path, True, share, False)
    read.append((place, _keep(found) if isinstance(found, RunOutcome) else skip(path, found)))
  return read


def _keep(outcome: RunOutcome) -> _Recorded:
  return _Recorded(outcome.accuracies(), SetSizes.of(outcome), RunTrace.of(outcome))


def _judge_sizes(path: str, found: SetSizes, agreed: Sequence[SetSizes]) -> Skipped | None:
  try:
    check_sizes(found, agreed)
  except UnusableRunError as error:
    return skip(path, error)
  return None


def _judge_checkpoint(
  run: RunDirectory,
  recorded: _Recorded | None,
  num_train: int | None,
  wanted: WantedCheckpoint,
  specs: Mapping[str, VariableSpec] | None,
) -> Skipped | None:
  """Judges as an evaluation does; without `specs`, all but what is in the checkpoint."""
  try:
    if specs is not None and num_train is not None:
      # TensorFlow is imported for whoever reads checkpoints, and for nobody else.
      from beam_pipelines.transforms.fetch_checkpoints import fetch_run

      fetch_run(run, num_train, specs, wanted)
    else:
      subset_is_known = recorded is not None and recorded.sizes.num_train == num_train
      if not subset_is_known:
        content = fetch_arrays(run)
        if num_train is not None:
          read_subset(content, num_train)
      choose_checkpoint(run, wanted)
  except ValueError as error:  # of this run, or of its checkpoint
    return skip(run.path, error)
  return None


def _table(judged: Sequence[_Judged]) -> Iterable[str]:
  yield (
    f"{'':>26}{'usable, from':>23}{'mean accuracy':>27}\n"
    f"{'ratio':>8}{'runs':>8}{'complete':>10}{'recorded':>10}{'checkpoints':>13}"
    f"{'train':>9}{'removed':>9}{'test':>9}{'MB':>12}"
  )
  for ratio in sorted({row.run.key.subset_ratio for row in judged}):
    yield _line(str(ratio), [row for row in judged if row.run.key.subset_ratio == ratio])
  yield _line("all", judged)


def _line(name: str, rows: Sequence[_Judged]) -> str:
  usable = [row.recorded.accuracies for row in _usable(rows) if row.recorded]
  complete = sum(row.run.complete for row in rows)
  means = "".join(
    _percent([getattr(accuracies, split) for accuracies in usable])
    for split in ("train", "removed", "test")
  )
  checkpoints = sum(row.skipped_checkpoint is None for row in rows)
  megabytes = sum(row.run.bytes for row in rows) / 1e6
  return (
    f"{name:>8}{len(rows):>8,}{complete:>10,}{len(usable):>10,}{checkpoints:>13,}{means}"
    f"{megabytes:>12,.1f}"
  )


def _usable(rows: Iterable[_Judged]) -> list[_Judged]:
  return [row for row in rows if row.skipped_recorded is None]


def _percent(values: Sequence[float | None]) -> str:
  defined = [value for value in values if value is not None]
  return f"{np.mean(defined):>9.2%}" if defined else f"{'-':>9}"


def _findings(
  judged: Sequence[_Judged], not_runs: Sequence[Skipped], *, read_checkpoints: bool
) -> Iterator[str]:
  yield from _verdict("from recorded outcomes", [row.skipped_recorded for row in judged])
  if any(row.run.has_checkpoint for row in judged):
    how = "" if read_checkpoints else ", by the names of their files"
    yield from _verdict(f"from checkpoints{how}", [row.skipped_checkpoint for row in judged])
  else:
    yield "from checkpoints, no run can be scored: there are none"
  if not_runs:
    yield f"skipped, although they look like runs: {len(not_runs):,}"
    yield from _lines(not_runs)


def _verdict(source: str, verdicts: Sequence[Skipped | None]) -> Iterator[str]:
  skipped = [verdict for verdict in verdicts if verdict]
  if skipped:
    yield f"{source}, {len(skipped):,} of {len(verdicts):,} runs cannot be scored:"
    yield from _lines(skipped)
  else:
    yield f"{source}, every run can be scored"


def _lines(skipped: Iterable[Skipped]) -> Iterator[str]:
  for entry in skipped:
    yield f"  {entry.path}: {entry.reason}"


def _misreadings(judged: Sequence[_Judged]) -> Iterable[str]:
  return find_misreadings(row.recorded.trace for row in _usable(judged) if row.recorded)


if __name__ == "__main__":
  command.execute_module("inspect", run)
