"""What an evaluation of checkpoints is, and what it measures."""

from __future__ import annotations

import dataclasses

from apache_beam.metrics import Metrics

from beam_pipelines.storage.runs.judgement import WantedCheckpoint
from beam_pipelines.transforms.fetch_checkpoints import FetchedRun

NAMESPACE = "EvaluateCheckpoints"
"""Of the metrics: counters `checkpoints`, `images` and `bytes_read`, and per checkpoint the
distributions `restore_usecs`, `forward_usecs` and `waiting_usecs` (for files, or for the other
threads that share the evaluator)."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """How checkpoints are evaluated, the same for all runs of an experiment.

  Attributes:
    dataset: spec of the data set.
    data_dir: where `tfds:` data sets lie, or None.
    model: name of the architecture.
    precision: "float32" or "bfloat16".
    xla: whether XLA compiles the evaluation.
    batch_size: most images in one forward pass; None chooses it by image size and device.
    checkpoint: which checkpoint of a run; None: the only one.
    margins: whether outcomes have margins, too.
    resident: how many checkpoints share a pass over a data set that is streamed; None: it is held
      in memory, and one checkpoint comes after the other.
  """

  dataset: str
  data_dir: str | None
  model: str
  precision: str = "float32"
  xla: bool = False
  batch_size: int | None = None
  checkpoint: WantedCheckpoint = None
  margins: bool = False
  resident: int | None = None


class EvaluationMetrics:
  """Counts what is evaluated; see `NAMESPACE`."""

  def __init__(self) -> None:
    self._checkpoints = Metrics.counter(NAMESPACE, "checkpoints")
    self._images = Metrics.counter(NAMESPACE, "images")
    self._bytes = Metrics.counter(NAMESPACE, "bytes_read")
    self._restore = Metrics.distribution(NAMESPACE, "restore_usecs")
    self._forward = Metrics.distribution(NAMESPACE, "forward_usecs")
    self._waiting = Metrics.distribution(NAMESPACE, "waiting_usecs")

  def measure(self, fetched: FetchedRun, images: int, waiting: float, forward: float) -> None:
    """Takes note of one checkpoint; times are in seconds."""
    self._checkpoints.inc()
    self._images.inc(images)
    self._bytes.inc(fetched.bytes)
    self._restore.update(round(1e6 * fetched.seconds))
    self._forward.update(round(1e6 * forward))
    self._waiting.update(round(1e6 * waiting))
