import itertools

import numpy as np
import pytest
import tensorflow as tf

from models.stack_invariant import add_bias, cross_entropies

# Sizes around the width of a vector, at which plain kernels differ between places.
SIZES = list(itertools.product((2, 3, 5, 37), (23, 27), (3, 10)))


def draw(*shape):
  return np.random.default_rng(0).normal(scale=3, size=shape).astype(np.float32)


def repeat(one, stack):
  return tf.constant(np.repeat(one[np.newaxis], stack, axis=0))


def assert_alike(stacked):
  for place in stacked.numpy()[1:]:
    np.testing.assert_array_equal(place, stacked.numpy()[0])


@pytest.mark.parametrize(("stack", "batch", "width"), [*SIZES, (5, 128, 512), (5, 128, 257)])
def test_bias_gradients_are_the_same_bits_at_every_place(stack, batch, width):
  net, upstream = repeat(draw(batch, width), stack), draw(batch, width)
  bias = repeat(draw(1, width), stack)
  with tf.GradientTape() as tape:
    tape.watch(bias)
    outputs = add_bias(net, bias)
  np.testing.assert_array_equal(outputs, net + bias)
  gradient = tape.gradient(outputs, bias, output_gradients=repeat(upstream, stack))
  assert gradient.shape == bias.shape
  assert_alike(gradient)
  np.testing.assert_allclose(gradient[0, 0], upstream.sum(axis=0), atol=1e-4)


@pytest.mark.parametrize(("stack", "batch", "classes"), SIZES)
def test_losses_and_their_gradients_are_the_same_bits_at_every_place(stack, batch, classes):
  logits = draw(batch, classes)
  labels = np.random.default_rng(1).integers(classes, size=batch).astype(np.int32)
  stacked = repeat(logits, stack)
  with tf.GradientTape() as tape:
    tape.watch(stacked)
    losses = cross_entropies(repeat(labels, stack), stacked)
  gradient = tape.gradient(losses, stacked)
  assert_alike(losses)
  assert_alike(gradient)
  exponentials = np.exp(logits.astype(np.float64))
  probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
  chosen = probabilities[np.arange(batch), labels]
  np.testing.assert_allclose(losses[0], -np.log(chosen), atol=1e-5)
  np.testing.assert_allclose(gradient[0], probabilities - np.eye(classes)[labels], atol=1e-6)
