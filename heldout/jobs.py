"""The commands as functions: the same flags, the same checks, exceptions in place of exits.

Each takes what its command cannot do without, and any other flag of it by name, as `heldout COMMAND
--help_all` lists them: `dry_run=True` for `--dry_run`, `ratios=[0.3, 0.7]` for `--ratios=0.3,0.7`,
`runs=range(200)` for `--runs=0:200`. None and False are as good as absent. Flags of Apache Beam are
taken as well, such as `direct_num_workers=2`. What a command prints, its function prints.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence

from beam_pipelines.launch import command
from heldout.scores import Scores, read_scores

Flag = str | int | float | bool | range | os.PathLike[str] | Sequence[str | int | float] | None
"""What a flag may be given."""

StrPath = str | os.PathLike[str]


def build_tfrecords(images: StrPath, *, split: str, output: StrPath, **flags: Flag) -> None:
  """Writes a tree of image files as a data set that is streamed.

  Args:
    images: directory of the images.
    split: which of the two splits it is, "train" or "validation".
    output: directory of the TFRecords.
    **flags: the others of `heldout build-tfrecords`, such as `index`.

  Raises:
    UsageError: the tree makes no data set, or its index is another's.
  """
  _run("build_tfrecords", images=images, split=split, output=output, **flags)


def train(experiment: StrPath, *, dataset: str, runs: range | str, **flags: Flag) -> None:
  """Trains subset runs; complete ones are kept, and only the others trained.

  Args:
    experiment: directory of run directories.
    dataset: spec of the data set.
    runs: run ids at each ratio.
    **flags: the others of `heldout train`.

  Raises:
    UsageError: something is wrong with the arguments, or runs are missing afterwards.
  """
  _run("train", experiment=experiment, dataset=dataset, runs=runs, **flags)


def ingest(experiment: StrPath, **flags: Flag) -> None:
  """Streams an archive of runs into run directories.

  Args:
    experiment: directory of run directories.
    **flags: the others of `heldout ingest`, `released` or `archive` among them.

  Raises:
    UsageError: something is wrong with the arguments or the archive.
  """
  _run("ingest", experiment=experiment, **flags)


def import_outcomes(experiment: StrPath, *, layout: str, **flags: Flag) -> None:
  """Makes packed runs of what was trained and evaluated elsewhere.

  Args:
    experiment: directory of runs, or a new one.
    layout: of the outcomes, such as "arrays": the flag `--from`.
    **flags: the others of `heldout import-outcomes`, `source` or `masks` and `correct` among them.

  Raises:
    UsageError: something is wrong with the arguments or the files, and nothing was imported.
  """
  _run("import_outcomes", experiment=experiment, **{"from": layout}, **flags)


def subsets(output: StrPath, *, runs: range | str, **flags: Flag) -> None:
  """Writes the subsets that runs would have, for training elsewhere.

  Args:
    output: the `.npy` file.
    runs: run ids.
    **flags: the others of `heldout subsets`, `dataset` or `num_train` among them.

  Raises:
    UsageError: something is wrong with the arguments.
  """
  _run("subsets", output=output, runs=runs, **flags)


def inspect(experiment: StrPath, **flags: Flag) -> None:
  """Says what is in an experiment directory.

  Args:
    experiment: directory of run directories.
    **flags: the others of `heldout inspect`.

  Raises:
    UsageError: there is nothing, or an argument is wrong.
  """
  _run("inspect", experiment=experiment, **flags)


def score(experiment: StrPath, scores: StrPath, **flags: Flag) -> Scores | None:
  """Turns outcomes of runs into score tables.

  Args:
    experiment: directory of run directories.
    scores: directory for the tables.
    **flags: the others of `heldout score`; with `dataset`, labels and an index of the examples.

  Returns:
    The scores; None if nothing was scored now: a dry run, or a template.

  Raises:
    UsageError: something is wrong with the arguments or the runs, and nothing was published.
  """
  _run("score", experiment=experiment, scores=scores, **flags)
  return None if flags.get("dry_run") or flags.get("template_location") else read_scores(scores)


def verify(experiment: StrPath, *, dataset: str, model: str, **flags: Flag) -> bool:
  """Compares what checkpoints predict with what their runs have recorded.

  Args:
    experiment: directory of run directories.
    dataset: spec of the data set that they were trained on.
    model: their architecture.
    **flags: the others of `heldout verify`.

  Returns:
    Whether no run differs by more than the tolerance.

  Raises:
    UsageError: something is wrong with the arguments, or no run can be verified.
  """
  return not _run("verify", experiment=experiment, dataset=dataset, model=model, **flags)


def report(scores: StrPath, *, dataset: str, output: StrPath, **flags: Flag) -> None:
  """Shows score tables as one HTML file.

  Args:
    scores: directory of score tables.
    dataset: spec of the data set that was scored.
    output: the file.
    **flags: the others of `heldout report`.

  Raises:
    UsageError: the scores are not of this data set, or cannot be read.
  """
  _run("report", scores=scores, dataset=dataset, output=output, **flags)


def explain(scores: StrPath, *, dataset: str, **flags: Flag) -> None:
  """Says which examples influence one, or are influenced by it.

  Args:
    scores: directory of score tables.
    dataset: spec of the data set that was scored.
    **flags: the others of `heldout explain`, `test_example` or `train_example` among them.

  Raises:
    UsageError: the scores are not of this data set, or there is no such example.
  """
  _run("explain", scores=scores, dataset=dataset, **flags)


def doctor(**flags: Flag) -> bool:
  """Says whether this machine has what jobs need.

  Args:
    **flags: those of `heldout doctor`.

  Returns:
    Whether nothing failed.
  """
  return not _run("doctor", **flags)


def export(scores: StrPath | None = None, *, format: str, output: StrPath, **flags: Flag) -> None:
  """Writes scores as a published file, or outcomes as another tool has them.

  Args:
    scores: directory of score tables; None where `experiment` is given.
    format: one of those in docs/published_formats.md, or in docs/outcomes_for_others.md.
    output: the file, or a directory for outcomes.
    **flags: the others of `heldout export`, `experiment` among them.

  Raises:
    UsageError: the scores lack what the format holds, or cannot be read.
  """
  _run("export", scores=scores, format=format, output=output, **flags)


def compare(a: StrPath, b: StrPath, **flags: Flag) -> None:
  """Says how far two scores agree.

  Args:
    a: a scores directory, or a published file.
    b: another of either.
    **flags: those of `heldout compare`.

  Raises:
    UsageError: either cannot be read, or they have nothing in common.
  """
  _run("compare", a, b, **flags)


def _run(name: str, *positional: StrPath, **flags: Flag) -> int:
  run: command.Run = importlib.import_module(f"beam_pipelines.{name}").run
  with command.quiet(verbose=bool(flags.get("verbose"))):
    return run([*(os.fspath(path) for path in positional), *_written(flags)])


def _written(flags: Mapping[str, Flag]) -> Iterator[str]:
  """Yields flags as a command line has them."""
  for name, value in flags.items():
    if value is True:
      yield f"--{name}"
    elif value is not None and value is not False:
      yield f"--{name}={_text(value)}"


def _text(value: Flag) -> str:
  if isinstance(value, range):
    return f"{value.start}:{value.stop}"
  if isinstance(value, Sequence) and not isinstance(value, str):
    return ",".join(map(str, value))
  return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
