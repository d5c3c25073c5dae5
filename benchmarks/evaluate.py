"""Times `models.Evaluator` against evaluating every checkpoint the plain way.

The plain way is what TensorFlow's guides lead to: for each checkpoint a new module,
`tf.train.Checkpoint.restore`, a new `tf.function`, and a Python loop over NumPy batches. Both ways
evaluate the same checkpoints in one process, building the evaluator counts, and the bits must be
equal. The last column is what a checkpoint costs beside its forward passes: read and assign.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import tensorflow as tf

from models.architecture import Architecture
from models.checkpoint import CheckpointWriter, read_weights
from models.evaluator import Evaluator
from models.registry import build_model

IMAGE_SHAPE = (28, 28, 1)
NUM_CLASSES = 10
PIXEL_MAX = 255.0

T = TypeVar("T")


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--idx", type=Path, metavar="DIR", help="MNIST's four IDX files; else noise")
  parser.add_argument("--quick", action="store_true", help="a tenth of the checkpoints")
  parser.add_argument("--batch", type=int, default=128, help="plain way's batch (%(default)s)")
  parser.add_argument("--eager", action="store_true", help="plain way without tf.function")
  options = parser.parse_args()

  images, labels = read_mnist(options.idx) if options.idx else draw_examples(70_000)
  print("model            checkpoints  images  plain s  evaluator s  ratio  read+assign s")
  for model_name, checkpoints, count in (("small_inception", 20, 500), ("mlp", 100, 70_000)):
    if options.quick:
      checkpoints //= 10
    with tempfile.TemporaryDirectory() as directory:
      prefixes = write_checkpoints(Path(directory), model_name, checkpoints)
      compare(model_name, prefixes, images[:count], labels[:count], options)


def compare(
  model_name: str,
  prefixes: list[str],
  images: np.ndarray,
  labels: np.ndarray,
  options: argparse.Namespace,
) -> None:
  ours, evaluator = timed(build_evaluator, model_name, images, labels)
  plain = 0.0
  # The two ways take turns, so that whatever else the machine does slows both.
  for prefix in prefixes:
    seconds, expected = timed(
      plain_correct, model_name, prefix, images, labels, options.batch, options.eager
    )
    plain += seconds
    seconds, actual = timed(evaluate, evaluator, model_name, prefix)
    ours += seconds
    np.testing.assert_array_equal(actual, expected)
  print(
    f"{model_name:<16} {len(prefixes):11,} {len(images):7,} {plain:8.1f} {ours:12.1f}"
    f" {plain / ours:6.2f} {overhead(model_name, prefixes, images, labels):14.3f}",
    flush=True,
  )


def plain_correct(
  model_name: str, prefix: str, images: np.ndarray, labels: np.ndarray, batch: int, eager: bool
) -> np.ndarray:
  model = build_model(model_name, NUM_CLASSES)
  checkpoint = tf.train.Checkpoint(
    model=model, epoch=tf.Variable(0, dtype=tf.int64), global_step=tf.Variable(0, dtype=tf.int64)
  )
  checkpoint.restore(prefix)

  def forward(pixels: tf.Tensor) -> tf.Tensor:
    return model(pixels, is_training=False)

  if not eager:
    forward = tf.function(forward)
  correct = []
  for start in range(0, len(images), batch):
    pixels = images[start : start + batch].astype(np.float32) / np.float32(PIXEL_MAX)
    logits = forward(pixels).numpy()
    correct.append(logits.argmax(axis=1) == labels[start : start + batch])
  return np.concatenate(correct)


def build_evaluator(model_name: str, images: np.ndarray, labels: np.ndarray) -> Evaluator:
  return Evaluator(model_name, images, labels, num_classes=NUM_CLASSES, pixel_max=PIXEL_MAX)


def evaluate(evaluator: Evaluator, model_name: str, prefix: str) -> np.ndarray:
  return evaluator.correct(
    read_weights(prefix, Architecture(model_name, NUM_CLASSES, IMAGE_SHAPE).specs)
  )


def overhead(model_name: str, prefixes: list[str], images: np.ndarray, labels: np.ndarray) -> float:
  """Seconds per checkpoint on one image, where the forward pass is next to nothing."""
  evaluator = build_evaluator(model_name, images[:1], labels[:1])
  evaluate(evaluator, model_name, prefixes[0])
  seconds = sum(timed(evaluate, evaluator, model_name, prefix)[0] for prefix in prefixes)
  return seconds / len(prefixes)


def timed(work: Callable[..., T], *arguments: object) -> tuple[float, T]:
  start = time.perf_counter()
  result = work(*arguments)
  return time.perf_counter() - start, result


def write_checkpoints(directory: Path, model_name: str, count: int) -> list[str]:
  writer = CheckpointWriter(Architecture(model_name, NUM_CLASSES, IMAGE_SHAPE))
  specs = Architecture(model_name, NUM_CLASSES, IMAGE_SHAPE).specs
  prefixes = []
  for run in range(count):
    rng = np.random.default_rng(run)
    weights = {}
    for key, spec in specs.items():
      draw = np.asarray(0.05 * rng.standard_normal(spec.shape))
      weights[key] = (np.abs(draw) + 0.5 if "variance" in key else draw).astype(spec.dtype)
    prefixes.append(writer.write(directory / str(run), weights, epoch=10, global_step=1))
  return prefixes


def draw_examples(count: int) -> tuple[np.ndarray, np.ndarray]:
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (count, *IMAGE_SHAPE), dtype=np.uint8)
  return images, rng.integers(0, NUM_CLASSES, count)


def read_mnist(directory: Path) -> tuple[np.ndarray, np.ndarray]:
  def read(kind: str, header: int) -> np.ndarray:
    paths = (directory / f"{split}-{kind}-ubyte" for split in ("train", "t10k"))
    return np.concatenate([np.fromfile(path, np.uint8, offset=header) for path in paths])

  images = read("images-idx3", header=16).reshape(-1, *IMAGE_SHAPE)
  return images, read("labels-idx1", header=8).astype(np.int64)


if __name__ == "__main__":
  main()
