"""Times convolutional networks, ours beside plain TensorFlow and PyTorch, in both precisions.

The plain way is what TensorFlow's and Sonnet's guides lead to: a module in a `tf.function`, an
optimizer, and loops in Python over batches cut from NumPy arrays; in bfloat16, variables are cast
where they are used. PyTorch's way is what its guides lead to, if it is installed: channels last,
autocast, `torch_networks.py`. All evaluate the same trained weights, and train from the same
initial ones in the same order, on images of 32×32×3 that are drawn here. They take turns in one
process, after one turn that compiles; a ratio is one of medians. Processor seconds are there
because they hold still when other work shares the machine.

Ways must agree: in float32 by every margin, in bfloat16 by nearly every prediction of float32's,
and by the mean loss of what they train.

  pip install --requirement requirements-peers.txt
  python benchmarks/convolutions.py
"""

import argparse
import importlib.util
import time
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import sonnet as snt
import tensorflow as tf

from models.architecture import Architecture
from models.evaluator import Evaluator
from models.hyper_parameters import HyperParameters
from models.initial_weights import draw_weights
from models.margins import margins
from models.precision import PRECISIONS
from models.run_seed import RunSeed
from models.trainer import Trainer
from models.weights import Weights, assign

NETWORKS = ("small_inception", "cifar_resnet18")
SHAPE = (32, 32, 3)
NUM_CLASSES = 10
RUN = RunSeed(seed=0, subset_ratio=1.0, run=0)
LEARNING_RATE = 0.003
PEERS_BATCH = 64  # in evaluation, the fastest of 64, 128 and 256; ours chooses by itself
LARGEST_MARGIN_ERROR = {"float32": 1e-3, "bfloat16": 1.0}
LEAST_AGREEMENT = {"float32": 0.998, "bfloat16": 0.9}  # barely trained, logits are close
LARGEST_LOSS_ERROR = {"float32": 0.02, "bfloat16": 0.1}


class Examples(NamedTuple):
  """Images uint8 [n, height, width, channels] and labels int64 [n]."""

  images: np.ndarray
  labels: np.ndarray


