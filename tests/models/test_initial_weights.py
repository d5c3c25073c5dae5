import numpy as np
import pytest

from models.architecture import Architecture
from models.initial_weights import draw_weights
from models.run_seed import RunSeed


def built_weights(model_name, image_shape):
  _, variables = Architecture(model_name, 10, image_shape).build()
  return {key: variable.numpy() for key, variable in variables.items()}


@pytest.mark.parametrize("model_name", ["mlp", "small_inception", "cifar_resnet18"])
def test_weights_are_distributed_as_sonnet_distributes_them(model_name):
  built = built_weights(model_name, (32, 32, 3))
  drawn = draw_weights(RunSeed(0, 0.7, 0), built)
  assert list(drawn) == list(built)
  for key, theirs in built.items():
    ours = drawn[key]
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    if theirs.std() == 0:
      np.testing.assert_array_equal(ours, theirs)
      continue
    stddev = 1 / np.sqrt(np.prod(theirs.shape[:-1]))
    assert np.abs(ours).max() <= 2 * stddev * (1 + 1e-6)
    # Six standard errors of each statistic.
    assert ours.std() == pytest.approx(theirs.std(), rel=6 / np.sqrt(theirs.size))
    assert ours.mean() == pytest.approx(0, abs=6 * stddev / np.sqrt(theirs.size))


def test_weights_follow_from_seed_ratio_and_run_alone():
  # Two builds differ in the values that Sonnet drew; none of those may show.
  first, second = (built_weights("mlp", (8, 8, 1)) for _ in range(2))
  key = "model/_mlp/_layers/0/w"
  assert not np.array_equal(first[key], second[key])
  drawn = draw_weights(RunSeed(1, 0.7, 2), first)[key]
  np.testing.assert_array_equal(draw_weights(RunSeed(1, 0.7, 2), second)[key], drawn)
  for other in ((2, 0.7, 2), (1, 0.6, 2), (1, 0.7, 3)):
    assert not np.array_equal(draw_weights(RunSeed(*other), first)[key], drawn)
