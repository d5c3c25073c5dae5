"""A module's forward pass in evaluation, in one of the precisions."""

import contextlib
import threading
from collections.abc import Iterator

import sonnet as snt
import tensorflow as tf

# `snt.custom_variable_getter` swaps a method of Sonnet's classes while a trace runs.
_TRACE_LOCK = threading.Lock()


class Forward:
  """From float32 images [batch, height, width, channels] to float32 logits [batch, classes].

  Args:
    module: a Sonnet module, as `build_model` makes it.
    precision: "float32", or "bfloat16" for matrix products and convolutions on bfloat16 weights and
      activations (normalisation statistics and logits stay float32).
  """

  def __init__(self, module: snt.Module, precision: str):
    self._module = module
    self._bfloat16 = precision == "bfloat16"

  @staticmethod
  @contextlib.contextmanager
  def tracing() -> Iterator[None]:
    """A graph that calls this is traced in the body of this: one at a time, whoever makes it."""
    with _TRACE_LOCK:
      yield

  def __call__(self, images: tf.Tensor) -> tf.Tensor:
    """Returns the logits."""
    if not self._bfloat16:
      return self._module(images, is_training=False)
    products = [m for m in self._module.submodules if isinstance(m, (snt.Linear, snt.Conv2D))]
    with snt.custom_variable_getter(lambda v: tf.cast(v, tf.bfloat16), instances=products):
      logits = self._module(tf.cast(images, tf.bfloat16), is_training=False)
    return tf.cast(logits, tf.float32)
