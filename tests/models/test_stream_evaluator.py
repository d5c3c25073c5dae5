from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.datasets import load_digits

from models.architecture import Architecture
from models.evaluator import Evaluator
from models.registry import ModelError
from models.stream_evaluator import StreamEvaluator, default_resident
from models.weights import CheckpointError

DIGITS = load_digits()
IMAGES = DIGITS.images[:301].astype(np.uint8)[..., np.newaxis]
LABELS = DIGITS.target[:301].astype(np.int64)
SHAPE = (8, 8, 1)
ORDER = np.random.default_rng(0).permutation(301)


def stream(batch_size):
  """Batches in an order that is not that of the positions."""
  for start in range(0, len(ORDER), batch_size):
    positions = ORDER[start : start + batch_size]
    yield positions, IMAGES[positions] / np.float32(16)


def make_evaluator(model="mlp", batches=stream, labels=LABELS, **options):
  return StreamEvaluator(
    model, batches, labels, num_classes=10, image_shape=SHAPE, **{"batch_size": 50} | options
  )


def draw_weights(seed, model="mlp"):
  rng = np.random.default_rng(seed)
  weights = {}
  for key, spec in Architecture(model, 10, SHAPE).specs.items():
    draw = np.asarray(0.1 * rng.standard_normal(spec.shape))
    weights[key] = (np.abs(draw) + 0.5 if "variance" in key else draw).astype(spec.dtype)
  return weights


CHECKPOINTS = [draw_weights(seed) for seed in range(5)]


@pytest.mark.parametrize(
  "options", [{}, {"batch_size": 301}, {"xla": True}, {"precision": "bfloat16"}]
)
def test_bits_are_those_of_images_in_memory(options):
  held = Evaluator("mlp", IMAGES, LABELS, num_classes=10, pixel_max=16.0, margins=True, **options)
  predicted = make_evaluator(margins=True, **options).predict_all(CHECKPOINTS)
  assert len({one.correct.tobytes() for one in predicted}) == len(CHECKPOINTS)
  for weights, one in zip(CHECKPOINTS, predicted, strict=True):
    expected = held.predict(weights)
    np.testing.assert_array_equal(one.correct, expected.correct)
    np.testing.assert_allclose(one.margins, expected.margins, rtol=0, atol=1e-5)


def test_a_group_gives_the_bits_of_one_at_a_time():
  evaluator = make_evaluator(margins=True)
  together = evaluator.predict_all(CHECKPOINTS)
  alone = [evaluator.predict_all([weights])[0] for weights in reversed(CHECKPOINTS)]
  for one, other in zip(together, reversed(alone), strict=True):
    np.testing.assert_array_equal(one.correct, other.correct)
    np.testing.assert_array_equal(one.margins.view(np.uint32), other.margins.view(np.uint32))


def test_normalised_convolutions_keep_their_statistics_apart():
  checkpoints = [draw_weights(seed, "small_inception") for seed in range(3)]
  evaluator = make_evaluator("small_inception")
  held = Evaluator("small_inception", IMAGES, LABELS, num_classes=10, pixel_max=16.0, batch_size=50)
  predicted = evaluator.predict_all(checkpoints)
  assert len({one.correct.tobytes() for one in predicted}) == 3
  for weights, one in zip(checkpoints, predicted, strict=True):
    np.testing.assert_array_equal(one.correct, held.correct(weights))


def test_one_pass_serves_all():
  passes = []

  def counted(batch_size):
    passes.append(batch_size)
    return stream(batch_size)

  make_evaluator(batches=counted).predict_all(CHECKPOINTS)
  assert passes == [50]


def test_threads_get_the_bits_of_a_serial_evaluation():
  evaluator = make_evaluator()
  expected = evaluator.predict_all(CHECKPOINTS)
  with ThreadPoolExecutor(4) as threads:
    results = list(threads.map(evaluator.predict_all, [CHECKPOINTS[i::2] for i in (0, 1)] * 4))
  for i, result in enumerate(results):
    for one, other in zip(result, expected[i % 2 :: 2], strict=True):
      np.testing.assert_array_equal(one.correct, other.correct)


def test_a_pass_that_misses_examples_is_an_error():
  with pytest.raises(ModelError, match="a pass had 301 of 302 examples"):
    make_evaluator(labels=np.append(LABELS, 1)).predict_all(CHECKPOINTS[:1])


def test_other_weights_are_refused_before_the_pass():
  def none(batch_size):
    raise AssertionError

  with pytest.raises(CheckpointError, match="another architecture"):
    make_evaluator(batches=none).predict_all([CHECKPOINTS[0], draw_weights(0, "small_inception")])


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"batch_size": -1}, "batch_size must be at least 1, not -1"),
    ({"precision": "int8"}, "unknown precision 'int8': choose one of float32, bfloat16"),
  ],
)
def test_unusable_arguments_are_explained(options, message):
  with pytest.raises(ModelError, match=message):
    make_evaluator(**options)


def test_how_many_fit_follows_from_their_size():
  resnet50 = Architecture("resnet50", 1000, (224, 224, 3))  # 102 MB
  assert default_resident(resnet50, 24 * 10**9) == 58
  assert default_resident(resnet50, 4 * 10**9) == 9
  assert default_resident(resnet50, 10**8) == 1
  assert default_resident(Architecture("mlp_small", 10, SHAPE), 4 * 10**9) > 1000
