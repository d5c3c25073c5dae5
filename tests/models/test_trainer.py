import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from models.architecture import Architecture
from models.hyper_parameters import HyperParameters
from models.initial_weights import draw_weights
from models.registry import ModelError
from models.run_seed import RunSeed
from models.trainer import Trainer

DIGITS = load_digits()
IMAGES = DIGITS.images[..., np.newaxis].astype(np.uint8)
LABELS = DIGITS.target
SHORT = HyperParameters(epochs=2, batch_size=64)


def make_trainer(model_name="mlp", images=IMAGES, labels=LABELS, **arguments):
  settings = {"num_classes": 10, "pixel_max": 16.0, "hyper_parameters": SHORT, "seed": 7}
  return Trainer(model_name, images, labels, **(settings | arguments))


def built_weights():
  _, variables = Architecture("mlp", 10, (8, 8, 1)).build()
  return {key: variable.numpy() for key, variable in variables.items()}


def layers(weights):
  """Returns the (w, b) of each layer, checked against the keys of the architecture."""
  assert {key: (value.shape, value.dtype.name) for key, value in weights.items()} == dict(
    Architecture("mlp", 10, (8, 8, 1)).specs
  )
  return [tuple(weights[f"model/_mlp/_layers/{i}/{name}"] for name in "wb") for i in range(3)]


def activations(parameters, examples):
  nets = [IMAGES[examples].reshape(len(examples), -1) / 16.0]
  for i, (weight, bias) in enumerate(parameters):
    net = nets[-1] @ weight + bias
    nets.append(np.maximum(net, 0) if i + 1 < len(parameters) else net)
  return nets


def accuracy(weights, examples):
  return np.mean(activations(layers(weights), examples)[-1].argmax(1) == LABELS[examples])


