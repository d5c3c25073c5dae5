"""The architectures by name."""

import functools
from collections.abc import Callable

import sonnet as snt

from models.cifar_resnet import cifar_resnet18, cifar_resnet50
from models.mlp import MLP
from models.small_inception import SmallInception


class ModelError(ValueError):
  """An architecture was asked for that does not exist or cannot be built."""


_BUILDERS: dict[str, Callable[[int], snt.Module]] = {
  "cifar_resnet18": cifar_resnet18,
  "cifar_resnet50": cifar_resnet50,
  "mlp": MLP,
  "mlp_small": functools.partial(MLP, hidden=(128, 64)),
  "resnet50": snt.nets.ResNet50,
  "resnet50_v2": functools.partial(snt.nets.ResNet50, resnet_v2=True),
  "small_inception": SmallInception,
  "small_inception_large": functools.partial(SmallInception, large_inputs=True),
  "small_inception_large_residual": functools.partial(
    SmallInception, large_inputs=True, with_residual=True
  ),
  "small_inception_residual": functools.partial(SmallInception, with_residual=True),
}


def model_names() -> tuple[str, ...]:
  """Returns the registered architecture names, sorted."""
  return tuple(sorted(_BUILDERS))


def build_model(name: str, num_classes: int) -> snt.Module:
  """Builds a fresh module of the architecture `name`; its variables appear on the first call.

  The module maps `(images, is_training)`, images float32 [batch, height, width, channels] and
  `is_training` a Python bool, to float32 logits [batch, num_classes].

  Args:
    name: one of `model_names()`.
    num_classes: width of the logits, at least 2.

  Raises:
    ModelError: if the name is unknown or `num_classes` is below 2.
  """
  if name not in _BUILDERS:
    raise ModelError(f"unknown model {name!r}: choose one of {', '.join(model_names())}")
  if num_classes < 2:
    raise ModelError(f"model {name!r} needs at least 2 classes, not {num_classes}")
  return _BUILDERS[name](num_classes)
