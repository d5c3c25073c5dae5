"""Evaluation as a transform: run directories in, outcomes and skipped runs out."""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, cast

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.pvalue import TaggedOutput

from beam_pipelines.storage.runs.experiment import RunDirectory, Skipped
from beam_pipelines.storage.runs.judgement import UnusableRunError
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.transforms.evaluate_stream import (
  EvaluateStream,
  note_progress,
  use_deterministic_gpu,
)
from beam_pipelines.transforms.evaluation import NAMESPACE, Evaluation, EvaluationMetrics
from beam_pipelines.transforms.fetch_checkpoints import FetchedRun, fetch_run
from beam_pipelines.transforms.predictions import pack_outcome, require_finite
from beam_pipelines.transforms.read_outcomes import OUTCOMES, SKIPPED
from beam_pipelines.transforms.skip_runs import skip
from files.read_ahead import map_ahead
from image_datasets import ImageDataset, load_dataset
from models import Architecture, CheckpointError, Evaluator, VariableSpec

_RUNS_PER_BATCH = 8
_FETCHED_AHEAD = 4

# Beam measures a model's memory only where PyTorch is installed, and warns everywhere else.
logging.getLogger().addFilter(lambda record: "Resource module is not" not in str(record.msg))


@dataclasses.dataclass
class EvaluateCheckpoints(beam.PTransform):
  """Evaluates the checkpoint of each run; what is wrong with one run concerns that run alone.

  Input: `RunDirectory`s. Output: a dict of `outcomes` (`RunOutcome`s, all of the data set's sizes)
  and `skipped` (`Skipped`s). Data set and compiled evaluator are made once per process and shared
  by its threads; a data set that is streamed serves a group of checkpoints in one pass, for others
  the files of the next runs are fetched while one is evaluated. Equal weights give
  equal bits on one kind of device.

  Args:
    evaluation: what is evaluated and how.
    accelerator: Beam's resource hint for the evaluation and nothing else, such as
      "type:nvidia-l4;count:1;install-nvidia-driver".
    progress: a directory that gets an empty file for each run that is done; None for none.
  """

  evaluation: Evaluation
  accelerator: str | None = None
  progress: str | None = None

  def expand(self, runs: beam.PCollection[RunDirectory]) -> dict[str, beam.PCollection]:
    """Evaluates, then tells outcomes from skipped runs."""
    if self.evaluation.resident is None:
      handler = _CheckpointHandler(self.evaluation, self.accelerator, self.progress)
      evaluated = runs | "Evaluate" >> RunInference(handler)
    else:
      stream = EvaluateStream(self.evaluation, self.accelerator, self.progress)
      evaluated = runs | "Evaluate in passes" >> stream
    told = evaluated | "Tell skipped" >> beam.Map(_tag_skipped).with_outputs(SKIPPED, main=OUTCOMES)
    return {OUTCOMES: told[OUTCOMES], SKIPPED: told[SKIPPED]}


@dataclasses.dataclass
class _LoadedEvaluator:
  """What one process needs to evaluate; whoever holds `lock` may."""

  evaluator: Evaluator
  specs: Mapping[str, VariableSpec]
  num_train: int
  lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


class _CheckpointHandler(ModelHandler[RunDirectory, RunOutcome | Skipped, _LoadedEvaluator]):
  """To Beam, an element is a run and the model is the evaluator."""

  def __init__(self, evaluation: Evaluation, accelerator: str | None, progress: str | None):
    super().__init__(min_batch_size=_RUNS_PER_BATCH, max_batch_size=_RUNS_PER_BATCH)
    self._evaluation = evaluation
    self._accelerator = accelerator
    self._progress = progress
    self._metrics = EvaluationMetrics()

  def load_model(self) -> _LoadedEvaluator:
    use_deterministic_gpu()
    asked = self._evaluation
    dataset = cast(ImageDataset, load_dataset(asked.dataset, asked.data_dir))
    examples = dataset.all_examples
    evaluator = Evaluator(
      asked.model,
      examples.images,
      examples.labels,
      num_classes=dataset.num_classes,
      pixel_max=dataset.pixel_max,
      batch_size=asked.batch_size,
      precision=asked.precision,
      xla=asked.xla,
      margins=asked.margins,
    )
    architecture = Architecture(asked.model, dataset.num_classes, dataset.image_shape)
    return _LoadedEvaluator(evaluator, architecture.specs, len(dataset.train))

  def run_inference(
    self,
    batch: Sequence[RunDirectory],
    model: _LoadedEvaluator,
    inference_args: dict[str, Any] | None = None,
  ) -> Iterator[RunOutcome | Skipped]:
    fetch = functools.partial(
      fetch_run,
      num_train=model.num_train,
      specs=model.specs,
      wanted=self._evaluation.checkpoint,
    )
    for run, fetching in map_ahead(fetch, batch, _FETCHED_AHEAD):
      evaluated = self._evaluate(run, fetching, model)
      if self._progress:
        note_progress(self._progress, run)
      yield evaluated

  def get_metrics_namespace(self) -> str:
    return NAMESPACE

  def get_resource_hints(self) -> dict[str, str]:
    return {"accelerator": self._accelerator} if self._accelerator else {}

  def _evaluate(
    self, run: RunDirectory, fetching: Future[FetchedRun], model: _LoadedEvaluator
  ) -> RunOutcome | Skipped:
    asked = time.perf_counter()
    try:
      fetched = fetching.result()
    except (UnusableRunError, CheckpointError) as error:
      return skip(run.path, error)
    with model.lock:
      started = time.perf_counter()
      predictions = model.evaluator.predict(fetched.weights)
      finished = time.perf_counter()
    self._metrics.measure(
      fetched,
      len(predictions.correct),
      waiting=started - asked,
      forward=finished - started,
    )
    try:
      return pack_outcome(run.key, fetched.in_subset, require_finite(predictions))
    except UnusableRunError as error:
      return skip(run.path, error)


def _tag_skipped(evaluated: RunOutcome | Skipped) -> RunOutcome | TaggedOutput:
  return TaggedOutput(SKIPPED, evaluated) if isinstance(evaluated, Skipped) else evaluated
