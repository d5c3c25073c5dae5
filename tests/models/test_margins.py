import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from models.margins import margins

# No two of them differ by less than 1e-38, which TensorFlow takes for 0.
LOGITS = st.integers(-60 << 16, 60 << 16).map(lambda units: units / 65536)


def _margin(logits, label):
  return margins(tf.constant([logits], tf.float32), tf.constant([label], tf.int64)).numpy()[0]


def _brute_force(logits, label):
  """Returns log p_y − log Σ p_k in float64 or better, from the probabilities themselves."""
  logits = np.asarray(logits, np.longdouble)
  shares = np.exp(logits - logits.max())
  return np.log(shares[label]) - np.log(np.delete(shares, label).sum())


@given(st.lists(LOGITS, min_size=2, max_size=20), st.data())
def test_is_the_log_odds_of_the_label(logits, data):
  label = data.draw(st.integers(0, len(logits) - 1))
  margin = _margin(logits, label)
  assert margin.dtype == np.float32
  assert margin == pytest.approx(float(_brute_force(logits, label)), rel=1e-6, abs=1e-6)


@given(LOGITS, LOGITS)
def test_of_two_classes_it_is_the_difference(first, second):
  assert _margin([first, second], 0) == np.float32(first) - np.float32(second)
  assert _margin([first, second], 1) == np.float32(second) - np.float32(first)


@given(st.lists(LOGITS, min_size=2, max_size=9), st.data())
def test_its_logistic_function_is_the_probability(logits, data):
  label = data.draw(st.integers(0, len(logits) - 1))
  probability = tf.nn.softmax(tf.constant([logits], tf.float64)).numpy()[0, label]
  logistic = 1 / (1 + np.exp(-np.float64(_margin(logits, label))))
  assert logistic == pytest.approx(probability, abs=1e-6)


@pytest.mark.parametrize(
  ("logits", "margin"),
  [
    ([3e38, -1e30, 0], 3e38),
    ([0, 1e4, 1e4], -1e4 - np.log(2)),
    ([1e4, 1e4, 1e4 - 100], 0),
    ([1e30, 1e30, 1e30], -np.log(2)),
    ([-1e4, -1e4, -1e4, -1e4], -np.log(3)),
    ([5, -np.inf, 2], 3),
    ([5, -np.inf, -np.inf], np.inf),
    ([-np.inf, 5, 2], -np.inf),
    ([np.inf, 5, 2], np.inf),
    ([0, np.inf, 2], -np.inf),
    ([np.inf, np.inf, 2], np.nan),
    ([-np.inf, -np.inf, -np.inf], np.nan),
    ([np.nan, 0, 0], np.nan),
    ([0, np.nan, 0], np.nan),
  ],
)
def test_extreme_logits_have_their_limits(logits, margin):
  np.testing.assert_allclose(_margin(logits, 0), np.float32(margin), rtol=1e-6, atol=1e-6)


def test_a_batch_is_its_examples():
  rng = np.random.default_rng(0)
  logits, labels = rng.standard_normal((50, 7)).astype(np.float32), rng.integers(0, 7, 50)
  batch = margins(tf.constant(logits), tf.constant(labels)).numpy()
  each = [_margin(*pair) for pair in zip(logits, labels, strict=True)]
  np.testing.assert_allclose(batch, each, rtol=1e-6, atol=1e-6)
