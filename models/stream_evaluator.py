"""Which examples of a stream many checkpoints classify correctly, in one pass over it."""

import threading
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

from models.architecture import Architecture
from models.evaluator import Predictions, default_batch_size
from models.forward import Forward
from models.margins import margins as margins_of
from models.precision import PRECISIONS
from models.registry import ModelError
from models.weights import Weights

# Of the device's memory, for weights: the rest is for activations, and for whoever else is there.
_SHARE_OF_WEIGHTS = 4

Batches = Callable[[int], Iterable[tuple[np.ndarray, np.ndarray]]]
"""From a batch size to batches: positions int64 [b], and float32 images as the model sees them."""


def default_resident(architecture: Architecture, memory: int) -> int:
  """Returns how many checkpoints of an architecture to evaluate in one pass.

  A quarter of the memory goes to their weights, and one fits always.

  Args:
    architecture: the checkpoints'.
    memory: bytes that the device has, or a process's share of it: see `device_memory`.

  Raises:
    ModelError: if the architecture does not exist or its number of classes is below 2.
  """
  return max(1, memory // (_SHARE_OF_WEIGHTS * 4 * architecture.parameters))


class StreamEvaluator:
  """One compiled evaluation of one architecture on examples that are read over and over.

  A pass decodes every image once, whatever the number of checkpoints: their weights stay on the
  device, and each batch goes through the one graph with each of them in turn. A checkpoint's bits
  do not depend on what is evaluated beside it. Threads may share an evaluator; a lock lets one of
  them pass at a time.

  Args:
    model_name: one of `model_names()`.
    batches: makes a pass; every position from 0 to `len(labels) - 1` comes once in it.
    labels: int64 [n], by position.
    num_classes: width of the logits.
    image_shape: of what the model sees.
    batch_size: images in one forward pass; None chooses it by architecture, image size and device.
    precision: "float32", or "bfloat16" for matrix products and convolutions.
    xla: compiles the forward pass with XLA.
    margins: whether predictions have margins, too.

  Raises:
    ModelError: if the architecture does not exist or an argument is unusable.
  """

  def __init__(
    self,
    model_name: str,
    batches: Batches,
    labels: np.ndarray,
    *,
    num_classes: int,
    image_shape: tuple[int, int, int],
    batch_size: int | None = None,
    precision: str = "float32",
    xla: bool = False,
    margins: bool = False,
  ):
    if batch_size is not None and batch_size < 1:
      raise ModelError(f"batch_size must be at least 1, not {batch_size}")
    if precision not in PRECISIONS:
      raise ModelError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    self._batches = batches
    self._labels = labels
    self._margins = margins
    architecture = Architecture(model_name, num_classes, image_shape)
    self._batch_size = batch_size or default_batch_size(architecture)
    self._forward = Forward(architecture, self._batch_size, precision)
    images = tf.TensorSpec((self._batch_size, *image_shape), tf.float32)
    of_batch = tf.TensorSpec((self._batch_size,), tf.int64)
    predict = tf.function(self._predict_batch, jit_compile=xla, autograph=False)
    self._predict = predict.get_concrete_function(images, of_batch, self._forward.prepared_specs)
    self._lock = threading.Lock()

  def predict_all(self, checkpoints: Sequence[Weights]) -> list[Predictions]:
    """Returns what each checkpoint makes of the examples, by position; all are held on the device.

    Args:
      checkpoints: weights by checkpoint key, from `read_weights`.

    Raises:
      CheckpointError: if keys, shapes or dtypes of weights are not the architecture's.
    """
    resident = [self._forward.prepare(weights) for weights in checkpoints]
    size = (len(checkpoints), len(self._labels))
    correct = np.zeros(size, bool)
    margins = np.zeros(size, np.float32) if self._margins else None
    finite = np.ones(len(checkpoints), bool)
    seen = 0
    with self._lock:
      for positions, images in self._batches(self._batch_size):
        labels = self._labels[positions]
        arguments = (tf.constant(_filled(images, self._batch_size)),
                     tf.constant(_filled(labels, self._batch_size)))  # fmt: skip
        # All are started before the first is waited for.
        predicted = [self._predict(*arguments, prepared) for prepared in resident]
        for i, values in enumerate(predicted):
          finite[i] &= values[0].numpy()
          correct[i, positions] = values[1].numpy()[: len(positions)]
          if margins is not None:
            margins[i, positions] = values[2].numpy()[: len(positions)]
        seen += len(positions)
    if seen != len(self._labels):
      raise ModelError(f"a pass had {seen:,} of {len(self._labels):,} examples")
    return [
      Predictions(correct[i], None if margins is None else margins[i], bool(finite[i]))
      for i in range(len(checkpoints))
    ]

  def _predict_batch(
    self, images: tf.Tensor, labels: tf.Tensor, prepared: Sequence[tf.Tensor]
  ) -> list[tf.Tensor]:
    logits = self._forward.bound(prepared)(images)
    correct = tf.argmax(logits, axis=1) == labels
    finite = tf.reduce_all(tf.math.is_finite(logits))
    return [finite, correct, *([margins_of(logits, labels)] if self._margins else [])]


def _filled(values: np.ndarray, size: int) -> np.ndarray:
  """Fills a last batch up with repeated examples, so that every batch has one shape."""
  return values if len(values) == size else np.resize(values, (size, *values.shape[1:]))
