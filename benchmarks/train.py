"""Times `models.Trainer` against training one run after another the plain way.

The plain way is what TensorFlow's guides lead to: a function that makes a module, an optimizer and
a `tf.function` that takes one step, and loops in Python over batches cut from NumPy float arrays.
Called for every run, it compiles its step for every run; a line of its own shows what is left if
module and step are made once and only started afresh. All ways train the same subsets with the
default hyper-parameters, take turns in one process, and are compared by the medians of their
rounds. Seconds of processor time are there because they hold still when other work shares the
machine.

  python benchmarks/train.py --idx DIR --accuracy
"""

import argparse
import functools
import time
from collections.abc import Callable, Mapping

import numpy as np
import sonnet as snt
import tensorflow as tf

from image_datasets import ImageDataset, load_dataset
from models.architecture import Architecture
from models.evaluator import Evaluator
from models.hyper_parameters import HyperParameters
from models.run_seed import RunSeed
from models.trainer import Trainer
from models.weights import Weights

RATIO = 0.7
SEED = 0
PLAIN = HyperParameters()
PRECISIONS = ("float32", "bfloat16")


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--idx", metavar="DIR", help="directory of MNIST's four IDX files")
  parser.add_argument("--rounds", type=int, default=5, help="turns on the digits (%(default)s)")
  parser.add_argument("--mnist_rounds", type=int, default=2, help="turns on MNIST (%(default)s)")
  parser.add_argument("--accuracy", action="store_true", help="also compare MNIST test accuracies")
  parser.add_argument("--runs", type=int, default=8, help="runs for --accuracy (%(default)s)")
  options = parser.parse_args()

  digits = load_dataset("digits")
  for model in ("mlp_small", "mlp"):
    compare(f"digits, {model}", digits, all_ways(digits, model), options.rounds)
  if options.idx is None:
    print("mnist: left out, give --idx DIR with its four IDX files")
    return
  mnist = load_dataset(f"idx:{options.idx}")
  ways = all_ways(mnist, "mlp")
  compare("mnist, mlp", mnist, ways, options.mnist_rounds)
  if options.accuracy:
    compare_accuracies(mnist, ways, options.runs)


