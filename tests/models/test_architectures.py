"""Every released architecture, against the originals' variables and logits."""

import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from models.architecture import Architecture

DATA = Path(__file__).parents[1] / "data"
ARCHITECTURES = json.loads(gzip.decompress((DATA / "architectures.json.gz").read_bytes()))
MODEL_NAMES = {
  "small_inception_gray28": "small_inception",
  "small_inception_cifar100": "small_inception",
}


def fill(key: str, shape: tuple[int, ...]) -> np.ndarray:
  """The weights behind golden_logits.npz: drawn from a generator seeded by the key."""
  if "_counter" in key:
    return np.int64(1)
  draw = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
  if "variance" in key:
    return np.abs(draw) + np.float32(0.5)
  if key.endswith("/scale"):
    return 1 + np.float32(0.1) * draw
  return np.float32(0.05) * draw


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_variables_and_logits_are_those_of_the_original_network(architecture):
  original = ARCHITECTURES[architecture]
  model, variables = Architecture(
    MODEL_NAMES.get(architecture, architecture),
    original["num_classes"],
    tuple(original["input_shape"]),
  ).build()
  assert {key: [list(v.shape), v.dtype.name] for key, v in variables.items()} == original[
    "variables"
  ]
  for key, variable in variables.items():
    variable.assign(fill(key, variable.shape))
  images = np.random.default_rng(0).random((2, *original["input_shape"]), dtype=np.float32)

  logits = model(images, is_training=False).numpy()

  with np.load(DATA / "golden_logits.npz") as golden:
    expected = golden[architecture]
  assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()
