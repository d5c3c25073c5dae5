"""TensorFlow checkpoints of one run: weights in, weights out.

The format is the one of the released checkpoints, written by
`tf.train.Checkpoint(model=…, epoch=…, global_step=…)`. Paths are local.
"""

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from models.architecture import Architecture
from models.weights import CheckpointError, VariableSpec, Weights, assign, check_specs

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


class CheckpointWriter:
  """Writes checkpoints of one architecture; the module is built once, threads may share it.

  Example:
    >>> writer = CheckpointWriter(Architecture("mlp", 10, (28, 28, 1)))
    >>> writer.write("0.7/123/checkpoints", weights, epoch=10, global_step=3290)
    '0.7/123/checkpoints/ckpt-10'

  Args:
    architecture: the checkpoints'.

  Raises:
    ModelError: if the architecture does not exist or its number of classes is below 2.
  """

  def __init__(self, architecture: Architecture):
    module, self._variables = architecture.build()
    self._epoch = tf.Variable(0, dtype=tf.int64)
    self._global_step = tf.Variable(0, dtype=tf.int64)
    self._checkpoint = tf.train.Checkpoint(
      model=module, epoch=self._epoch, global_step=self._global_step
    )
    # `Checkpoint.save` writes this counter, and a strict `Checkpoint.restore` asks for it.
    self._checkpoint.save_counter.assign(1)
    self._lock = threading.Lock()

  def write(self, directory: str | Path, weights: Weights, *, epoch: int, global_step: int) -> str:
    """Writes `ckpt-<epoch>.index` and its data file, and returns the prefix `…/ckpt-<epoch>`.

    Args:
      directory: where to; made if need be.
      weights: every variable of the architecture, by checkpoint key.
      epoch: epochs trained.
      global_step: optimiser steps taken.

    Raises:
      CheckpointError: if keys, shapes or dtypes of `weights` are not the architecture's.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with self._lock:
      assign(self._variables, weights)
      self._epoch.assign(epoch)
      self._global_step.assign(global_step)
      return self._checkpoint.write(str(directory / f"ckpt-{epoch}"))


def read_weights(prefix: str | Path, expected: Mapping[str, VariableSpec]) -> dict[str, np.ndarray]:
  """Reads a checkpoint's model variables, by key, without building a module.

  What else it holds, such as `epoch` or an optimiser's variables, is passed over.

  Args:
    prefix: path of the checkpoint without `.index`.
    expected: what it must hold, from `Architecture.specs`.

  Raises:
    CheckpointError: if files are missing or damaged, if the variables are not `expected`, or if a
      weight is not finite.
  """
  if not Path(f"{prefix}.index").is_file():
    raise CheckpointError(f"{prefix}: no checkpoint: {Path(prefix).name}.index is missing")
  weights = {}
  try:
    reader = tf.train.load_checkpoint(str(prefix))
    dtypes = reader.get_variable_to_dtype_map()
    found = {
      name.removesuffix(_VALUE): VariableSpec(tuple(shape), dtypes[name].name)
      for name, shape in reader.get_variable_to_shape_map().items()
      if name.startswith("model/") and name.endswith(_VALUE) and "/.OPTIMIZER_SLOT/" not in name
    }
    check_specs(found, expected, source=str(prefix))
    for key in expected:
      weights[key] = reader.get_tensor(key + _VALUE)
  # The reader reports a short data file as an IndexError, everything else as an OpError.
  except (tf.errors.OpError, IndexError) as error:
    reason = str(error).splitlines()[0]
    raise CheckpointError(f"{prefix}: unreadable checkpoint: {reason}") from error
  for key, value in weights.items():
    if not np.isfinite(value).all():
      raise CheckpointError(f"{prefix}: weights that are not finite in {key}")
  return weights
