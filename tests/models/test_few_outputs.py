"""Convolutions by products of matrices against TensorFlow's own."""

import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models import few_outputs
from models.bfloat16 import round_products
from models.few_outputs import Convolution

SIDES = st.tuples(*[st.integers(1, 9)] * 2)
KERNELS = st.tuples(*[st.integers(1, 4)] * 2)
STRIDES = st.tuples(*[st.integers(1, 3)] * 2)


@settings(max_examples=40, deadline=None)
@given(sides=SIDES, kernel=KERNELS, strides=STRIDES, same=st.booleans(), seed=st.integers(0, 99))
def test_outputs_and_gradients_are_those_of_tensorflow(sides, kernel, strides, same, seed):
  if not same:
    kernel = tuple(np.minimum(kernel, sides))
  rng = np.random.default_rng(seed)
  images = tf.constant(rng.integers(-4, 5, (2, *sides, 3)), tf.float32)
  weights = tf.constant(rng.integers(-4, 5, (*kernel, 3, 2)), tf.float32)
  convolution = Convolution(images, weights, strides, "SAME" if same else "VALID")
  with tf.GradientTape() as tape:
    tape.watch([images, weights])
    expected = tf.nn.conv2d(*convolution)
    cost = tf.reduce_sum(expected**2)
  gradients = tape.gradient(cost, [images, weights])
  with tf.GradientTape() as tape:
    tape.watch([images, weights])
    trained = convolution.trained_by_windows()
    cost = tf.reduce_sum(trained**2)
  ours = tape.gradient(cost, [images, weights])
  # Whole numbers: sums are exact in any order.
  for outputs in (trained, convolution.by_windows()):
    np.testing.assert_array_equal(outputs, expected)
  assert convolution.sides == expected.shape[1:3]
  for got, wanted in zip(ours, gradients, strict=True):
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(
  ("side", "channels", "stride", "slow", "slow_to_train"),
  [
    (4, 512, 1, True, True),
    (8, 512, 2, True, True),
    (4, 64, 1, False, True),
    (5, 512, 1, False, False),
    (32, 64, 2, False, True),
  ],
)
def test_few_outputs_are_slow_on_tiles_and_in_training(
  monkeypatch, side, channels, stride, slow, slow_to_train
):
  for tiles in (False, True):
    monkeypatch.setattr(few_outputs, "has_tiles", lambda tiles=tiles: tiles)
    convolution = zeros(side, channels, stride)
    assert convolution.is_slow == (slow and tiles)
    assert convolution.trains_slowly == slow_to_train


def test_a_gpu_is_left_to_its_own_library(monkeypatch):
  monkeypatch.setattr(few_outputs, "has_tiles", lambda: True)
  monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])
  assert not zeros(4, 512, 1).is_slow
  assert not zeros(4, 512, 1).trains_slowly


@pytest.mark.parametrize("tiles", [False, True])
def test_layers_compute_and_train_by_windows_what_they_do_otherwise(monkeypatch, tiles):
  monkeypatch.setattr(few_outputs, "has_tiles", lambda: tiles)
  rng = np.random.default_rng(0)
  images = tf.constant(rng.normal(size=(3, 8, 8, 512)), tf.bfloat16)
  for is_training in (False, True):
    layer = snt.Conv2D(512, 3, stride=2, padding=snt.pad.same, with_bias=False)
    with tf.GradientTape() as tape:
      expected = layer(tf.cast(images, tf.float32))
      cost = tf.reduce_mean(expected**2)
    gradient = tape.gradient(cost, layer.w)
    round_products(snt.Sequential([layer]), (8, 8, 512), is_training=is_training)
    with tf.GradientTape() as tape:
      outputs = tf.cast(layer(images), tf.float32)
      cost = tf.reduce_mean(outputs**2)
    np.testing.assert_allclose(outputs, expected, atol=0.05)
    error = tape.gradient(cost, layer.w) - gradient
    assert np.std(error) < 0.02 * np.std(gradient)


def zeros(side: int, channels: int, stride: int) -> Convolution:
  kernel = tf.zeros((3, 3, channels, channels))
  return Convolution(tf.zeros((1, side, side, channels)), kernel, (stride, stride), "SAME")
