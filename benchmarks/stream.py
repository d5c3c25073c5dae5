"""Times data sets that are streamed: building them, and evaluating checkpoints on them.

Building: `heldout build-tfrecords` against a single loop that decodes, and writes with TensorFlow's
writer; the examples must be the same. Memory is the peak of the process and its children, at a
quarter of the images and at all of them.

Evaluation: checkpoints of ResNet-50 at 224×224 in one shared pass, in a pass each, and the plain
way: for each checkpoint a new module, `tf.train.Checkpoint.restore`, a new `tf.function` and
TensorFlow's own pipeline over the files. The bits must be equal. Beside it, images per second of
decoding alone, and of forward passes alone.

Images are crops of the photographs that scikit-learn ships, of ImageNet's usual size.
"""

import argparse
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from files.tfrecord import read_records
from image_datasets import Dataset, all_batches, all_labels, load_dataset
from models import Architecture, CheckpointWriter, StreamEvaluator, build_model, read_weights

SYNSETS = tuple(f"n{number:08d}" for number in range(1, 11))
MODEL = "resnet50"


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--images", type=int, default=5000, help="to build of (%(default)s)")
  parser.add_argument("--evaluated", type=int, default=64, help="to evaluate (%(default)s)")
  parser.add_argument("--checkpoints", type=int, default=8)
  parser.add_argument("--workers", type=int, default=2)
  parser.add_argument("--only", choices=("build", "evaluate"))
  parser.add_argument("--plain_build", nargs=2, help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.plain_build:
    build_plainly(*map(Path, options.plain_build))
    return
  with tempfile.TemporaryDirectory() as scratch:
    if options.only != "evaluate":
      compare_builds(Path(scratch), options)
    if options.only != "build":
      compare_evaluations(Path(scratch), options)


def compare_builds(scratch: Path, options: argparse.Namespace) -> None:
  print("built                 images  seconds  images/s  peak MB")
  for count in (options.images // 4, options.images):
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
      seconds, peak = measured(command)
      print(
        f"{name:<20}{count:8,}{seconds:9.1f}{count / seconds:10.0f}{peak / 1e6:9.0f}", flush=True
      )
    expected = contents(Path(f"{tree}-plain"))
    assert contents(Path(f"{tree}-ours")) == contents(Path(f"{tree}-spread")) == expected


def compare_evaluations(scratch: Path, options: argparse.Namespace) -> None:
  records = scratch / "evaluated"
  quarter = options.evaluated // 4
  for split, count in (("train", options.evaluated - quarter), ("validation", quarter)):
    write_tree(scratch / f"evaluated-{split}", count)
    command = heldout_build(scratch / f"evaluated-{split}", str(records), split)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
  dataset = load_dataset(f"tfrecord:{records}")
  labels = all_labels(dataset)
  architecture = Architecture(MODEL, dataset.num_classes, dataset.image_shape)
  prefixes = write_checkpoints(architecture, scratch, options.checkpoints)
  started = time.perf_counter()
  evaluator = StreamEvaluator(
    MODEL,
    lambda batch_size: all_batches(dataset, batch_size),
    labels,
    num_classes=dataset.num_classes,
    image_shape=dataset.image_shape,
  )
  print(f"tracing: {time.perf_counter() - started:.1f} s")
  weights = [read_weights(prefix, architecture.specs) for prefix in prefixes]
  evaluator.predict_all(weights[:1])  # whatever TensorFlow does once
  started = time.perf_counter()
  together = [each.correct for each in evaluator.predict_all(weights)]
  shared = time.perf_counter() - started
  started = time.perf_counter()
  alone = [evaluator.predict_all([each])[0].correct for each in weights]
  passes = time.perf_counter() - started
  started = time.perf_counter()
  plain = [evaluate_plainly(records, prefix, dataset) for prefix in prefixes]
  plainly = time.perf_counter() - started
  np.testing.assert_array_equal(together, alone)
  np.testing.assert_array_equal(together, plain)
  images = len(labels) * len(prefixes)
  print(f"evaluated: {len(prefixes)} checkpoints × {len(labels)} images")
  for name, seconds in (("one pass", shared), ("a pass each", passes), ("plain", plainly)):
    print(f"{name:<20}{seconds:9.1f} s{images / seconds:10.1f} images/s", flush=True)
  batch = next(all_batches(dataset, 8))
  for _ in range(2):
    started = time.perf_counter()
    decoded = sum(len(each.examples) for _ in range(4) for each in all_batches(dataset, 8))
    decoding = time.perf_counter() - started
  held = StreamEvaluator(
    MODEL,
    lambda _: [(np.arange(8), batch.images)],
    labels[:8],
    num_classes=dataset.num_classes,
    image_shape=dataset.image_shape,
    batch_size=8,
  )
  started = time.perf_counter()
  held.predict_all(weights)
  forward = time.perf_counter() - started
  print(f"decoding alone: {decoded / decoding:.0f} images/s")
  print(f"forward passes alone: {8 * len(weights) / forward:.1f} images/s")


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


def evaluate_plainly(records: Path, prefix: str, dataset: Dataset) -> np.ndarray:
  model = build_model(MODEL, len(SYNSETS))
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
    for images, labels, indices in batches.batch(2).prefetch(2):
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
  program = [sys.executable, "-m", "beam_pipelines.cli", "build-tfrecords"]
  return [*program, f"--images={tree}", f"--split={split}", f"--output={output}"]


def measured(command: list[str]) -> tuple[float, int]:
  """Returns seconds, and the most bytes that a command and its children had together."""
  started = time.perf_counter()
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
  return time.perf_counter() - started, peak


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
