"""Forward passes on prepared weights, of our networks and of others."""

import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf
from sklearn.datasets import load_digits

from models.architecture import Architecture
from models.evaluator import Evaluator
from models.forward import Forward
from models.stream_evaluator import StreamEvaluator
from models.weights import CheckpointError

SHAPE = (8, 8, 1)
DIGITS = load_digits()
IMAGES = DIGITS.images[:64].astype(np.uint8)[..., np.newaxis]
LABELS = DIGITS.target[:64].astype(np.int64)
FLOATS = tf.constant(IMAGES.astype(np.float32) / 16)


class Nested(snt.Module):
  """Reads variables in a loop and in a function of its own."""

  def __init__(self, num_classes):
    super().__init__()
    self._hidden, self._logits = snt.Linear(16), snt.Linear(num_classes)

  def __call__(self, images, is_training):
    net = self._hidden(snt.flatten(images))
    return tf.function(self._logits)(tf.nn.relu(net))


class OwnVariables(snt.Module):
  """Mixes what it is given with float32 variables of its own, and normalises."""

  def __init__(self, num_classes):
    super().__init__()
    self._conv, self._bn = snt.Conv2D(8, 3), snt.BatchNorm(create_scale=True, create_offset=True)
    self._logits = snt.Linear(num_classes)
    self._gain = tf.Variable(tf.ones(8))

  def __call__(self, images, is_training):
    net = tf.nn.relu(self._bn(self._conv(images), is_training) * self._gain)
    return self._logits(tf.reduce_max(net, axis=[1, 2]))


NETWORKS = ["mlp", "small_inception", "cifar_resnet18", f"{__name__}:Nested"]
NETWORKS += [f"{__name__}:OwnVariables"]


def draw_weights(model, seed):
  rng = np.random.default_rng(seed)
  weights = {}
  for key, spec in Architecture(model, 10, SHAPE).specs.items():
    draw = np.asarray(0.1 * rng.standard_normal(spec.shape))
    weights[key] = (np.abs(draw) + 0.5 if "variance" in key else draw).astype(spec.dtype)
  return weights


def logits_of(model, precision, seeds):
  """Logits of several checkpoints, all prepared before the first is used."""
  forward = Forward(Architecture(model, 10, SHAPE), len(IMAGES), precision)
  function = tf.function(lambda images, prepared: forward.bound(prepared)(images))
  prepared = [forward.prepare(draw_weights(model, seed)) for seed in seeds]
  for values in prepared:
    assert [value.dtype for value in values] == [spec.dtype for spec in forward.prepared_specs]
  return [function(FLOATS, values).numpy() for values in prepared]


@pytest.mark.parametrize("model", NETWORKS)
def test_float32_has_the_bits_of_the_module(model):
  module, variables = Architecture(model, 10, SHAPE).build()
  for seed, logits in enumerate(logits_of(model, "float32", range(2))):
    for key, value in draw_weights(model, seed).items():
      variables[key].assign(value)
    expected = tf.function(lambda images: module(images, is_training=False))(FLOATS)
    np.testing.assert_array_equal(logits.view(np.uint32), expected.numpy().view(np.uint32))


@pytest.mark.parametrize("model", NETWORKS)
def test_bfloat16_is_near_float32_for_each_of_several_checkpoints(model):
  rounded, exact = (logits_of(model, kind, range(3)) for kind in ("bfloat16", "float32"))
  for ours, theirs in zip(rounded, exact, strict=True):
    assert ours.dtype == np.float32
    distance = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    assert 0 < distance < 0.03
  assert np.linalg.norm(exact[0] - exact[1]) / np.linalg.norm(exact[0]) > 0.1


@pytest.mark.parametrize("model", NETWORKS)
def test_streams_and_sweeps_agree_in_bfloat16(model):
  checkpoints = [draw_weights(model, seed) for seed in range(3)]
  options = {"num_classes": 10, "batch_size": 32, "precision": "bfloat16", "margins": True}
  held = Evaluator(model, IMAGES, LABELS, pixel_max=16.0, **options)

  def batches(size):
    for start in range(0, len(IMAGES), size):
      yield np.arange(start, start + size), FLOATS[start : start + size].numpy()

  streamed = StreamEvaluator(model, batches, LABELS, image_shape=SHAPE, **options)
  for one, weights in zip(streamed.predict_all(checkpoints), checkpoints, strict=True):
    np.testing.assert_array_equal(one.margins, held.predict(weights).margins)


def test_prepared_weights_are_rounded_and_folded():
  forward = Forward(Architecture("small_inception", 10, SHAPE), 4, "bfloat16")
  kinds = [(spec.dtype, len(spec.shape)) for spec in forward.prepared_specs]
  # 19 kernels and their biases, the last layer's matrix and bias: no statistics are left.
  assert kinds.count((tf.bfloat16, 4)) == 19
  assert kinds.count((tf.bfloat16, 1)) == 20
  assert kinds.count((tf.bfloat16, 2)) == 1
  assert len(kinds) == 40


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_other_weights_are_refused(precision):
  forward = Forward(Architecture("mlp", 10, SHAPE), 4, precision)
  with pytest.raises(CheckpointError, match="another architecture: there is no model/_mlp"):
    forward.prepare(draw_weights("small_inception", 0))