class Way(Protocol):
  """One way to do both."""

  def evaluate(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns whether the largest logit is at the label, bool [n], and margins, float32 [n]."""

  def train(self) -> float:
    """Trains a network for an epoch; returns the mean loss."""


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--rounds", type=int, default=3, help="turns of each way (%(default)s)")
  parser.add_argument("--images", type=int, default=1024, help="images of a turn (%(default)s)")
  parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
  options = parser.parse_args()
  with_torch = importlib.util.find_spec("torch") is not None
  if not with_torch:
    print("PyTorch is left out: pip install --requirement requirements-peers.txt")
  examples = draw_examples(options.images)
  for network in options.networks:
    weights = Ours(network, "float32", examples, {}).trained()
    # At these labels, what is correct is what float32 predicts.
    predicted = Plain(network, "float32", examples, weights).predictions()
    for precision in PRECISIONS:
      arguments = (network, precision, Examples(examples.images, predicted), weights)
      ways: dict[str, Way] = {"ours": Ours(*arguments), "plain TensorFlow": Plain(*arguments)}
      if with_torch:
        ways["PyTorch"] = torch_way(*arguments)
      compare(f"{network}, {precision}", ways, options.rounds, options.images, precision)


class Ours:
  """`Evaluator` and `Trainer`."""

  def __init__(self, network: str, precision: str, examples: Examples, weights: Weights):
    self._weights = weights
    options = {"num_classes": NUM_CLASSES, "pixel_max": 255.0}
    self._evaluator = Evaluator(network, *examples, **options, precision=precision, margins=True)
    hyper_parameters = HyperParameters(epochs=1, learning_rate=LEARNING_RATE, precision=precision)
    self._trainer = Trainer(
      network, *examples, **options, hyper_parameters=hyper_parameters, seed=RUN.seed
    )

  def trained(self) -> Weights:
    """Returns the weights after an epoch."""
    return self._trainer.train([(RUN.subset_ratio, RUN.run)])[0].weights

  def evaluate(self) -> tuple[np.ndarray, np.ndarray]:
    return self._evaluator.predict(self._weights)

  def train(self) -> float:
    return self._trainer.train([(RUN.subset_ratio, RUN.run)])[0].training_loss


class Plain:
  """A module, two compiled functions, and loops over batches."""

  def __init__(self, network: str, precision: str, examples: Examples, weights: Weights):
    self._images = examples.images.astype(np.float32) / np.float32(255)
    self._labels = examples.labels
    self._weights = weights
    self._bfloat16 = precision == "bfloat16"
    self._module, self._variables = Architecture(network, NUM_CLASSES, SHAPE).build()
    self._initial = initial_weights(self._variables)
    self._optimizer = snt.optimizers.Momentum(LEARNING_RATE, 0.9)
    self._logits = tf.function(lambda images: self._call(images, is_training=False))
    self._step = tf.function(self._take_step)

  def predictions(self) -> np.ndarray:
    """Returns the classes of the largest logits, int64 [n]."""
    return np.argmax(self._all_logits(), axis=1)

  def evaluate(self) -> tuple[np.ndarray, np.ndarray]:
    logits = self._all_logits()
    correct = np.argmax(logits, axis=1) == self._labels
    return correct, margins(tf.constant(logits), tf.constant(self._labels)).numpy()

  def _all_logits(self) -> np.ndarray:
    assign(self._variables, self._weights)
    starts = range(0, len(self._images), PEERS_BATCH)
    return np.concatenate(
      [self._logits(self._images[start : start + PEERS_BATCH]).numpy() for start in starts]
    )

  def train(self) -> float:
    assign(self._variables, self._initial)
    for momentum in getattr(self._optimizer, "accumulated_momentum", []):
      momentum.assign(tf.zeros_like(momentum))
    losses = [
      tf.reduce_sum(self._step(self._images[batch], self._labels[batch]))
      for batch in batches(len(self._images))
    ]
    return float(sum(losses)) / len(self._images)

  def _take_step(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
      logits = self._call(images, is_training=True)
      losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
      loss = tf.reduce_mean(losses)
    trainable = self._module.trainable_variables
    self._optimizer.apply(tape.gradient(loss, trainable), trainable)
    return losses

  def _call(self, images: tf.Tensor, is_training: bool) -> tf.Tensor:
    if not self._bfloat16:
      return self._module(images, is_training=is_training)
    layers = [m for m in self._module.submodules if isinstance(m, (snt.Linear, snt.Conv2D))]
    with snt.custom_variable_getter(lambda v: tf.cast(v, tf.bfloat16), instances=layers):
      logits = self._module(tf.cast(images, tf.bfloat16), is_training=is_training)
    return tf.cast(logits, tf.float32)


def torch_way(network: str, precision: str, examples: Examples, weights: Weights) -> Way:
  import torch_networks

  _, variables = Architecture(network, NUM_CLASSES, SHAPE).build()
  return torch_networks.TorchWay(
    network,
    precision == "bfloat16",
    *examples,
    weights,
    initial_weights(variables),
    list(batches(len(examples.images))),
    LEARNING_RATE,
    PEERS_BATCH,
  )


def batches(count: int) -> Iterator[np.ndarray]:
  """Yields the examples of each step of an epoch, in the order of `Trainer`."""
  order = next(RUN.epoch_orders(RUN.subset(count)))
  size = HyperParameters().batch_size
  yield from (order[start : start + size] for start in range(0, count, size))


def initial_weights(variables: dict[str, tf.Variable]) -> Weights:
  return draw_weights(RUN, {key: variable.numpy() for key, variable in variables.items()})


def compare(name: str, ways: dict[str, Way], rounds: int, images: int, precision: str) -> None:
  """Prints what each way does in a second, after a check that they agree."""
  evaluated = {label: way.evaluate() for label, way in ways.items()}
  losses = {label: way.train() for label, way in ways.items()}
  for label, (correct, values) in evaluated.items():
    error = np.abs(values - evaluated["plain TensorFlow"][1]).max()
    agreement = np.mean(correct)
    assert error <= LARGEST_MARGIN_ERROR[precision], f"{name}, {label}: margins differ by {error}"
    assert agreement >= LEAST_AGREEMENT[precision], f"{name}, {label}: {agreement:.2%} agree"
    distance = abs(losses[label] / losses["plain TensorFlow"] - 1)
    assert distance <= LARGEST_LOSS_ERROR[precision], f"{name}: losses differ: {losses}"
  print(
    f"{name}\n  {'images per second':<28}{'median':>8}{'fastest':>9}{'per CPU s':>11}{'ours':>7}"
  )
  for what in ("evaluate", "train"):
    seconds: dict[str, list[tuple[float, float]]] = {label: [] for label in ways}
    for _ in range(rounds):
      for label, way in ways.items():
        seconds[label].append(timed(way, what))
    ours = np.median(seconds["ours"], axis=0)[0]
    for label, values in seconds.items():
      wall, processor = np.median(values, axis=0)
      print(
        f"  {what + ', ' + label:<28}{images / wall:8,.0f}{images / min(values)[0]:9,.0f}"
        f"{images / processor:11,.0f}{wall / ours:6.2f}×",
        flush=True,
      )


def timed(way: Way, what: str) -> tuple[float, float]:
  """Returns the seconds that passed and those that the process's threads computed."""
  wall, processor = time.perf_counter(), time.process_time()
  getattr(way, what)()
  return time.perf_counter() - wall, time.process_time() - processor


def draw_examples(count: int) -> Examples:
  """Draws images of one pattern per class, in noise."""
  rng = np.random.default_rng(0)
  labels = rng.integers(0, NUM_CLASSES, count)
  patterns = rng.normal(0, 40, (NUM_CLASSES, 8, 8, 3)).repeat(4, axis=1).repeat(4, axis=2)
  images = 128 + patterns[labels] + rng.normal(0, 60, (count, *SHAPE))
  return Examples(images.clip(0, 255).astype(np.uint8), labels)


if __name__ == "__main__":
  main()
