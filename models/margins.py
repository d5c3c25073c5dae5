"""By how much a model prefers the label to all other classes together."""

import math

import tensorflow as tf


def margins(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
  """Returns log p_y − log Σ_{k≠y} p_k, the log-odds of the label, of each example.

  That is logit_y − logsumexp of the other logits, the outcome of TRAK (Park et al. 2023, arXiv
  2303.14186) and LiRA (Carlini et al. 2022, arXiv 2112.03570). Its logistic function is p_y. The
  largest of the other logits is subtracted from all first, so that large ones cancel and nothing
  overflows; of two classes the margin is the difference, rounded once.

  Args:
    logits: float32 [n, classes], at least 2 classes.
    labels: int64 [n].

  Returns:
    float32 [n], in nats. Infinite logits have their limits: +∞ where the label's is +∞ or all
    others are −∞, −∞ where another is +∞ or the label's is −∞; NaN where that has no answer.
  """
  at_label = tf.one_hot(labels, logits.shape[-1], on_value=True, off_value=False, dtype=tf.bool)
  others = tf.where(at_label, -math.inf, logits)
  largest = tf.reduce_max(others, axis=1, keepdims=True)
  largest = tf.where(tf.math.is_finite(largest), largest, 0.0)
  of_label = tf.gather(logits, labels, axis=1, batch_dims=1) - largest[:, 0]
  return of_label - tf.math.log(tf.reduce_sum(tf.exp(others - largest), axis=1))
