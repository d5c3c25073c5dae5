"""Initial weights, distributed as Sonnet's modules initialise themselves."""

import math

import numpy as np

from models.run_seed import RunSeed, Stream
from models.weights import Weights


def draw_weights(run: RunSeed, built: Weights) -> Weights:
  """Draws the initial weights of a run.

  Sonnet fills biases, scales, offsets, moving averages and some last layers with a constant, and
  every other matrix and convolution kernel with normal numbers of standard deviation
  1/sqrt(fan in), those beyond two standard deviations drawn again. (Sonnet's own draws come from
  TensorFlow's global seed, which would tie a run to those before it.)

  Args:
    run: what its random numbers follow from.
    built: the values of a freshly built module by checkpoint key. Those that are constant
      throughout are kept; of the others only the shapes count.

  Returns:
    Arrays of the same keys, shapes and dtypes as `built`.
  """
  generator = run.stream(Stream.WEIGHTS)
  return {
    key: value if np.all(value == value.flat[0]) else _truncated_normal(generator, value.shape)
    for key, value in built.items()
  }


def _truncated_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
  values = generator.standard_normal(math.prod(shape), dtype=np.float32)
  beyond = np.flatnonzero(np.abs(values) > 2)
  while beyond.size:
    values[beyond] = generator.standard_normal(beyond.size, dtype=np.float32)
    beyond = beyond[np.abs(values[beyond]) > 2]
  values /= np.float32(math.sqrt(math.prod(shape[:-1])))
  return values.reshape(shape)
