import numpy as np
import pytest
from sklearn.datasets import load_digits

from models.hyper_parameters import HyperParameters
from models.registry import ModelError
from models.run_seed import RunSeed
from models.stream_trainer import StreamTrainer
from models.trainer import Trainer

DIGITS = load_digits()
IMAGES = DIGITS.images[:300].astype(np.uint8)[..., np.newaxis]
LABELS = DIGITS.target[:300]


def stream(batch_size, order, crops):
  assert crops is None
  for start in range(0, len(order), batch_size):
    examples = order[start : start + batch_size]
    yield examples, IMAGES[examples] / np.float32(16)


def make_trainer(model="mlp_small", batches=stream, **hyper_parameters):
  return StreamTrainer(
    model,
    batches,
    LABELS,
    num_classes=10,
    image_shape=(8, 8, 1),
    hyper_parameters=HyperParameters(epochs=2, batch_size=32, **hyper_parameters),
    seed=3,
  )


@pytest.mark.parametrize(
  ("model", "options"),
  [
    ("mlp_small", {}),
    ("mlp_small", {"schedule": "cosine", "weight_decay": 1e-3, "crop": 2, "flip": True}),
  ],
)
def test_a_run_is_that_of_images_in_memory(model, options):
  hyper_parameters = HyperParameters(epochs=2, batch_size=32, **options)
  held = Trainer(
    model,
    IMAGES,
    LABELS,
    num_classes=10,
    pixel_max=16.0,
    hyper_parameters=hyper_parameters,
    seed=3,
    stack=1,
  )
  ((expected,), (trained,)) = (
    trainer.train([(0.5, 7)]) for trainer in (held, make_trainer(model, **options))
  )
  np.testing.assert_array_equal(trained.subset, expected.subset)
  assert trained.global_step == expected.global_step == 10
  assert trained.training_loss == pytest.approx(expected.training_loss, rel=1e-3)
  assert trained.weights.keys() == expected.weights.keys()
  for key, values in expected.weights.items():
    np.testing.assert_allclose(trained.weights[key], values, rtol=0.02, atol=2e-3)


def test_a_run_does_not_depend_on_those_before_it():
  trainer = make_trainer()
  alone, _ = trainer.train([(0.5, 7), (0.7, 1)])
  again = make_trainer().train([(0.7, 1), (0.5, 7)])[1]
  for key, values in alone.weights.items():
    np.testing.assert_array_equal(values, again.weights[key])


def test_crops_follow_from_the_run_and_differ_from_epoch_to_epoch():
  seen = []

  def note(batch_size, order, crops):
    seen.append((order.copy(), crops))
    return stream(batch_size, order, None)

  make_trainer(batches=note, resized_crop=True).train([(0.5, 7), (0.5, 8)])
  assert [crops.shape for _, crops in seen] == [(150, 2)] * 4
  assert len({crops.tobytes() for _, crops in seen}) == 4
  orders = RunSeed(3, 0.5, 7).epoch_orders(RunSeed(3, 0.5, 7).subset(300))
  for order, _ in seen[:2]:
    np.testing.assert_array_equal(order, next(orders))


def test_a_run_that_diverges_has_no_finite_training_loss():
  (trained,) = make_trainer(learning_rate=1e30).train([(0.5, 0)])
  assert np.isnan(trained.training_loss)


def test_an_epoch_that_misses_examples_is_an_error():
  def short(batch_size, order, crops):
    return stream(batch_size, order[:-1], crops)

  with pytest.raises(ModelError, match="an epoch had 149 of 150 examples"):
    make_trainer(batches=short).train([(0.5, 0)])
