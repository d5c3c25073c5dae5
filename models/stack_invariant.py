"""Operations on stacks [stack, …] that round alike at every place of the stack.

TensorFlow's CPU kernels go through memory in vectors, whatever the axes. What a vector holds is
rounded by another formula than the elements left over at the end, and a sum over a middle axis adds
in another order where a vector straddles two rows. The places of a stack would then differ by a
last bit, and a run's weights with its place. Padding keeps every run's elements out of both cases.
"""

from collections.abc import Callable

import tensorflow as tf

# At least as many floats as a vector register holds, and a multiple of it.
_VECTOR = 16


@tf.custom_gradient
def add_bias(net: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Callable]:
  """Returns net [stack, batch, out] + bias [stack, 1, out]."""

  def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    width = upstream.shape[-1]
    padded = tf.pad(upstream, [(0, 0), (0, 0), (0, -width % _VECTOR)])
    return upstream, tf.reduce_sum(padded, axis=1, keepdims=True)[..., :width]

  return net + bias, gradient


def cross_entropies(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
  """Returns the loss of each example.

  Args:
    labels: int32 [stack, batch].
    logits: float32 [stack, batch, classes].

  Returns:
    Cross-entropies in nats, float32 [stack, batch].
  """
  flat_labels = tf.reshape(labels, (-1,))
  flat_logits = tf.reshape(logits, (-1, logits.shape[-1]))
  losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
    tf.pad(flat_labels, [(0, _VECTOR)]), tf.pad(flat_logits, [(0, _VECTOR), (0, 0)])
  )
  return tf.reshape(losses[:-_VECTOR], tf.shape(labels))
