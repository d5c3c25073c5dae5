"""Evaluation on a streamed data set as a transform: a pass over it for a group of checkpoints."""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

import apache_beam as beam
from apache_beam.utils.shared import Shared

import files
from beam_pipelines.storage.runs.experiment import RunDirectory, Skipped
from beam_pipelines.storage.runs.judgement import UnusableRunError
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.transforms.evaluation import Evaluation, EvaluationMetrics
from beam_pipelines.transforms.fetch_checkpoints import FetchedRun, fetch_run
from beam_pipelines.transforms.predictions import pack_outcome, require_finite
from beam_pipelines.transforms.skip_runs import skip
from files.read_ahead import map_ahead
from image_datasets import all_batches, all_labels, load_dataset
from models import Architecture, CheckpointError, StreamEvaluator, VariableSpec

_FETCHED_AHEAD = 4


@dataclasses.dataclass
class EvaluateStream(beam.PTransform):
  """Evaluates checkpoints in groups, each in one pass over the data set.

  Input: `RunDirectory`s. Output: a `RunOutcome` or a `Skipped` for each. Groups are cut from the
  sorted runs, so that all but the last are full. Data set and compiled evaluator are made once per
  process and shared by its threads, of which one passes at a time. A checkpoint's bits are the same
  in any group.

  Args:
    evaluation: what is evaluated and how; its `resident` checkpoints are held at a time.
    accelerator: Beam's resource hint for the evaluation and nothing else, or None.
    progress: a directory that gets an empty file for each run that is done; None for none.
  """

  evaluation: Evaluation
  accelerator: str | None = None
  progress: str | None = None

  def expand(self, runs: beam.PCollection[RunDirectory]) -> beam.PCollection[RunOutcome | Skipped]:
    """Cuts groups, evaluates each."""
    evaluate = beam.ParDo(_EvaluateGroup(self.evaluation, self.progress))
    if self.accelerator:
      evaluate = evaluate.with_resource_hints(accelerator=self.accelerator)
    return (
      runs
      | "Gather runs" >> beam.combiners.ToList()
      | "Cut groups" >> beam.FlatMap(cut_groups, self.evaluation.resident)
      | "One worker per group" >> beam.Reshuffle()
      | "Evaluate group" >> evaluate
    )


def cut_groups(runs: Sequence[RunDirectory], size: int) -> Iterator[list[RunDirectory]]:
  """Yields the runs in order, `size` at a time."""
  ordered = sorted(runs, key=lambda run: (run.key, run.path))
  for start in range(0, len(ordered), size):
    yield ordered[start : start + size]


@dataclasses.dataclass
class _Loaded:
  """What one process needs to evaluate; whoever holds `lock` holds a group's weights."""

  evaluator: StreamEvaluator
  specs: Mapping[str, VariableSpec]
  num_train: int
  num_examples: int
  lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


class _EvaluateGroup(beam.DoFn):
  def __init__(self, evaluation: Evaluation, progress: str | None):
    self._evaluation = evaluation
    self._progress = progress
    self._shared = Shared()
    self._metrics = EvaluationMetrics()

  def setup(self) -> None:
    self._loaded = self._shared.acquire(self._load)

  def process(self, group: Sequence[RunDirectory]) -> Iterator[RunOutcome | Skipped]:
    asked = time.perf_counter()
    with self._loaded.lock:  # taken before weights are read, so that one group is held at a time
      yield from self._evaluate(group, asked)

  def _load(self) -> _Loaded:
    asked = self._evaluation
    use_deterministic_gpu()
    dataset = load_dataset(asked.dataset, asked.data_dir)
    labels = all_labels(dataset)
    evaluator = StreamEvaluator(
      asked.model,
      functools.partial(all_batches, dataset),
      labels,
      num_classes=dataset.num_classes,
      image_shape=dataset.image_shape,
      batch_size=asked.batch_size,
      precision=asked.precision,
      xla=asked.xla,
      margins=asked.margins,
    )
    architecture = Architecture(asked.model, dataset.num_classes, dataset.image_shape)
    return _Loaded(evaluator, architecture.specs, len(dataset.train), len(labels))

  def _evaluate(
    self, group: Sequence[RunDirectory], asked: float
  ) -> Iterator[RunOutcome | Skipped]:
    loaded = self._loaded
    fetch = functools.partial(
      fetch_run,
      num_train=loaded.num_train,
      specs=loaded.specs,
      wanted=self._evaluation.checkpoint,
    )
    fetched: list[tuple[RunDirectory, FetchedRun]] = []
    for run, fetching in map_ahead(fetch, group, _FETCHED_AHEAD):
      try:
        fetched.append((run, fetching.result()))
      except (UnusableRunError, CheckpointError) as error:
        self._note(run)
        yield skip(run.path, error)
    if not fetched:
      return
    started = time.perf_counter()
    predicted = loaded.evaluator.predict_all([each.weights for _, each in fetched])
    finished = time.perf_counter()
    for (run, each), predictions in zip(fetched, predicted, strict=True):
      self._metrics.measure(
        each,
        loaded.num_examples,
        waiting=(started - asked) / len(fetched),
        forward=(finished - started) / len(fetched),
      )
      self._note(run)
      try:
        yield pack_outcome(run.key, each.in_subset, require_finite(predictions))
      except UnusableRunError as error:
        yield skip(run.path, error)

  def _note(self, run: RunDirectory) -> None:
    if self._progress:
      note_progress(self._progress, run)


def note_progress(directory: str, run: RunDirectory) -> None:
  """Says that a run is done, by an empty file."""
  files.write_bytes(files.join(directory, f"{run.key.subset_ratio}-{run.key.run}"), b"")


def use_deterministic_gpu() -> None:
  """Has a GPU, if there is one, choose the same algorithms in every process."""
  import tensorflow as tf  # after `models`, which imports it quietly

  if tf.config.list_physical_devices("GPU"):
    # Otherwise each process times convolution algorithms anew, and may choose others.
    tf.config.experimental.enable_op_determinism()
