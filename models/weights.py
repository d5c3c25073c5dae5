"""A module's variables under the keys that its checkpoints use."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import sonnet as snt
import tensorflow as tf

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


def check_specs(
  found: Mapping[str, VariableSpec], expected: Mapping[str, VariableSpec], source: str
) -> None:
  """Checks that variables are exactly those an architecture has.

  Args:
    found: what is there.
    expected: what the architecture has, from `Architecture.specs`.
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


def check_weights(variables: Mapping[str, tf.Variable], weights: Weights) -> None:
  """Checks that `weights` may be assigned to a module's variables, both by checkpoint key.

  Raises:
    CheckpointError: if keys, shapes or dtypes differ.
  """
  check_specs(
    {key: VariableSpec(value.shape, value.dtype.name) for key, value in weights.items()},
    {key: spec_of(variable) for key, variable in variables.items()},
    source="weights",
  )


def assign(variables: Mapping[str, tf.Variable], weights: Weights) -> None:
  """Assigns `weights` to a module's variables, both by checkpoint key.

  Raises:
    CheckpointError: if keys, shapes or dtypes differ; then no variable has changed.
  """
  check_weights(variables, weights)
  for key, variable in variables.items():
    variable.assign(weights[key])


def spec_of(variable: tf.Variable) -> VariableSpec:
  """Returns the shape and dtype of a variable."""
  return VariableSpec(tuple(variable.shape), variable.dtype.name)
