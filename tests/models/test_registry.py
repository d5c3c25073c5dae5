import itertools

import numpy as np
import pytest
import tensorflow as tf

from models.architecture import Architecture
from models.registry import ModelError, build_model, model_names
from models.weights import variables_by_key


def test_names_cover_the_released_architectures_and_their_options():
  assert model_names() == (
    "cifar_resnet18",
    "cifar_resnet50",
    "mlp",
    "mlp_small",
    "resnet50",
    "resnet50_v2",
    "small_inception",
    "small_inception_large",
    "small_inception_large_residual",
    "small_inception_residual",
  )


@pytest.mark.parametrize("name", ["mlp", "small_inception", "cifar_resnet18"])
@pytest.mark.parametrize("is_training", [False, True])
def test_modules_map_images_of_any_size_to_logits(name, is_training):
  logits = build_model(name, 7)(tf.zeros((3, 9, 8, 2)), is_training=is_training)

  assert logits.shape == (3, 7)
  assert logits.dtype == np.float32


@pytest.mark.parametrize(("name", "hidden"), [("mlp", (512, 256)), ("mlp_small", (128, 64))])
def test_layers_of_the_perceptrons(name, hidden):
  weights = {key: spec.shape for key, spec in Architecture(name, 10, (28, 28, 1)).specs.items()}

  widths = (784, *hidden, 10)
  assert [shape for key, shape in weights.items() if key.endswith("/w")] == [
    *itertools.pairwise(widths)
  ]


@pytest.mark.parametrize("name", ["small_inception", "small_inception_large"])
def test_residual_option_changes_the_logits_but_no_key(name):
  images = np.random.default_rng(0).random((2, 32, 32, 3), dtype=np.float32)
  plain, residual = build_model(name, 10), build_model(f"{name}_residual", 10)
  plain(images, is_training=False)
  residual(images, is_training=False)
  copies = variables_by_key(residual)
  assert copies.keys() == variables_by_key(plain).keys()
  for key, variable in variables_by_key(plain).items():
    copies[key].assign(variable)

  difference = plain(images, is_training=False) - residual(images, is_training=False)

  assert np.abs(difference).max() > 1e-3


def test_training_moves_the_averages_and_evaluation_does_not():
  model = build_model("small_inception", 10)
  images = np.random.default_rng(0).random((4, 8, 8, 1), dtype=np.float32)
  model(images, is_training=False)
  mean = variables_by_key(model)["model/conv1/bn/moving_mean/average"]
  assert not mean.numpy().any()

  model(images, is_training=True)

  assert mean.numpy().any()


def test_unknown_name_lists_the_known_ones():
  with pytest.raises(ModelError, match=r"unknown model 'vgg': choose one of cifar_resnet18, .*mlp"):
    build_model("vgg", 10)


def test_fewer_than_two_classes_are_refused():
  with pytest.raises(ModelError, match="'mlp' needs at least 2 classes, not 1"):
    build_model("mlp", 1)
