import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from models.architecture import Architecture
from models.evaluator import Evaluator
from models.registry import ModelError, build_model
from models.weights import CheckpointError, variables_by_key

DIGITS = load_digits()
IMAGES = DIGITS.images.astype(np.uint8)[..., np.newaxis]
LABELS = DIGITS.target.astype(np.int64)


def make_evaluator(model_name="mlp", images=IMAGES, labels=LABELS, **options):
  return Evaluator(model_name, images, labels, num_classes=10, pixel_max=16.0, **options)


def draw_weights(seed, model_name="mlp"):
  rng = np.random.default_rng(seed)
  return {
    key: np.abs(0.1 * rng.standard_normal(spec.shape) + 0.02).astype(spec.dtype)
    if "variance" in key
    else np.asarray(0.1 * rng.standard_normal(spec.shape)).astype(spec.dtype)
    for key, spec in Architecture(model_name, 10, IMAGES.shape[1:]).specs.items()
  }


@pytest.fixture(scope="module")
def trained():
  """The MLP's weights as scikit-learn trains them for one pass, and the classifier itself."""
  classifier = MLPClassifier((512, 256), max_iter=1, random_state=0)
  with pytest.warns(match="Maximum iterations"):
    classifier.fit(IMAGES.reshape(len(IMAGES), -1) / np.float32(16), LABELS)
  weights = {}
  for i, (w, b) in enumerate(zip(classifier.coefs_, classifier.intercepts_, strict=True)):
    weights[f"model/_mlp/_layers/{i}/w"] = w.astype(np.float32)
    weights[f"model/_mlp/_layers/{i}/b"] = b.astype(np.float32)
  return classifier, weights


@pytest.mark.parametrize("batch_size", [None, 1, 100, 1796, 1797, 5000])
def test_correct_is_what_scikit_learn_predicts(trained, batch_size):
  classifier, weights = trained
  count = 60 if batch_size == 1 else len(IMAGES)

  correct = make_evaluator(
    images=IMAGES[:count], labels=LABELS[:count], batch_size=batch_size
  ).correct(weights)

  predicted = classifier.predict(IMAGES[:count].reshape(count, -1) / np.float32(16))
  assert correct.dtype == np.bool_
  assert 0.3 < correct.mean() < 1
  np.testing.assert_array_equal(correct, predicted == LABELS[:count])


@pytest.mark.parametrize("batch_size", [None, 100, 1797])
@pytest.mark.parametrize("xla", [False, True])
def test_margins_are_the_log_odds_of_the_probabilities_of_scikit_learn(trained, batch_size, xla):
  classifier, weights = trained
  evaluator = make_evaluator(batch_size=batch_size, xla=xla, margins=True)

  correct, margins, finite = evaluator.predict(weights)

  assert finite

  of_label = classifier.predict_proba(IMAGES.reshape(len(IMAGES), -1) / 16)[range(1797), LABELS]
  assert margins.dtype == np.float32
  np.testing.assert_allclose(margins, np.log(of_label / (1 - of_label)), rtol=1e-4, atol=1e-4)
  np.testing.assert_array_equal(correct, make_evaluator(batch_size=batch_size).correct(weights))


def test_margins_are_only_computed_on_request(trained):
  assert make_evaluator().predict(trained[1]).margins is None


def test_mixed_precision_leaves_margins_to_float32_logits():
  weights = {
    key: np.zeros(spec.shape, np.float32)
    for key, spec in Architecture("mlp", 10, IMAGES.shape[1:]).specs.items()
  }
  weights["model/_mlp/_layers/2/b"][:2] = 1, 1.001  # which bfloat16 does not tell apart

  correct, margins, _ = make_evaluator(precision="bfloat16", margins=True).predict(weights)

  of_0 = 1 - np.log(np.e + 8)
  np.testing.assert_allclose(margins[LABELS == 0], of_0, rtol=1e-6)
  np.testing.assert_allclose(margins[LABELS == 1], of_0, rtol=1e-6)
  np.testing.assert_array_equal(correct, LABELS == 0)


def test_convolutions_evaluate_as_the_module_itself():
  weights = draw_weights(0, "small_inception")
  module = build_model("small_inception", 10)
  images = IMAGES[:100].astype(np.float32) / 16
  module(images, is_training=False)
  for key, variable in variables_by_key(module).items():
    variable.assign(weights[key])
  expected = np.argmax(module(images, is_training=False), axis=1) == LABELS[:100]

  evaluator = make_evaluator("small_inception", IMAGES[:100], LABELS[:100], batch_size=30)

  assert 0 < expected.sum() < 100
  np.testing.assert_array_equal(evaluator.correct(weights), expected)


