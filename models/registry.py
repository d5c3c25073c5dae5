"""The architectures by name."""

import functools
from collections.abc import Callable

import sonnet as snt

from files.errors import UsageError
from files.plugins import contained, describe_error, is_plugin, load_plugin
from models.cifar_resnet import cifar_resnet18, cifar_resnet50
from models.mlp import MLP
from models.small_inception import SmallInception


class ModelError(UsageError):
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
    name: one of `model_names()`, or `package.module:attribute`: a function, or a class, that makes
      such a module of the number of classes.
    num_classes: width of the logits, at least 2.

  Raises:
    ModelError: if the name is unknown, what it means makes no module, or `num_classes` is below 2.
  """
  if name not in _BUILDERS and not is_plugin(name):
    raise ModelError(
      f"unknown model {name!r}: choose one of {', '.join(model_names())}, or write "
      "package.module:Network for one of your own"
    )
  if num_classes < 2:
    raise ModelError(f"model {name!r} needs at least 2 classes, not {num_classes}")
  return _BUILDERS[name](num_classes) if name in _BUILDERS else _build_plugin(name, num_classes)


def _build_plugin(name: str, num_classes: int) -> snt.Module:
  try:
    build = load_plugin(name)
  except UsageError as error:
    raise ModelError(f"model {error}") from error
  try:
    with contained():
      module = build(num_classes)
  except TypeError as error:
    raise ModelError(f"model {name}: it must take the number of classes ({error})") from error
  except Exception as error:  # whatever the user's code raises
    raise ModelError(
      f"model {name} cannot be made for {num_classes} classes ({describe_error(error)}): correct it"
    ) from error
  if not isinstance(module, snt.Module):
    raise ModelError(f"model {name} makes a {type(module).__name__}: make a Sonnet module")
  return module
