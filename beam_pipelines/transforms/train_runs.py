"""Training as a transform: chunks of runs in, complete run directories out."""

from __future__ import annotations

import dataclasses
import functools
import math
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared

import files
from beam_pipelines.storage.runs import aux_arrays
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.runs.run_place import AUX_ARRAYS, CHECKPOINTS, RunKey
from beam_pipelines.transforms.predictions import pack_outcome
from files import scratch
from image_datasets import (
  Dataset,
  ImageDataset,
  StreamedDataset,
  all_batches,
  all_labels,
  load_dataset,
)
from models.hyper_parameters import HyperParameters

if TYPE_CHECKING:
  from models.evaluator import Evaluator
  from models.stream_evaluator import StreamEvaluator
  from models.stream_trainer import StreamTrainer
  from models.trainer import Trainer

_ATTEMPTS = 3


@dataclasses.dataclass(frozen=True)
class TrainingTask:
  """What is trained, the same for all runs of an experiment.

  Attributes:
    experiment: the directory that the runs go to.
    dataset: spec of the data set.
    data_dir: where `tfds:` data sets lie, or None.
    model: name of the architecture.
    seed: with the subset ratio and run id, it determines everything random about a run.
    stack: runs trained in one graph.
    hyper_parameters: see `models.HyperParameters`.
    margins: whether runs record margins, too.
  """

  experiment: str
  dataset: str
  data_dir: str | None
  model: str
  seed: int
  stack: int
  hyper_parameters: HyperParameters
  margins: bool = True


@dataclasses.dataclass
class TrainRuns(beam.PTransform):
  """Trains runs and writes their run directories.

  Input: tuples of `RunKey`s of one subset ratio, at most `task.stack` long: a chunk trains in one
  graph. Output: the `RunKey`s written. Data set, graph and evaluator are made once per process and
  shared by its threads. Repeating a chunk writes the same files again.

  Args:
    task: what is trained.
    accelerator: Beam's resource hint for the training and nothing else, or None.
  """

  task: TrainingTask
  accelerator: str | None = None

  def expand(self, chunks: beam.PCollection[tuple[RunKey, ...]]) -> beam.PCollection[RunKey]:
    """Applies the DoFn."""
    train = beam.ParDo(_TrainChunk(self.task))
    if self.accelerator:
      train = train.with_resource_hints(accelerator=self.accelerator)
    return chunks | "Train chunk" >> train


class _TrainChunk(beam.DoFn):
  def __init__(self, task: TrainingTask):
    self._task = task
    self._shared = Shared()

  def setup(self) -> None:
    self._workshop = self._shared.acquire(lambda: _Workshop(self._task))

  def process(self, chunk: tuple[RunKey, ...]) -> Iterator[RunKey]:
    for finished in self._workshop.train(chunk):
      _write_run(self._task.experiment, finished)
      yield finished.outcome.key


class _FinishedRun(NamedTuple):
  outcome: RunOutcome
  training_loss: float
  checkpoint: Path  # prefix of local files, which are gone when the next run comes


class _Workshop:
  """What one process needs to train: the data, the trainer, the evaluator."""

  def __init__(self, task: TrainingTask):
    from models.architecture import Architecture
    from models.checkpoint import CheckpointWriter

    dataset = load_dataset(task.dataset, task.data_dir)
    self._num_train = len(dataset.train)
    self._epochs = task.hyper_parameters.epochs
    make = _in_memory if isinstance(dataset, ImageDataset) else _streamed
    self._trainer: Trainer | StreamTrainer
    self._evaluator: Evaluator | StreamEvaluator
    self._trainer, self._evaluator = make(task, dataset)
    architecture = Architecture(task.model, dataset.num_classes, dataset.image_shape)
    self._writer = CheckpointWriter(architecture)
    self._lock = threading.Lock()

  def train(self, chunk: tuple[RunKey, ...]) -> Iterator[_FinishedRun]:
    """Trains the runs side by side, then evaluates them and yields one after the other."""
    with self._lock:  # a trainer holds the weights of one chunk at a time
      trained_runs = self._trainer.train([(key.subset_ratio, key.run) for key in chunk])
    predicted = self._evaluator.predict_all([trained.weights for trained in trained_runs])
    for trained, predictions in zip(trained_runs, predicted, strict=True):
      in_subset = np.zeros(self._num_train, bool)
      in_subset[trained.subset] = True
      outcome = pack_outcome(RunKey(trained.subset_ratio, trained.run), in_subset, predictions)
      with scratch.local_directory() as directory:
        prefix = self._writer.write(
          directory, trained.weights, epoch=self._epochs, global_step=trained.global_step
        )
        loss = trained.training_loss if predictions.finite else math.nan
        yield _FinishedRun(outcome, loss, Path(prefix))


