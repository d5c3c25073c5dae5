import re

import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf

from models.architecture import Architecture
from models.registry import build_model
from models.weights import (
  CheckpointError,
  VariableSpec,
  assign,
  check_specs,
  variables_by_key,
)


class SharedLayer(snt.Module):
  """Reaches one layer on two paths, one of them through nested containers."""

  def __init__(self):
    super().__init__()
    self.deep = {"pair": [snt.Linear(2), snt.Linear(3)]}
    self.shallow = self.deep["pair"][1]

  def __call__(self, images, is_training):
    return self.shallow(self.deep["pair"][0](images))


@pytest.mark.parametrize(
  "build",
  [lambda: build_model("mlp", 3), lambda: build_model("small_inception", 3), SharedLayer],
  ids=["mlp", "small_inception", "shared_layer"],
)
def test_keys_are_those_that_tensorflow_writes(build, tmp_path):
  module = build()
  module(tf.zeros((1, 4, 4, 1)), is_training=False)

  keys = set(variables_by_key(module))

  tf.train.Checkpoint(model=module).write(str(tmp_path / "ckpt"))
  written = {name for name, _ in tf.train.list_variables(str(tmp_path / "ckpt"))}
  assert {f"{key}/.ATTRIBUTES/VARIABLE_VALUE" for key in keys} == {
    name for name in written if name.startswith("model/")
  }


def test_assign_sets_every_variable():
  _, variables = Architecture("mlp", 3, (2, 2, 1)).build()
  weights = {
    key: np.full(variable.shape, i, np.float32)
    for i, (key, variable) in enumerate(variables.items())
  }

  assign(variables, weights)

  for key, variable in variables.items():
    np.testing.assert_array_equal(variable.numpy(), weights[key])


def test_assign_refuses_other_shapes_before_it_changes_anything():
  _, variables = Architecture("mlp", 3, (2, 2, 1)).build()
  weights = {key: np.zeros(variable.shape, np.float32) for key, variable in variables.items()}
  last = list(variables)[-1]
  before = {key: variable.numpy() for key, variable in variables.items()}

  with pytest.raises(CheckpointError, match=re.escape(f"{last} is float32 (9,), not float32 (3,)")):
    assign(variables, weights | {last: np.zeros(9, np.float32)})

  for key, variable in variables.items():
    np.testing.assert_array_equal(variable.numpy(), before[key])


A, B = VariableSpec((2, 3), "float32"), VariableSpec((2,), "float32")


@pytest.mark.parametrize(
  ("found", "message"),
  [
    ({"model/w": A}, "x: another architecture: there is no model/b, float32 (2,)"),
    (
      {"model/w": A, "model/b": A},
      "x: another architecture, class count or image shape:"
      " model/b is float32 (2, 3), not float32 (2,)",
    ),
    (
      {"model/w": A, "model/b": VariableSpec((2,), "float64")},
      "x: another architecture, class count or image shape:"
      " model/b is float64 (2,), not float32 (2,)",
    ),
    ({"model/w": A, "model/b": B, "model/z": A}, "x: another architecture: unexpected model/z"),
  ],
)
def test_differing_variables_are_named(found, message):
  with pytest.raises(CheckpointError) as error:
    check_specs(found, {"model/w": A, "model/b": B}, source="x")

  assert str(error.value) == message