def textbook_training(seed, ratio, run, hyper_parameters):
  """Momentum SGD in float64, step by step; returns the layers, last losses and steps."""
  subset = RunSeed(seed, ratio, run).subset(len(IMAGES))
  parameters = [
    [value.astype(np.float64) for value in layer]
    for layer in layers(draw_weights(RunSeed(seed, ratio, run), built_weights()))
  ]
  momenta = [[np.zeros_like(value) for value in layer] for layer in parameters]
  batches = -(-len(subset) // hyper_parameters.batch_size)
  rates = iter(hyper_parameters.learning_rates(hyper_parameters.epochs * batches))
  orders = RunSeed(seed, ratio, run).epoch_orders(subset)
  for _ in range(hyper_parameters.epochs):
    order = next(orders)
    losses = []
    for start in range(0, len(order), hyper_parameters.batch_size):
      batch = order[start : start + hyper_parameters.batch_size]
      nets = activations(parameters, batch)
      exponentials = np.exp(nets[-1] - nets[-1].max(1, keepdims=True))
      probabilities = exponentials / exponentials.sum(1, keepdims=True)
      losses.extend(-np.log(probabilities[np.arange(len(batch)), LABELS[batch]]))
      upstream = (probabilities - np.eye(10)[LABELS[batch]]) / len(batch)
      gradients = []
      for i in (2, 1, 0):
        weight = parameters[i][0]
        decay = hyper_parameters.weight_decay * weight
        gradients.insert(0, (nets[i].T @ upstream + decay, upstream.sum(0)))
        upstream = (upstream @ weight.T) * (nets[i] > 0)
      rate = next(rates)
      for i in range(3):
        for j in range(2):
          momenta[i][j] = hyper_parameters.momentum * momenta[i][j] + gradients[i][j]
          parameters[i][j] -= rate * momenta[i][j]
  return parameters, np.mean(losses), hyper_parameters.epochs * batches


@pytest.mark.parametrize("stack", [1, 3])
def test_training_is_textbook_momentum_sgd(stack):
  # 90 examples in batches of 32: the third batch has 26.
  hyper_parameters = HyperParameters(
    epochs=3, batch_size=32, schedule="cosine", weight_decay=0.01, momentum=0.8
  )
  trainer = make_trainer(hyper_parameters=hyper_parameters, stack=stack)
  for trained in trainer.train([(0.05, run) for run in range(stack)]):
    expected, loss, steps = textbook_training(7, 0.05, trained.run, hyper_parameters)
    for ours, theirs in zip(layers(trained.weights), expected, strict=True):
      np.testing.assert_allclose(ours[0], theirs[0], atol=2e-6)
      np.testing.assert_allclose(ours[1], theirs[1], atol=2e-6)
    assert trained.training_loss == pytest.approx(loss, rel=1e-4)
    assert trained.global_step == steps == 9
    np.testing.assert_array_equal(trained.subset, RunSeed(7, 0.05, trained.run).subset(len(IMAGES)))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_depend_neither_on_the_place_in_the_stack_nor_on_the_neighbours(precision):
  hyper_parameters = HyperParameters(epochs=2, crop=1, flip=True, precision=precision)
  trainer = make_trainer(hyper_parameters=hyper_parameters, stack=5)
  by_call = [
    trainer.train([(0.3, run) for run in runs])
    for runs in ([0, 1, 2, 3, 4], [4, 2, 0], [9, 8, 7, 6, 2], [2])
  ]
  another_trainer = make_trainer(hyper_parameters=hyper_parameters, stack=5)
  by_call.append(another_trainer.train([(0.3, 11), (0.3, 2)]))
  of_run_2 = [trained for call in by_call for trained in call if trained.run == 2]
  assert [len(call) for call in by_call] == [5, 3, 5, 1, 2]
  assert len(of_run_2) == 5
  for again in of_run_2[1:]:
    assert again.training_loss == of_run_2[0].training_loss
    for key, value in of_run_2[0].weights.items():
      np.testing.assert_array_equal(again.weights[key], value)
  others = [trained for trained in by_call[0] if trained.run != 2]
  assert all(trained.training_loss != of_run_2[0].training_loss for trained in others)


def test_one_trace_serves_every_ratio():
  trainer = make_trainer(stack=2)
  for ratio in (0.1, 0.35, 1.0):
    trained = trainer.train([(ratio, 0), (ratio, 1)])
    assert trained[1].global_step == 2 * -(-round(ratio * len(IMAGES)) // 64)
  assert trainer._train_epoch.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_runs_learn_the_digits_they_see_and_generalise(precision):
  trainer = make_trainer(hyper_parameters=HyperParameters(precision=precision), stack=2)
  for trained in trainer.train([(0.7, 0), (0.7, 1)]):
    removed = np.setdiff1d(np.arange(len(IMAGES)), trained.subset)
    assert accuracy(trained.weights, trained.subset) > 0.98
    assert accuracy(trained.weights, removed) > 0.94


def test_bfloat16_moves_the_weights_nearly_where_float32_does():
  initial = draw_weights(RunSeed(7, 0.5, 0), built_weights())
  float32, bfloat16 = (
    make_trainer(hyper_parameters=HyperParameters(epochs=1, precision=precision), stack=1).train(
      [(0.5, 0)]
    )[0]
    for precision in ("float32", "bfloat16")
  )
  assert bfloat16.training_loss == pytest.approx(float32.training_loss, rel=0.01)
  for key, value in float32.weights.items():
    difference = np.linalg.norm(bfloat16.weights[key] - value)
    assert 0 < difference < 0.05 * np.linalg.norm(value - initial[key])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_batch_norm_averages_follow_the_batches_of_a_convolutional_run(precision):
  hyper_parameters = HyperParameters(epochs=1, batch_size=32, precision=precision)
  trainer = make_trainer(
    "small_inception", IMAGES[:64], LABELS[:64], hyper_parameters=hyper_parameters
  )
  assert trainer.stack == 1
  trained, again = (trainer.train([(0.5, 3)])[0] for _ in range(2))
  assert trained.global_step == 1
  assert np.isfinite(trained.training_loss)
  assert set(trained.weights) == set(Architecture("small_inception", 10, (8, 8, 1)).specs)

  _, variables = Architecture("small_inception", 10, (8, 8, 1)).build()
  initial = draw_weights(
    RunSeed(7, 0.5, 3), {key: value.numpy() for key, value in variables.items()}
  )
  batch = IMAGES[trained.subset].astype(np.float32) / 16
  mean = tf.reduce_mean(
    tf.nn.conv2d(batch, initial["model/conv1/conv/w"], strides=1, padding="SAME"), [0, 1, 2]
  ).numpy()
  tolerance = 1e-5 if precision == "float32" else 1e-2
  average = trained.weights["model/conv1/bn/moving_mean/average"]
  np.testing.assert_allclose(average.ravel(), mean, atol=tolerance)
  for key, value in trained.weights.items():
    if key.endswith("_counter"):
      assert value == 1
    else:
      assert not np.array_equal(value, initial[key])
    np.testing.assert_array_equal(again.weights[key], value)


def test_a_run_that_diverges_in_its_very_last_step_has_no_finite_training_loss():
  # One step: the loss before it is that of the initial weights.
  diverging = HyperParameters(1, len(IMAGES), learning_rate=1e30, weight_decay=1e30)
  sound = HyperParameters(1, len(IMAGES))
  for hyper_parameters, finite in ((sound, True), (diverging, False)):
    (trained,) = make_trainer(hyper_parameters=hyper_parameters, stack=1).train([(0.3, 0)])
    assert trained.global_step == 1
    assert np.isfinite(trained.training_loss) == finite
    assert all(np.isfinite(value).all() for value in trained.weights.values()) == finite


def test_crops_and_flips_reach_the_training():
  plain, cropped, flipped = (
    make_trainer(hyper_parameters=HyperParameters(epochs=1, **augmentation), stack=1).train(
      [(0.3, 0)]
    )[0]
    for augmentation in ({}, {"crop": 2}, {"flip": True})
  )
  assert len({plain.training_loss, cropped.training_loss, flipped.training_loss}) == 3


def test_the_default_stack_shrinks_as_models_grow():
  assert make_trainer().stack == 16
  assert make_trainer(images=np.zeros((1, 28, 28, 1), np.uint8), labels=LABELS[:1]).stack == 4
  assert make_trainer(images=np.zeros((1, 96, 96, 3), np.uint8), labels=LABELS[:1]).stack == 1


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"model_name": "perceptron"}, "unknown model 'perceptron'"),
    ({"model_name": "small_inception", "stack": 2}, "model 'small_inception' trains one run at a"),
    ({"stack": 0}, "stack is 0: it must be at least 1"),
    ({"pixel_max": 0.0}, "pixel_max is 0.0: it must be positive"),
    ({"images": IMAGES / 16}, r"images are float64 \[1797, 8, 8, 1\]: they must be uint8"),
    ({"images": IMAGES[..., 0]}, r"images are uint8 \[1797, 8, 8\]: they must be uint8"),
    ({"labels": LABELS[:9]}, r"labels are \[9\] for 1797 images: give one each"),
    ({"num_classes": 9}, "labels are 0 to 9: they must be from 0 to 8 for 9 classes"),
  ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
  with pytest.raises(ModelError, match=message):
    make_trainer(**arguments)


@pytest.mark.parametrize(
  ("runs", "message"),
  [
    ([], r"cannot train 0 runs of subset ratios \[\] together: give 1 to 2 runs of one ratio"),
    ([(0.5, 0), (0.6, 0)], r"cannot train 2 runs of subset ratios \[0.5, 0.6\] together"),
    ([(0.5, 0), (0.5, 1), (0.5, 2)], "give 1 to 2 runs of one ratio"),
    ([(0.5, -1)], "run -1 is out of range"),
  ],
)
def test_runs_that_cannot_be_trained_together_are_refused(runs, message):
  with pytest.raises(ModelError, match=message):
    make_trainer(stack=2).train(runs)
