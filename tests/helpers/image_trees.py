"""A small tree like ImageNet's, of real photographs that installed packages ship."""

import functools
import io
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

SYNSETS = ("n01440764", "n01443537", "n01484850")
TEXTS = ("tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark")

GREY, CMYK, PNG = "n01440764_3.JPEG", "n01443537_5.JPEG", "n01484850_1.JPEG"
"""Training images that are no RGB JPEGs; all are called .JPEG."""

TRAIN_PER_CLASS = 8
VALIDATION = 9


@functools.cache
def photographs():
  """Returns three photographs, uint8 [height, width, 3] each."""
  hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
  with Image.open(hopper) as image:
    return (*load_sample_images().images, np.asarray(image.convert("RGB")))


def crop_photograph(seed):
  """Returns a crop of one photograph of an odd size, uint8 [height, width, 3]."""
  rng = np.random.default_rng(seed)
  photograph = photographs()[seed % 3]
  height, width = rng.integers(90, 380, 2)
  top = rng.integers(0, photograph.shape[0] - height)
  left = rng.integers(0, photograph.shape[1] - width)
  return photograph[top : top + height, left : left + width]


def encode(pixels, kind="JPEG", mode="RGB", **options):
  """Returns an image file."""
  buffer = io.BytesIO()
  Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
  return buffer.getvalue()


@functools.cache
def train_files():
  """Returns the training images by path: a folder for each synset."""
  kinds = {GREY: {"mode": "L"}, CMYK: {"mode": "CMYK"}, PNG: {"kind": "PNG"}}
  found = {}
  for label, synset in enumerate(SYNSETS):
    for number in range(TRAIN_PER_CLASS):
      name = f"{synset}_{number}.JPEG"
      options = kinds.get(name, {"quality": 60 + 5 * number})
      found[f"{synset}/{name}"] = encode(crop_photograph(label + 3 * number), **options)
  return found


@functools.cache
def validation_files():
  """Returns the validation images by path: they lie flat."""
  return {
    f"ILSVRC2012_val_{number:08d}.JPEG": encode(crop_photograph(100 + number), quality=90)
    for number in range(VALIDATION)
  }


def write_index(path, **changed):
  """Writes an index of both splits in an order of its own; returns its arrays."""
  rng = np.random.default_rng(0)
  names = np.array([name.rpartition("/")[2] for name in train_files()])
  order = rng.permutation(len(names))
  validation = np.array(sorted(validation_files()))
  arrays = {
    "tr_filenames": names[order].astype("S"),
    "tr_labels": np.repeat(np.arange(3), TRAIN_PER_CLASS)[order],
    "tt_filenames": validation[::-1].astype("S"),
    "tt_labels": (100 + np.arange(VALIDATION)[::-1]) % 3,
    "tr_mem": rng.random(len(names)),
  } | changed
  Path(path).write_bytes(encode_npz(arrays))
  return arrays


def encode_npz(arrays):
  """Returns an `.npz` file."""
  buffer = io.BytesIO()
  np.savez(buffer, **arrays)
  return buffer.getvalue()


def write_tree(directory, tree):
  """Writes files by path."""
  for name, content in tree.items():
    path = Path(directory) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
