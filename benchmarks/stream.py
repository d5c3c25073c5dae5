"""Times data sets that are streamed: building them, and evaluating checkpoints on them.

Building: `heldout build-tfrecords` against a single loop that decodes, and writes with TensorFlow's
writer; the examples must be the same. Memory is the peak of the process and its children, at a
fifth of the images and at all of them.

Evaluation, at 224×224: checkpoints in one shared pass, in a pass each, and the plain way: for each
checkpoint a new module, `tf.train.Checkpoint.restore`, a new `tf.function` and TensorFlow's own
pipeline over the files. The bits must be equal. Once with a small network, where decoding takes the
time, once with ResNet-50, where forward passes do. Beside it, images per second of decoding alone,
and of forward passes alone.

Images are crops of the photographs that scikit-learn ships, of ImageNet's usual size.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import psutil
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from files.tfrecord import read_records
from image_datasets import all_batches, all_labels, load_dataset
from models import Architecture, CheckpointWriter, StreamEvaluator, build_model, read_weights
from models.evaluator import default_batch_size
from models.stream_evaluator import Batches

T = TypeVar("T")

SHARDS = 6  # no more than the images of a quarter of --large
SYNSETS = tuple(f"n{number:08d}" for number in range(1, 11))


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add("--images", type=int, default=5000, help="to build of (%(default)s)")
  add("--small", type=int, default=600, help="to evaluate mlp_small on (%(default)s)")
  add("--large", type=int, default=24, help="to evaluate resnet50 on (%(default)s)")
  add("--checkpoints", type=int, default=8, help="(%(default)s)")
  add("--workers", type=int, default=2, help="processes that build (%(default)s)")
  add("--only", choices=("build", "evaluate"))
  add("--plain_build", nargs=2, help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.plain_build:
    build_plainly(*map(Path, options.plain_build))
    return
  with tempfile.TemporaryDirectory() as scratch:
    if options.only != "evaluate":
      compare_builds(Path(scratch), options)
    if options.only != "build":
      for model, images in (("mlp_small", options.small), ("resnet50", options.large)):
        compare_evaluations(Path(scratch) / model, model, images, options.checkpoints)


def compare_builds(scratch: Path, options: argparse.Namespace) -> None:
  print(f"{'built':<20}{'images':>8}{'seconds':>9}{'images/s':>10}{'CPU s':>8}{'peak MB':>9}")
  for count in (options.images // 5, options.images):
    tree = scratch / f"tree-{count}"
    write_tree(tree, count)
    ways = {
      "single loop": [sys.executable, __file__, "--plain_build", str(tree), f"{tree}-plain"],
      "build-tfrecords": heldout_build(tree, f"{tree}-ours", "train"),
      f"… {options.workers} workers": [
        *heldout_build(tree, f"{tree}-spread", "train"),
        f"--direct_num_workers={options.workers}",
        "--direct_running_mode=multi_processing",
      ],
    }
    for name, command in ways.items():
      spent, peak = measured(command)
      print(
        f"{name:<20}{count:8,}{spent.seconds:9.1f}{count / spent.seconds:10.0f}"
        f"{spent.cpu_seconds:8.1f}{peak / 1e6:9.0f}",
        flush=True,
      )
    expected = contents(Path(f"{tree}-plain"))
    assert contents(Path(f"{tree}-ours")) == contents(Path(f"{tree}-spread")) == expected


def compare_evaluations(scratch: Path, model: str, images: int, checkpoints: int) -> None:
  records = scratch / "records"
  quarter = images // 4
  for split, count in (("train", images - quarter), ("validation", quarter)):
    write_tree(scratch / split, count)
    command = heldout_build(scratch / split, str(records), split)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
  dataset = load_dataset(f"tfrecord:{records}")
  labels = all_labels(dataset)
  architecture = Architecture(model, dataset.num_classes, dataset.image_shape)
  prefixes = write_checkpoints(architecture, scratch, checkpoints)
  batch_size = default_batch_size(architecture)

  def make_evaluator(batches: Batches, labels: np.ndarray) -> StreamEvaluator:
    return StreamEvaluator(
      model,
      batches,
      labels,
      num_classes=dataset.num_classes,
      image_shape=dataset.image_shape,
      batch_size=batch_size,
    )

  evaluator = make_evaluator(lambda size: all_batches(dataset, size), labels)
  weights = [read_weights(prefix, architecture.specs) for prefix in prefixes]
  evaluator.predict_all(weights[:1])  # whatever TensorFlow does once
  shared, together = timed(lambda: [each.correct for each in evaluator.predict_all(weights)])
  passes, alone = timed(lambda: [evaluator.predict_all([each])[0].correct for each in weights])
  plainly, plain = timed(
    lambda: [evaluate_plainly(model, records, prefix, batch_size) for prefix in prefixes]
  )
  np.testing.assert_array_equal(together, alone)
  np.testing.assert_array_equal(together, plain)
  print(f"{model}: {checkpoints} checkpoints × {images} images, {batch_size} at a time; same bits")
  for name, spent in (("one pass", shared), ("a pass each", passes), ("plain", plainly)):
    print(f"  {name:<24}{spent.of(images * checkpoints)}", flush=True)
  decoding, _ = timed(lambda: [None for _ in all_batches(dataset, batch_size)])
  batch = next(all_batches(dataset, batch_size)).images
  starts = range(0, images - len(batch) + 1, len(batch))
  held = make_evaluator(
    lambda _: [(start + np.arange(len(batch)), batch) for start in starts],
    labels[: len(starts) * len(batch)],
  )
  forward, _ = timed(lambda: held.predict_all(weights))
  print(f"  {'decoding alone':<24}{decoding.of(images)}")
  passed = len(starts) * len(batch) * checkpoints
  print(f"  {'forward passes alone':<24}{forward.of(passed)}", flush=True)


class Spent(NamedTuple):
  """Seconds by the clock, and of all processors, which say more while others use them, too."""

  seconds: float
  cpu_seconds: float

  def of(self, images: int) -> str:
    """Returns both as text, with images per second."""
    return (
      f"{self.seconds:8.1f} s{images / self.seconds:9.1f} images/s"
      f"{self.cpu_seconds:9.1f} CPU s{1000 * self.cpu_seconds / images:9.2f} CPU ms/image"
    )


def timed(work: Callable[[], T]) -> tuple[Spent, T]:
  """Returns what something costs, and what it returns."""
  started, before = time.perf_counter(), time.process_time()
  result = work()
  return Spent(time.perf_counter() - started, time.process_time() - before), result


def write_checkpoints(architecture: Architecture, directory: Path, count: int) -> list[str]:
  writer = CheckpointWriter(architecture)
  prefixes = []
  for run in range(count):
    rng = np.random.default_rng(run)
    weights = {}
    for key, spec in architecture.specs.items():
      draw = np.asarray(0.05 * rng.standard_normal(spec.shape))
      weights[key] = (np.abs(draw) + 0.5 if "variance" in key else draw).astype(spec.dtype)
    prefixes.append(writer.write(directory / f"run-{run}", weights, epoch=1, global_step=1))
  return prefixes


def evaluate_plainly(name: str, records: Path, prefix: str, batch_size: int) -> np.ndarray:
  model = build_model(name, len(SYNSETS))
  checkpoint = tf.train.Checkpoint(
    model=model, epoch=tf.Variable(0, dtype=tf.int64), global_step=tf.Variable(0, dtype=tf.int64)
  )
  checkpoint.restore(prefix)
  forward = tf.function(lambda images: model(images, is_training=False))
  features = {
    "image/encoded": tf.io.FixedLenFeature((), tf.string),
    "image/class/label": tf.io.FixedLenFeature((), tf.int64),
    "index": tf.io.FixedLenFeature((), tf.int64),
  }

  def decode(record: tf.Tensor) -> tuple:
    parsed = tf.io.parse_single_example(record, features)
    height, width, _ = tf.unstack(tf.image.extract_jpeg_shape(parsed["image/encoded"]))
    side = tf.minimum(height, width) * 224 // 256
    window = [(height - side + 1) // 2, (width - side + 1) // 2, side, side]
    image = tf.image.decode_and_crop_jpeg(
      parsed["image/encoded"], window, channels=3, dct_method="INTEGER_ACCURATE"
    )
    image = tf.image.resize(tf.image.convert_image_dtype(image, tf.float32), (224, 224))
    image = (image - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    return image, parsed["image/class/label"] - 1, parsed["index"]

  parts = []
  for split in ("train", "validation"):
    paths = sorted(map(str, records.glob(f"{split}-*-of-*")))
    batches = tf.data.TFRecordDataset(paths).map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    correct: dict[int, bool] = {}
    for images, labels, indices in batches.batch(batch_size).prefetch(2):
      predicted = tf.argmax(forward(images), axis=1) == labels
      correct |= dict(zip(indices.numpy().tolist(), predicted.numpy().tolist(), strict=True))
    parts += [correct[index] for index in sorted(correct)]
  return np.array(parts)


def build_plainly(tree: Path, output: Path) -> None:
  output.mkdir()
  folders = sorted(path.name for path in tree.iterdir())
  paths = sorted(tree.rglob("*.JPEG"))
  with tf.io.TFRecordWriter(str(output / "train-00000-of-00001")) as writer:
    for index, path in enumerate(paths):
      content = path.read_bytes()
      with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "RGB"
        image.load()
        width, height = image.size
      label = folders.index(path.parent.name) + 1
      texts = {
        "image/encoded": content,
        "image/colorspace": b"RGB",
        "image/format": b"JPEG",
        "image/filename": path.name.encode(),
        "image/class/synset": path.parent.name.encode(),
        "image/class/text": path.parent.name.encode(),
      }
      numbers = {
        "image/height": height,
        "image/width": width,
        "image/channels": 3,
        "image/class/label": label,
        "index": index,
      }
      features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for name, value in texts.items()
      } | {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        for name, value in numbers.items()
      }
      example = tf.train.Example(features=tf.train.Features(feature=features))
      writer.write(example.SerializeToString(deterministic=True))


def contents(directory: Path) -> list[bytes]:
  """Returns the records of a split, sorted."""
  return sorted(
    record.content for path in directory.glob("*-of-*") for record in read_records(str(path))
  )


def heldout_build(tree: Path, output: str, split: str) -> list[str]:
  program = [sys.executable, "-m", "beam_pipelines.cli", "build-tfrecords", f"--shards={SHARDS}"]
  return [*program, f"--images={tree}", f"--split={split}", f"--output={output}"]


def measured(command: list[str]) -> tuple[Spent, int]:
  """Returns what a command and its children cost, and the most bytes that they had together."""
  started, before = time.perf_counter(), os.times()
  process = psutil.Popen(command, stdout=subprocess.DEVNULL)
  peak = 0
  while process.poll() is None:
    try:
      family = [process, *process.children(recursive=True)]
      peak = max(peak, sum(each.memory_info().rss for each in family))
    except psutil.Error:
      pass
    time.sleep(0.05)
  if process.returncode:
    sys.exit(f"{command[0]} ended with status {process.returncode}")
  after = os.times()
  cpu_seconds = sum(after[2:4]) - sum(before[2:4])  # of children that have ended
  return Spent(time.perf_counter() - started, cpu_seconds), peak


def write_tree(directory: Path, count: int) -> None:
  photographs = load_sample_images().images
  rng = np.random.default_rng(0)
  for number in range(count):
    photograph = photographs[number % len(photographs)]
    height, width = rng.integers(300, 427), rng.integers(400, 640)
    top = rng.integers(0, photograph.shape[0] - height + 1)
    left = rng.integers(0, photograph.shape[1] - width + 1)
    synset = SYNSETS[number % len(SYNSETS)]
    path = directory / synset / f"{synset}_{number}.JPEG"
    path.parent.mkdir(parents=True, exist_ok=True)
    crop = photograph[top : top + height, left : left + width]
    Image.fromarray(crop).save(path, quality=92)


if __name__ == "__main__":
  main()