class PlainWay:
  """One run at a time, as a script does it: a module, a compiled step, a loop over batches."""

  runs_per_turn = 1

  def __init__(self, dataset: ImageDataset, model: str):
    self._images = dataset.train.images.astype(np.float32) / np.float32(dataset.pixel_max)
    self._labels = dataset.train.labels
    self._architecture = (model, dataset.num_classes, dataset.image_shape)
    self._build()

  def _build(self) -> None:
    module, self._variables = Architecture(*self._architecture).build()
    optimizer = snt.optimizers.Momentum(PLAIN.learning_rate, PLAIN.momentum)

    @tf.function
    def step(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
      with tf.GradientTape() as tape:
        logits = module(images, is_training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
      optimizer.apply(tape.gradient(loss, module.trainable_variables), module.trainable_variables)
      return loss

    self._optimizer, self._step = optimizer, step

  def _start_afresh(self) -> None:
    self._build()

  def train(self, first_run: int) -> list[Weights]:
    """Trains the run with id `first_run`."""
    self._start_afresh()
    subset = RunSeed(SEED, RATIO, first_run).subset(len(self._images))
    shuffle = np.random.default_rng(first_run)
    for _ in range(PLAIN.epochs):
      order = shuffle.permutation(subset)
      for start in range(0, len(order), PLAIN.batch_size):
        batch = order[start : start + PLAIN.batch_size]
        loss = self._step(self._images[batch], self._labels[batch])
    loss.numpy()
    return [{key: value.numpy() for key, value in self._variables.items()}]


class CompiledOnce(PlainWay):
  """The plain way with one module and one step for all runs."""

  def _start_afresh(self) -> None:
    """Draws new weights and clears the momenta, where there are any yet."""
    for variable in self._variables.values():
      if variable.shape.rank > 1:
        initializer = snt.initializers.TruncatedNormal(stddev=variable.shape[0] ** -0.5)
        variable.assign(initializer(variable.shape, variable.dtype))
      else:
        variable.assign(tf.zeros_like(variable))
    for momentum in self._optimizer.accumulated_momentum:
      momentum.assign(tf.zeros_like(momentum))


class StackedWay:
  """`Trainer`, a stack of runs at a time."""

  def __init__(self, dataset: ImageDataset, model: str, precision: str):
    self._trainer = Trainer(
      model,
      dataset.train.images,
      dataset.train.labels,
      num_classes=dataset.num_classes,
      pixel_max=dataset.pixel_max,
      hyper_parameters=HyperParameters(precision=precision),
      seed=SEED,
    )
    self.runs_per_turn = self._trainer.stack

  def train(self, first_run: int) -> list[Weights]:
    """Trains a stack of runs whose ids begin at `first_run`."""
    runs = [(RATIO, first_run + i) for i in range(self.runs_per_turn)]
    return [trained.weights for trained in self._trainer.train(runs)]


Way = PlainWay | StackedWay


def all_ways(dataset: ImageDataset, model: str) -> dict[str, Way]:
  stacked = {precision: StackedWay(dataset, model, precision) for precision in PRECISIONS}
  return {
    "plain": PlainWay(dataset, model),
    "plain, compiled once": CompiledOnce(dataset, model),
    **{f"{name}, stack {way.runs_per_turn}": way for name, way in stacked.items()},
  }


def compare(name: str, dataset: ImageDataset, ways: Mapping[str, Way], rounds: int) -> None:
  """Prints what a run costs each way, in turns, after one turn that compiles."""
  seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
  for turn in range(-1, rounds):
    for label, way in ways.items():
      wall, processor = timed(functools.partial(way.train, first_run=(turn + 1) * 100))
      if turn >= 0:
        seconds[label].append((wall / way.runs_per_turn, processor / way.runs_per_turn))
  subset = round(RATIO * len(dataset.train))
  print(f"{name}: {subset:,} of {len(dataset.train):,} examples, {PLAIN.epochs} epochs")
  print(
    f"  {'way':<24} {'s per run':>10} {'fastest':>9} {'CPU s':>8} {'examples/s':>11} {'ratio':>6}"
  )
  medians = {label: np.median(values, axis=0) for label, values in seconds.items()}
  for label, (wall, processor) in medians.items():
    print(
      f"  {label:<24} {wall:10.4f} {min(seconds[label])[0]:9.4f} {processor:8.4f}"
      f" {subset * PLAIN.epochs / wall:11,.0f} {medians['plain'][0] / wall:6.2f}",
      flush=True,
    )


def compare_accuracies(dataset: ImageDataset, ways: Mapping[str, Way], runs: int) -> None:
  """Prints each way's test accuracy over the same runs, and its distance from the plain way's."""
  evaluator = Evaluator(
    "mlp",
    dataset.test.images,
    dataset.test.labels,
    num_classes=dataset.num_classes,
    pixel_max=dataset.pixel_max,
  )
  print(f"test accuracy in percent over {runs} runs")
  print(f"  {'way':<24} {'mean':>7} {'std error':>10} {'- plain':>8}")
  means: dict[str, float] = {}
  for label, way in ways.items():
    firsts = range(0, runs, way.runs_per_turn)
    weights = [each for first in firsts for each in way.train(first)][:runs]
    accuracies = [100 * evaluator.correct(each).mean() for each in weights]
    means[label] = float(np.mean(accuracies))
    error = np.std(accuracies, ddof=1) / np.sqrt(runs)
    print(
      f"  {label:<24} {means[label]:7.3f} {error:10.3f} {means[label] - means['plain']:+8.3f}",
      flush=True,
    )


def timed(work: Callable[[], object]) -> tuple[float, float]:
  """Returns the seconds that passed and those that the process's threads computed."""
  wall, processor = time.perf_counter(), time.process_time()
  work()
  return time.perf_counter() - wall, time.process_time() - processor


if __name__ == "__main__":
  main()
