import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf
from sklearn.datasets import load_digits

from models.architecture import Architecture
from models.initial_weights import draw_weights
from models.lone_model import LoneModel
from models.run_seed import RunSeed

IMAGES = load_digits().images[np.newaxis, :32, ..., np.newaxis].astype(np.float32) / 16


def lone_model(model_name, precision):
  architecture = Architecture(model_name, 10, (8, 8, 1))
  return LoneModel(architecture, *architecture.build(), precision)


# Between them: convolutions with TensorFlow's padding and Sonnet's, with and without a stride.
@pytest.mark.parametrize("model_name", ["small_inception", "cifar_resnet18"])
def test_bfloat16_products_give_nearly_the_logits_and_gradients_of_float32(model_name):
  models = {precision: lone_model(model_name, precision) for precision in ("float32", "bfloat16")}
  weights = dict(draw_weights(RunSeed(0, 0.7, 0), models["float32"].read()[0]))
  for key, value in weights.items():
    if key.endswith("logits/w"):  # zeros as built
      weights[key] = np.random.default_rng(0).normal(0, 0.05, value.shape).astype(np.float32)
  logits, gradients = {}, {}
  for precision, model in models.items():
    model.assign([weights])
    assert all(variable.dtype == tf.float32 for variable in model.trainable.values())
    with tf.GradientTape() as tape:
      logits[precision] = model(tf.constant(IMAGES))
      loss = tf.reduce_sum(tf.square(logits[precision]))
    gradients[precision] = tape.gradient(loss, model.trainable)
  assert logits["bfloat16"].shape == (1, 32, 10)
  assert logits["bfloat16"].dtype == tf.float32
  assert 0 < distance(logits["bfloat16"], logits["float32"]) < 0.05
  # Roundings move maxima to other pixels, and gradients with them; unrelated ones are 1.4 apart.
  for key, gradient in gradients["float32"].items():
    if key.endswith("/w"):
      assert 0 < distance(gradients["bfloat16"][key], gradient) < 0.5, key


class Scaled(snt.Module):
  """Mixes what it is given with a float32 variable of its own."""

  def __init__(self, num_classes):
    super().__init__()
    self._conv, self._logits = snt.Conv2D(8, 3), snt.Linear(num_classes)
    self._gain = tf.Variable(tf.ones(8))
    self.seen = []

  def __call__(self, images, is_training):
    self.seen.append(images.dtype)
    net = tf.nn.relu(self._conv(images) * self._gain)
    return self._logits(tf.reduce_mean(net, axis=[1, 2]))


def test_a_network_that_mixes_types_gets_float32_and_bfloat16_products():
  name = f"{__name__}:Scaled"
  architecture = Architecture(name, 10, (8, 8, 1))
  module, variables = architecture.build()
  models = [LoneModel(architecture, module, variables, "bfloat16"), lone_model(name, "float32")]
  weights = dict(draw_weights(RunSeed(0, 0.7, 0), models[0].read()[0]))
  logits = []
  for model in models:
    model.assign([weights])
    logits.append(model(tf.constant(IMAGES)))
  assert module.seen[-1] == tf.float32
  assert 0 < distance(*logits) < 0.05


def distance(ours, theirs):
  return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
