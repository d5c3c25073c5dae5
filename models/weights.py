"""A module's variables under the keys that its checkpoints use."""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import sonnet as snt
import tensorflow as tf

from models.registry import build_model

Weights = Mapping[str, np.ndarray]
"""Weights by checkpoint key, such as `model/conv1/conv/w`."""


class CheckpointError(ValueError):
  """A checkpoint, or weights meant for one, cannot be used."""


class VariableSpec(NamedTuple):
  """The shape and NumPy dtype name of one variable."""

  shape: tuple[int, ...]
  dtype: str

  def __str__(self) -> str:
    return f"{self.dtype} {self.shape}"


def variables_by_key(module: snt.Module) -> dict[str, tf.Variable]:
  """Returns the variables of `module`, which has been called before, by checkpoint key.

  The keys are those under which `tf.train.Checkpoint(model=module)` saves them: attribute names
  joined by `/`, list items by their position, below `model/`. As there, an object that several
  attributes refer to is listed once, under its shortest path.
  """
  variables = {}
  seen = {id(module)}
  queue: list[tuple[str, tf.Module]] = [("model", module)]
  for path, parent in queue:
    for name, child in tf.train.TrackableView.children(parent).items():
      if id(child) in seen:
        continue
      seen.add(id(child))
      key = f"{path}/{name}"
      if isinstance(child, tf.Variable):
        variables[key] = child
      else:
        queue.append((key, child))
  return variables


def build_with_variables(
  model_name: str, num_classes: int, image_shape: tuple[int, int, int]
) -> tuple[snt.Module, dict[str, tf.Variable]]:
  """Builds an architecture, creates its variables, and returns both.

  Args:
    model_name: one of `model_names()`.
    num_classes: width of the logits.
    image_shape: (height, width, channels).

  Raises:
    ModelError: if the architecture does not exist or `num_classes` is below 2.
  """
  module = build_model(model_name, num_classes)
  module(tf.zeros((1, *image_shape)), is_training=False)
  return module, variables_by_key(module)


@functools.cache
def variable_specs(
  model_name: str, num_classes: int, image_shape: tuple[int, int, int]
) -> Mapping[str, VariableSpec]:
  """Returns what a checkpoint of an architecture must hold: shape and dtype by key.

  Builds the module once for each set of arguments; see `build_with_variables` for them.
  """
  _, variables = build_with_variables(model_name, num_classes, image_shape)
  return MappingProxyType({key: _spec(variable) for key, variable in variables.items()})


def check_specs(
  found: Mapping[str, VariableSpec], expected: Mapping[str, VariableSpec], source: str
) -> None:
  """Checks that variables are exactly those an architecture has.

  Args:
    found: what is there.
    expected: what the architecture has, from `variable_specs`.
    source: where `found` is from, for the error message.

  Raises:
    CheckpointError: naming the first key that is missing, left over, or of another shape or dtype.
  """
  for key, spec in expected.items():
    if key not in found:
      raise CheckpointError(f"{source}: another architecture: there is no {key}, {spec}")
    if found[key] != spec:
      raise CheckpointError(
        f"{source}: another architecture, class count or image shape:"
        f" {key} is {found[key]}, not {spec}"
      )
  if left_over := sorted(found.keys() - expected.keys()):
    raise CheckpointError(f"{source}: another architecture: unexpected {left_over[0]}")


def assign(variables: Mapping[str, tf.Variable], weights: Weights) -> None:
  """Assigns `weights` to a module's variables, both by checkpoint key.

  Raises:
    CheckpointError: if keys, shapes or dtypes differ; then no variable has changed.
  """
  check_specs(
    {key: VariableSpec(value.shape, value.dtype.name) for key, value in weights.items()},
    {key: _spec(variable) for key, variable in variables.items()},
    source="weights",
  )
  for key, variable in variables.items():
    variable.assign(weights[key])


def _spec(variable: tf.Variable) -> VariableSpec:
  return VariableSpec(tuple(variable.shape), variable.dtype.name)
