"""Whether a run can be used, and why not: the one judgement that every command takes and shows.

From recorded outcomes a run needs arrays that `aux_arrays.decode` takes, with margins where those
are scored, of the sizes of the data set or of the other runs. From checkpoints it needs its subset
and one whole checkpoint. From either it must be complete, and must not have diverged in training.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

import files
from beam_pipelines.storage.runs import aux_arrays, packed_part
from beam_pipelines.storage.runs.experiment import RunDirectory
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.runs.packs import PackedRuns
from beam_pipelines.storage.runs.run_place import AUX_ARRAYS, CHECKPOINTS
from files.npz import NpzError, read_arrays

TRAINING_LOSS = "training_loss"

_DIRECTORY_BYTES = 1 << 14  # of an archive's end, where its directory names what it holds

WantedCheckpoint = int | Literal["latest"] | None
"""Which of a run's checkpoints is meant: that of an epoch, the latest, or the only one."""


class WayOut(enum.Enum):
  """What whoever asks for a run could say, so that it can be used."""

  CHOOSE_CHECKPOINT = enum.auto()
  NAME_DATASET = enum.auto()
  EVALUATE_CHECKPOINTS = enum.auto()


class UnusableRunError(ValueError):
  """A run cannot be used; the message says why.

  Attributes:
    way_out: what would help to say, or None.
  """

  def __init__(self, reason: str, way_out: WayOut | None = None):
    super().__init__(reason)
    self.way_out = way_out


NO_CHECKPOINT = "is packed: outcomes alone, without a checkpoint"


class DivergedRunError(UnusableRunError):
  """The training of a run has recorded a loss that is not finite."""


class SetSizes(NamedTuple):
  """How many examples the training and the test set have, and which have outcomes.

  Attributes:
    num_train: training examples.
    num_test: test examples; 0 where no outcomes on them were recorded.
    train_recorded: whether outcomes on training examples were.
  """

  num_train: int
  num_test: int
  train_recorded: bool = True

  @classmethod
  def of(cls, outcome: RunOutcome) -> SetSizes:
    """Returns the sizes of the sets that an outcome is about."""
    return cls(outcome.num_train, outcome.num_test, outcome.train_recorded)

  def lacks_only_sides_of(self, full: SetSizes) -> bool:
    """Whether these are the full sizes, but for a side without outcomes."""
    return self.num_train == full.num_train and self.num_test in (0, full.num_test)

  def __str__(self) -> str:
    without = "" if self.train_recorded else " (those without outcomes)"
    return f"{self.num_train:,} training{without} and {self.num_test:,} test examples"


def fetch_arrays(run: RunDirectory) -> bytes:
  """Returns the content of a run's `aux_arrays.npz`.

  Raises:
    UnusableRunError: the run is not complete, or cannot be read.
    DivergedRunError: it has diverged in training.
  """
  ((_, fetched),) = fetch_many([run])
  if isinstance(fetched, UnusableRunError):
    raise fetched
  return fetched


def fetch_many(
  runs: Sequence[RunDirectory],
) -> Iterator[tuple[RunDirectory, bytes | UnusableRunError]]:
  """Yields runs of one experiment in order, with what `fetch_arrays` returns or raises for each.

  Several are read at the same time, and the next while these are used.
  """
  for run, fetched in aux_arrays.fetch_many(runs):
    problem = _find_problem(run, [AUX_ARRAYS])
    if problem:
      yield run, UnusableRunError(problem)
    elif isinstance(fetched, aux_arrays.AuxArraysError):
      yield run, UnusableRunError(str(fetched))
    else:
      loss = _training_loss(fetched)
      diverged = loss is not None and not math.isfinite(loss)
      reason = f"has diverged in training: {TRAINING_LOSS} in {AUX_ARRAYS} is {loss}"
      yield run, DivergedRunError(reason) if diverged else fetched


def read_outcome(run: RunDirectory, content: bytes, *, with_margins: bool = False) -> RunOutcome:
  """Returns the recorded outcome of a run, from what `fetch_arrays` returns.

  Args:
    run: the run.
    content: its arrays.
    with_margins: as for `aux_arrays.decode`.

  Raises:
    UnusableRunError: the arrays are not as `aux_arrays.decode` wants them.
  """
  try:
    return aux_arrays.decode(run.key, content, with_margins=with_margins)
  except aux_arrays.NoMarginsError as error:
    raise UnusableRunError(str(error), WayOut.EVALUATE_CHECKPOINTS) from error
  except aux_arrays.AuxArraysError as error:
    raise UnusableRunError(str(error)) from error


def read_packed(
  packed: PackedRuns, *, with_margins: bool = False
) -> Iterator[tuple[int, RunOutcome | UnusableRunError]]:
  """Yields the ids of packed runs, with the outcome of each or why it cannot be used."""
  left = list(packed.runs)
  try:
    for outcome in packed_part.read(packed, with_margins=with_margins):
      left.remove(outcome.key.run)
      yield outcome.key.run, outcome
  except packed_part.PartError as error:
    for run in left:
      yield run, UnusableRunError(str(error))


def read_subset(content: bytes, num_train: int) -> np.ndarray:
  """Returns which examples a run saw, bool [num_train], from what `fetch_arrays` returns.

  Raises:
    UnusableRunError: the arrays do not say.
  """
  try:
    return aux_arrays.decode_subset(content, num_train)
  except aux_arrays.AuxArraysError as error:
    raise UnusableRunError(str(error)) from error


