"""Which examples a checkpoint classifies correctly, for thousands of checkpoints in turn."""

import functools
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from models.architecture import Architecture
from models.forward import Forward
from models.margins import margins as margins_of
from models.precision import PRECISIONS
from models.registry import ModelError
from models.weights import Weights

# Convolutions on a CPU are fastest while their activations stay near its caches.
_PIXELS_PER_BATCH = {"CPU": 1 << 21, "CPU, convolutions": 1 << 17, "GPU": 1 << 22}


class Predictions(NamedTuple):
  """What a checkpoint makes of the examples.

  Attributes:
    correct: bool [n], whether each example's largest logit is at its label.
    margins: float32 [n], its `models.margins.margins` in nats, of the same logits; None if the
      evaluator was not asked for them.
    finite: whether all logits are; otherwise the others mean nothing.
  """

  correct: np.ndarray
  margins: np.ndarray | None
  finite: bool


class Evaluator:
  """One compiled evaluation of one architecture on fixed examples.

  Building it traces the graph; a checkpoint then costs an assignment and the forward passes. The
  images stay on the device as uint8. Threads may share an evaluator: a lock holds one checkpoint's
  weights in place until its sweep is done. On one device and with one batch size, equal weights
  give equal bits.

  Example:
    >>> evaluator = Evaluator("mlp", images, labels, num_classes=10, pixel_max=255.0)
    >>> weights = read_weights(prefix, Architecture("mlp", 10, images.shape[1:]).specs)
    >>> evaluator.correct(weights)
    array([ True,  True, False, ...,  True,  True,  True])

  Args:
    model_name: one of `model_names()`.
    images: uint8 [n, height, width, channels], n at least 1.
    labels: int64 [n].
    num_classes: width of the logits.
    pixel_max: the pixel value that becomes 1.0.
    batch_size: most images in one forward pass; batches are made equally large. None chooses it by
      architecture, image size and device.
    precision: "float32", or "bfloat16" for matrix products and convolutions on bfloat16 weights
      and activations (normalisation statistics and logits stay float32).
    xla: compiles the sweep with XLA.
    margins: whether `predict` gives margins, too.

  Raises:
    ModelError: if the architecture does not exist or an argument is unusable.
  """

  def __init__(
    self,
    model_name: str,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    pixel_max: float,
    batch_size: int | None = None,
    precision: str = "float32",
    xla: bool = False,
    margins: bool = False,
  ):
    _check_arguments(images, labels, pixel_max, batch_size, precision)
    self._num_examples, *image_shape = images.shape
    # A constant divisor would become a product with its reciprocal, which rounds differently.
    self._pixel_max = tf.Variable(pixel_max, dtype=tf.float32, trainable=False)
    architecture = Architecture(model_name, num_classes, tuple(image_shape))
    batch_size = batch_size or default_batch_size(architecture)
    self._batches = math.ceil(len(images) / batch_size)
    self._batch_size = math.ceil(len(images) / self._batches)
    # The last batch is filled up with repeated examples, so that every batch has one shape.
    padded = self._batches * self._batch_size
    self._images = tf.constant(np.resize(images, (padded, *image_shape)))
    self._labels = tf.constant(np.resize(labels, padded))
    self._forward = Forward(architecture, self._batch_size, precision)
    self._margins = margins
    sweep = tf.function(self._sweep_batches, jit_compile=xla, autograph=False)
    self._sweep = sweep.get_concrete_function(self._forward.prepared_specs)
    self._lock = threading.Lock()

  def correct(self, weights: Weights) -> np.ndarray:
    """Returns whether each example's largest logit is at its label: bool [n].

    Args:
      weights: every variable of the architecture by checkpoint key, from `read_weights`.

    Raises:
      CheckpointError: if keys, shapes or dtypes of `weights` are not the architecture's.
    """
    return self.predict(weights).correct

  def predict(self, weights: Weights) -> Predictions:
    """Returns what `correct` returns, and margins if the evaluator was asked for them.

    Args:
      weights: as for `correct`.

    Raises:
      CheckpointError: as for `correct`.
    """
    with self._lock:
      prepared = self._forward.prepare(weights)
      finite, correct, *margins = (values.numpy() for values in self._sweep(prepared))
    return Predictions(correct, margins[0] if margins else None, bool(finite.all()))

  def predict_all(self, checkpoints: Iterable[Weights]) -> Iterator[Predictions]:
    """Yields what `predict` returns for each of several checkpoints, when it is asked for."""
    yield from map(self.predict, checkpoints)

  def _sweep_batches(self, prepared: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    batches = tf.map_fn(
      functools.partial(self._predict_batch, self._forward.bound(prepared)),
      tf.range(self._batches) * self._batch_size,
      fn_output_signature=[tf.bool, tf.bool, *([tf.float32] if self._margins else [])],
      # Several batches at once would only compete for the same cores and memory.
      parallel_iterations=1,
    )
    finite, *of_examples = batches
    return [finite, *(tf.reshape(values, [-1])[: self._num_examples] for values in of_examples)]

  def _predict_batch(
    self, forward: Callable[[tf.Tensor], tf.Tensor], start: tf.Tensor
  ) -> list[tf.Tensor]:
    size = [self._batch_size, *self._images.shape[1:]]
    pixels = tf.slice(self._images, [start, 0, 0, 0], size)
    logits = forward(tf.cast(pixels, tf.float32) / self._pixel_max)
    labels = tf.slice(self._labels, [start], [self._batch_size])
    correct = tf.argmax(logits, axis=1) == labels
    finite = tf.reduce_all(tf.math.is_finite(logits))
    return [finite, correct, *([margins_of(logits, labels)] if self._margins else [])]


def _check_arguments(
  images: np.ndarray,
  labels: np.ndarray,
  pixel_max: float,
  batch_size: int | None,
  precision: str,
) -> None:
  if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
    raise ModelError(
      "images to evaluate must be uint8 [n, height, width, channels] with n at least 1,"
      f" not {images.dtype} {images.shape}"
    )
  if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
    raise ModelError(
      f"labels must be int64 ({len(images)},) like the images, not {labels.dtype} {labels.shape}"
    )
  if not pixel_max > 0:
    raise ModelError(f"pixel_max must be positive, not {pixel_max}")
  if batch_size is not None and batch_size < 1:
    raise ModelError(f"batch_size must be at least 1, not {batch_size}")
  if precision not in PRECISIONS:
    raise ModelError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")


def default_batch_size(architecture: Architecture) -> int:
  """Returns how many images to evaluate in one forward pass."""
  device = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
  if device == "CPU" and architecture.convolves:
    device = "CPU, convolutions"
  height, width, _ = architecture.image_shape
  return max(1, _PIXELS_PER_BATCH[device] // (height * width))
