import dataclasses

import numpy as np
import pytest

from models import Architecture, ModelError

DIGITS_MLP = Architecture("mlp", num_classes=10, image_shape=(8, 8, 1))


def test_specs_are_those_of_the_variables_that_are_built():
  _, variables = DIGITS_MLP.build()
  assert {key: spec.shape for key, spec in DIGITS_MLP.specs.items()} == {
    key: tuple(variable.shape) for key, variable in variables.items()
  }
  assert {spec.dtype for spec in DIGITS_MLP.specs.values()} == {"float32"}


def test_parameters_are_the_numbers_that_a_checkpoint_holds():
  # The MNIST demonstration's layers, weights and biases: 784-512-256-10.
  mnist = dataclasses.replace(DIGITS_MLP, image_shape=(28, 28, 1))
  assert mnist.parameters == 785 * 512 + 513 * 256 + 257 * 10
  _, variables = Architecture("small_inception", 10, (8, 8, 1)).build()
  held = sum(np.size(variable.numpy()) for variable in variables.values())
  assert Architecture("small_inception", 10, (8, 8, 1)).parameters == held


def test_each_build_is_a_new_one_but_specs_are_found_once():
  again = Architecture("mlp", 10, (8, 8, 1))
  assert again == DIGITS_MLP
  assert again.build()[0] is not again.build()[0]
  assert again.specs is DIGITS_MLP.specs
  assert dataclasses.replace(again, num_classes=7).specs != again.specs


@pytest.mark.parametrize(
  ("changes", "message"),
  [({"name": "vgg"}, "unknown model 'vgg'"), ({"num_classes": 1}, "needs at least 2 classes")],
)
def test_what_cannot_be_built_has_no_specs(changes, message):
  with pytest.raises(ModelError, match=message):
    _ = dataclasses.replace(DIGITS_MLP, **changes).specs