def agree_on_sizes(
  counts: Iterable[tuple[SetSizes, int]], full: SetSizes | None = None
) -> tuple[SetSizes, ...]:
  """Returns the sizes that most runs have: one, or several if as many runs have each.

  Args:
    counts: how many runs have which sizes.
    full: those of the data set, if it is known: then only these count, or these but for a side
      that has no outcomes; of equally frequent ones, those with more.
  """
  by_sizes = [(SetSizes(*sizes), count) for sizes, count in counts]
  if full is not None:
    fitting = [(count, sizes) for sizes, count in by_sizes if sizes.lacks_only_sides_of(full)]
    return (max(fitting, key=lambda found: (found[0], *found[1]))[1],) if fitting else (full,)
  most = max((count for _, count in by_sizes), default=0)
  return tuple(sorted(sizes for sizes, count in by_sizes if count == most))


def check_sizes(found: SetSizes, agreed: Sequence[SetSizes]) -> None:
  """Makes sure that a run is of the sizes that were agreed on.

  Args:
    found: those of the run.
    agreed: those of the data set alone, or from `agree_on_sizes`.

  Raises:
    UnusableRunError: it is of others, or several are equally frequent and none can be chosen.
  """
  agreed = [SetSizes(*sizes) for sizes in agreed]
  if len(agreed) == 1 and found == agreed[0]:
    return
  others = " or ".join(
    f"{sizes.num_train:,} and {sizes.num_test:,}"
    if sizes.train_recorded == found.train_recorded
    else str(sizes)
    for sizes in agreed
    if sizes != found
  )
  if len(agreed) == 1:
    raise UnusableRunError(f"is of {found}, not {others}")
  how_many = "as many runs are" if found in agreed else "more runs are"
  raise UnusableRunError(
    f"is of {found}, and {how_many} of {others}: only the data set tells which is right",
    WayOut.NAME_DATASET,
  )


def choose_checkpoint(run: RunDirectory, wanted: WantedCheckpoint = None) -> str:
  """Returns the name (`ckpt-<epoch>`) of the checkpoint to evaluate, going by the run's files.

  Raises:
    UnusableRunError: the run has none, not the one that is wanted, or several of which none is; or
      a file of it is not there.
  """
  if problem := _find_problem(run, [CHECKPOINTS]):
    raise UnusableRunError(problem)
  name = _choose(run.checkpoint_names, wanted)
  if missing := _missing_shard(run, name):
    raise UnusableRunError(f"{CHECKPOINTS}/{name} is not whole: there is no {missing}")
  if problem := _find_problem(run, [file.name for file in checkpoint_files(run, name)]):
    raise UnusableRunError(problem)
  return name


def checkpoint_files(run: RunDirectory, name: str) -> list[files.FileInfo]:
  """Returns the files of a checkpoint, by names below the run's directory."""
  return [file for file in run.files if file.name.startswith(f"{CHECKPOINTS}/{name}.")]


def _find_problem(run: RunDirectory, names: Container[str]) -> str | None:
  """Returns what is wrong with the first of some files that is there and cannot be read."""
  broken = (file for file in run.files if file.problem and file.name in names)
  return next((f"{file.name} {file.problem}" for file in broken), None)


def _training_loss(content: bytes) -> float | None:
  """Returns the loss that our own training records beside the outcome."""
  if TRAINING_LOSS.encode() not in content[-_DIRECTORY_BYTES:]:
    return None  # as in runs that were trained elsewhere: no need to read the directory for it
  try:
    recorded = read_arrays(content, [TRAINING_LOSS]).get(TRAINING_LOSS)
  except NpzError:  # whoever needs the other arrays says what is wrong
    return None
  if recorded is None or recorded.shape or recorded.dtype.kind != "f":
    return None
  return float(recorded)


def _choose(names: Sequence[str], wanted: WantedCheckpoint) -> str:
  if not names:
    raise UnusableRunError(f"has no checkpoint: there is no {CHECKPOINTS}/ckpt-<epoch>.index")
  by_epoch = {int(name.removeprefix("ckpt-")): name for name in names}
  listed = ", ".join(by_epoch[epoch] for epoch in sorted(by_epoch))
  if wanted == "latest":
    return by_epoch[max(by_epoch)]
  if wanted is not None:
    if wanted not in by_epoch:
      raise UnusableRunError(f"has no checkpoint of epoch {wanted}: there is {listed}")
    return by_epoch[wanted]
  if len(names) > 1:
    raise UnusableRunError(
      f"has {len(names)} checkpoints, not one: {listed}", WayOut.CHOOSE_CHECKPOINT
    )
  return names[0]


def _missing_shard(run: RunDirectory, name: str) -> str | None:
  """Returns the first data file that a checkpoint lacks; the names of the others say how many."""
  prefix = f"{CHECKPOINTS}/{name}.data-"
  shards = [
    re.fullmatch(r"(\d{5})-of-(\d{5})", file.name.removeprefix(prefix), re.ASCII)
    for file in run.files
    if file.name.startswith(prefix)
  ]
  there = {match[0] for match in shards if match}
  needed = [
    [f"{shard:05d}-of-{count}" for shard in range(int(count))]
    for count in sorted({match[2] for match in shards if match}) or ["00001"]
  ]
  missing = [next((shard for shard in all_of if shard not in there), None) for all_of in needed]
  return None if None in missing else f"{prefix}{missing[0]}"
