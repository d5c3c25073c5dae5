"""Batch normalisation folded into convolutions, against the network as it is."""

import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf

from models.folding import fold_batch_norms

IMAGES = tf.constant(np.random.default_rng(0).normal(0, 1, (4, 6, 6, 3)).astype(np.float32))


class Network(snt.Module):
  """A convolution, what lies between, and a normalisation."""

  def __init__(self, between=lambda net: net, **options):
    super().__init__()
    self.conv = snt.Conv2D(5, 3, with_bias=False, **options)
    self.bn = snt.BatchNorm(create_scale=True, create_offset=True)
    self.between = between

  def __call__(self, images, is_training, **options):
    return self.bn(self.between(self.conv(images)), is_training, **options)


def built(*arguments, **options):
  """A network whose statistics, scales and offsets are no round numbers."""
  network = Network(*arguments, **options)
  network(IMAGES, is_training=True)
  rng = np.random.default_rng(1)
  for variable in network.variables:
    if variable.dtype.is_floating:
      variable.assign(np.abs(rng.normal(0.5, 0.2, variable.shape)) + 0.1)
  return network


def traced(network, **options):
  function = tf.function(lambda images: network(images, is_training=False, **options))
  concrete = function.get_concrete_function(IMAGES)
  needed, queue = set(), [concrete.outputs[0].op]
  while queue:
    operation = queue.pop()
    if operation not in needed:
      needed.add(operation)
      queue += [tensor.op for tensor in operation.inputs]
  return concrete(IMAGES).numpy(), [operation.type for operation in needed]


@pytest.mark.parametrize(
  "options",
  [
    {},
    {"stride": 2},
    {"padding": "VALID"},
    {"padding": snt.pad.same, "stride": 2},
  ],
)
def test_a_normalised_convolution_is_one_convolution_with_a_bias(options):
  network = built(**options)
  expected, before = traced(network)
  fold_batch_norms(network)
  folded, after = traced(network)
  np.testing.assert_allclose(folded, expected, rtol=1e-5, atol=1e-5)
  assert [kind for kind in before if kind.startswith("FusedBatchNorm")]
  assert not [kind for kind in after if kind.startswith("FusedBatchNorm")]
  assert after.count("Conv2D") == 1


def test_folding_follows_the_variables():
  network = built()
  fold_batch_norms(network)
  folded = tf.function(lambda: network(IMAGES, is_training=False))
  first = folded().numpy()
  network.bn.scale.assign(2 * network.bn.scale)
  network.bn.offset.assign(2 * network.bn.offset)
  np.testing.assert_allclose(folded().numpy(), 2 * first, rtol=1e-5, atol=1e-5)


def test_a_rounded_kernel_is_rounded_once():
  network = built()
  expected, _ = traced(network)
  network.conv.__class__ = _Rounded
  unfolded, _ = traced(network)
  fold_batch_norms(network)
  folded, _ = traced(network)
  scale = network.bn.scale / tf.sqrt(network.bn.moving_variance.value[0, 0, 0] + 1e-5)
  rounded = tf.cast(tf.cast(network.conv.w * scale, tf.bfloat16), tf.float32)
  offset = network.bn.offset - scale * network.bn.moving_mean.value[0, 0, 0]
  images = tf.cast(tf.cast(IMAGES, tf.bfloat16), tf.float32)
  exact = tf.nn.conv2d(images, rounded, 1, "SAME") + offset
  assert folded.dtype == tf.bfloat16.as_numpy_dtype
  assert np.abs(folded.astype(np.float32) - exact).max() <= 2**-7 * np.abs(exact).max()
  assert not np.array_equal(folded, unfolded)
  assert np.abs(folded.astype(np.float32) - expected).max() <= 2**-6 * np.abs(expected).max()


class _Rounded(snt.Conv2D):
  def __call__(self, images):
    return tf.nn.conv2d(
      tf.cast(images, tf.bfloat16), tf.cast(self.w, tf.bfloat16), self.stride, self.conv_padding
    )


@pytest.mark.parametrize(
  ("network", "options"),
  [
    (lambda: built(tf.nn.relu), {}),
    (lambda: built(lambda net: net + 1), {}),
    (lambda: built(rate=2), {}),
    (built, {"test_local_stats": True}),
  ],
  ids=["ReLU between", "sum between", "dilated", "statistics of the batch"],
)
def test_what_cannot_be_folded_stays_what_it_is(network, options):
  network = network()
  expected, _ = traced(network, **options)
  fold_batch_norms(network)
  folded, kinds = traced(network, **options)
  np.testing.assert_array_equal(folded, expected)
  assert [kind for kind in kinds if kind.startswith("FusedBatchNorm")]