def test_threads_get_the_bits_of_a_serial_evaluation():
  evaluator = make_evaluator(batch_size=16)
  checkpoints = [draw_weights(seed) for seed in range(6)]
  serial = [evaluator.correct(weights) for weights in checkpoints]
  assert len({bits.tobytes() for bits in serial}) == len(serial)

  with ThreadPoolExecutor(4) as threads:
    shared = list(threads.map(evaluator.correct, checkpoints * 4))

  for bits, expected in zip(shared, serial * 4, strict=True):
    np.testing.assert_array_equal(bits, expected)


@pytest.mark.parametrize("xla", [False, True])
def test_pixels_are_divided_not_multiplied_by_a_reciprocal(xla):
  pixels = np.arange(256, dtype=np.float32)
  quotients = pixels / np.float32(255)
  pixel = np.flatnonzero(pixels * (1 / np.float32(255)) > quotients)[0]
  weights = {
    key: np.zeros(spec.shape, np.float32)
    for key, spec in Architecture("mlp", 2, (1, 1, 1)).specs.items()
  }
  for layer, unit in ((0, 0), (1, 0), (2, 1)):
    weights[f"model/_mlp/_layers/{layer}/w"][0, unit] = 1
  weights["model/_mlp/_layers/2/b"][0] = quotients[pixel]
  image = np.full((1, 1, 1, 1), pixel, np.uint8)

  evaluator = Evaluator(
    "mlp", image, np.zeros(1, np.int64), num_classes=2, pixel_max=255.0, xla=xla
  )

  # Logit 0 is the exact quotient, logit 1 the normalised pixel: a tie, which logit 0 wins.
  assert evaluator.correct(weights).all()


def test_xla_gives_the_same_bits(trained):
  _, weights = trained

  compiled = make_evaluator(batch_size=400, xla=True).correct(weights)

  np.testing.assert_array_equal(compiled, make_evaluator(batch_size=400).correct(weights))


@pytest.mark.parametrize(("precision", "winner"), [("float32", 1), ("bfloat16", 0)])
def test_bfloat16_has_eight_bits_of_mantissa(precision, winner):
  weights = {
    key: np.zeros(spec.shape, np.float32)
    for key, spec in Architecture("mlp", 10, IMAGES.shape[1:]).specs.items()
  }
  weights["model/_mlp/_layers/2/b"][:2] = 1, 1.001

  correct = make_evaluator(precision=precision).correct(weights)

  np.testing.assert_array_equal(correct, winner == LABELS)


def test_bfloat16_convolutions_agree_with_float32_on_nearly_all():
  options = {"model_name": "small_inception", "images": IMAGES[:64], "labels": LABELS[:64]}
  weights = draw_weights(0, "small_inception")

  single = make_evaluator(**options).correct(weights)
  half = make_evaluator(**options, precision="bfloat16").correct(weights)

  assert (single == half).mean() > 0.9


def test_other_weights_are_refused():
  weights = draw_weights(0, "small_inception")

  with pytest.raises(
    CheckpointError, match="weights: another architecture: there is no model/_mlp"
  ):
    make_evaluator().correct(weights)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"images": IMAGES / 16}, "images to evaluate must be uint8 [n, height, width, channels]"),
    ({"images": IMAGES[..., 0]}, "with n at least 1, not uint8 (1797, 8, 8)"),
    ({"images": IMAGES[:0]}, "with n at least 1, not uint8 (0, 8, 8, 1)"),
    ({"labels": LABELS[:5]}, "labels must be int64 (1797,) like the images, not int64 (5,)"),
    ({"labels": LABELS / 1}, "labels must be int64 (1797,) like the images, not float64 (1797,)"),
    ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
    ({"precision": "int8"}, "unknown precision 'int8': choose one of float32, bfloat16"),
    ({"model_name": "vgg"}, "unknown model 'vgg'"),
  ],
)
def test_unusable_arguments_are_explained(arguments, message):
  with pytest.raises(ModelError, match=re.escape(message)):
    make_evaluator(**arguments)


def test_a_pixel_maximum_of_zero_is_refused():
  with pytest.raises(ModelError, match="pixel_max must be positive, not 0"):
    Evaluator("mlp", IMAGES, LABELS, num_classes=10, pixel_max=0.0)