def _in_memory(task: TrainingTask, dataset: Dataset) -> tuple[Trainer, Evaluator]:
  """Makes trainer and evaluator on images that stay on the device."""
  from models.evaluator import Evaluator
  from models.trainer import Trainer

  held = cast(ImageDataset, dataset)
  trainer = Trainer(
    task.model,
    held.train.images,
    held.train.labels,
    num_classes=held.num_classes,
    pixel_max=held.pixel_max,
    hyper_parameters=task.hyper_parameters,
    seed=task.seed,
    stack=task.stack,
  )
  examples = held.all_examples
  evaluator = Evaluator(
    task.model,
    examples.images,
    examples.labels,
    num_classes=held.num_classes,
    pixel_max=held.pixel_max,
    margins=task.margins,
  )
  return trainer, evaluator


def _streamed(task: TrainingTask, dataset: Dataset) -> tuple[StreamTrainer, StreamEvaluator]:
  """Makes trainer and evaluator on images that are read whenever they are needed."""
  from models.stream_evaluator import StreamEvaluator
  from models.stream_trainer import StreamTrainer

  streamed = cast(StreamedDataset, dataset)
  trainer = StreamTrainer(
    task.model,
    streamed.train.batches,
    streamed.train.labels,
    num_classes=streamed.num_classes,
    image_shape=streamed.image_shape,
    hyper_parameters=task.hyper_parameters,
    seed=task.seed,
  )
  evaluator = StreamEvaluator(
    task.model,
    functools.partial(all_batches, streamed),
    all_labels(streamed),
    num_classes=streamed.num_classes,
    image_shape=streamed.image_shape,
    margins=task.margins,
  )
  return trainer, evaluator


def _write_run(experiment: str, finished: _FinishedRun) -> None:
  """Writes checkpoint and then `aux_arrays.npz`, in place of whatever was left half-written.

  Another process may write the same run meanwhile, and writes the same bytes. Whoever is first
  completes it, for good: only then is anything unfinished taken away, and whoever loses a file by
  that, or to what else happens there at once, finds the run complete.
  """
  directory = finished.outcome.key.directory(experiment)
  prefix = finished.checkpoint
  checkpoint = {
    files.join(CHECKPOINTS, file.name): file.read_bytes()
    for file in sorted(prefix.parent.glob(f"{prefix.name}.*"))
  }
  arrays = aux_arrays.encode(finished.outcome, finished.training_loss)
  for attempt in range(_ATTEMPTS):
    try:
      _complete_run(directory, checkpoint, arrays)
      files.delete_unfinished(directory)
      return
    except OSError:
      if attempt == _ATTEMPTS - 1:
        raise


def _complete_run(directory: str, checkpoint: Mapping[str, bytes], arrays: bytes) -> None:
  found = {info.name for info in files.list_files(directory)}
  if AUX_ARRAYS in found:
    return
  files.delete(files.join(directory, name) for name in found - checkpoint.keys())
  for name, content in checkpoint.items():
    files.write_bytes(files.join(directory, name), content)
  files.write_bytes(files.join(directory, AUX_ARRAYS), arrays)
