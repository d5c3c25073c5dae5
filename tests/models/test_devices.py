"""Where things are computed: on the device that TensorFlow is given, and nowhere else.

No GPU is needed: a second logical CPU stands for one, as TensorFlow's guides suggest, and to place
an operation softly, on another device than the asked one, is forbidden.
"""

import subprocess
import sys

import pytest

SETUP = """
import numpy as np
import models
import tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
tf.config.set_soft_device_placement(False)
from models.architecture import Architecture
from models.evaluator import Evaluator
from models.forward import Forward
from models.hyper_parameters import HyperParameters
from models.initial_weights import draw_weights
from models.run_seed import RunSeed
from models.stream_evaluator import StreamEvaluator
from models.trainer import Trainer
model, precision = "{model}", "{precision}"
images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
labels = np.arange(20) % 10
architecture = Architecture(model, 10, (8, 8, 1))
_, variables = architecture.build()
weights = draw_weights(RunSeed(0, 0.5, 0), {{k: v.numpy() for k, v in variables.items()}})
options = dict(num_classes=10, precision=precision, margins=True)
"""

EVALUATE = """
def batches(size):
  yield np.arange(20), np.resize(images / np.float32(255), (20, 8, 8, 1))

def evaluate():
  held = Evaluator(model, images, labels, pixel_max=255.0, **options)
  streamed = StreamEvaluator(
    model, batches, labels, image_shape=(8, 8, 1), batch_size=20, **options
  )
  return held.predict(weights), *streamed.predict_all([weights])

expected = evaluate()
with tf.device("CPU:1"):
  prepared = Forward(architecture, 20, precision).prepare(weights)
  predicted = evaluate()
assert all("CPU:1" in tensor.device for tensor in prepared), prepared
for one, other in zip(predicted, expected, strict=True):
  np.testing.assert_array_equal(one.margins, other.margins)
"""

TRAIN = """
def train():
  trainer = Trainer(
    model, images, labels, num_classes=10, pixel_max=255.0, seed=0,
    hyper_parameters=HyperParameters(epochs=1, batch_size=8, precision=precision),
  )
  return trainer.train([(0.5, 0)])[0]

expected = train()
with tf.device("CPU:1"):
  trained = train()
assert trained.training_loss == expected.training_loss
"""


def run(code, **environment):
  return subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=False, **environment
  )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
  ("model", "work"),
  [("small_inception", EVALUATE), ("mlp_small", TRAIN), ("cifar_resnet18", TRAIN)],
)
def test_all_is_computed_on_the_device_that_is_given(model, work, precision):
  done = run(SETUP.format(model=model, precision=precision) + work)
  assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("said", "kept"), [(None, "true"), ("false", "false")])
def test_gpus_give_memory_as_it_is_needed(monkeypatch, said, kept):
  monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
  if said:
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", said)
  done = run("import models, os; print(os.environ['TF_FORCE_GPU_ALLOW_GROWTH'])")
  assert done.stdout.split() == [kept]
