import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from models.architecture import Architecture
from models.checkpoint import CheckpointWriter, read_weights
from models.registry import ModelError, build_model
from models.weights import CheckpointError, variables_by_key

SHAPE = (8, 8, 1)
SPECS = Architecture("mlp", 10, SHAPE).specs


def draw_weights(seed, specs=SPECS):
  rng = np.random.default_rng(seed)
  return {
    key: np.asarray(rng.standard_normal(spec.shape)).astype(spec.dtype)
    for key, spec in specs.items()
  }


def assert_same_weights(actual, expected):
  assert actual.keys() == expected.keys()
  for key, value in expected.items():
    assert actual[key].dtype == value.dtype
    np.testing.assert_array_equal(actual[key], value)


@pytest.fixture(scope="module")
def writer():
  return CheckpointWriter(Architecture("mlp", 10, SHAPE))


@pytest.fixture
def prefix(writer, tmp_path):
  return writer.write(tmp_path, draw_weights(0), epoch=10, global_step=3290)


def test_read_returns_what_was_written(prefix):
  assert_same_weights(read_weights(prefix, SPECS), draw_weights(0))


def test_batch_normalised_networks_survive_the_round_trip(tmp_path):
  specs = Architecture("small_inception", 10, SHAPE).specs
  weights = draw_weights(0, specs)

  prefix = CheckpointWriter(Architecture("small_inception", 10, SHAPE)).write(
    tmp_path, weights, epoch=1, global_step=1
  )

  assert_same_weights(read_weights(prefix, specs), weights)


def test_a_run_directory_holds_exactly_the_two_files(writer, tmp_path):
  prefix = writer.write(tmp_path / "new" / "checkpoints", draw_weights(0), epoch=7, global_step=1)

  assert prefix == str(tmp_path / "new" / "checkpoints" / "ckpt-7")
  assert sorted(path.name for path in (tmp_path / "new" / "checkpoints").iterdir()) == [
    "ckpt-7.data-00000-of-00001",
    "ckpt-7.index",
  ]


def test_tensorflow_restores_all_of_it_into_a_fresh_module(prefix):
  model = build_model("mlp", 10)
  model(tf.zeros((1, *SHAPE)), is_training=False)
  epoch, global_step = tf.Variable(0, dtype=tf.int64), tf.Variable(0, dtype=tf.int64)
  checkpoint = tf.train.Checkpoint(model=model, epoch=epoch, global_step=global_step)

  checkpoint.restore(prefix).assert_consumed()

  assert (epoch.numpy(), global_step.numpy()) == (10, 3290)
  restored = {key: variable.numpy() for key, variable in variables_by_key(model).items()}
  assert_same_weights(restored, draw_weights(0))


def test_threads_share_a_writer(writer, tmp_path):
  def write(seed):
    return writer.write(tmp_path / str(seed), draw_weights(seed), epoch=1, global_step=seed)

  with ThreadPoolExecutor(4) as threads:
    prefixes = list(threads.map(write, range(16)))

  for seed, prefix in enumerate(prefixes):
    assert_same_weights(read_weights(prefix, SPECS), draw_weights(seed))


def test_other_training_state_is_passed_over(tmp_path):
  model = build_model("mlp", 10)
  model(tf.zeros((1, *SHAPE)), is_training=False)
  momentum = tf.Variable(tf.ones((3,)))
  prefix = tf.train.Checkpoint(model=model, optimizer=momentum).save(str(tmp_path / "ckpt"))

  weights = read_weights(prefix, SPECS)

  assert_same_weights(weights, {k: v.numpy() for k, v in variables_by_key(model).items()})


def test_the_writer_refuses_other_weights(writer, tmp_path):
  weights = draw_weights(0)
  key = weights.popitem()[0]

  with pytest.raises(CheckpointError, match=f"weights: another architecture: there is no {key}"):
    writer.write(tmp_path, weights, epoch=1, global_step=1)


def test_the_writer_refuses_an_unknown_model():
  with pytest.raises(ModelError, match="unknown model 'vgg'"):
    CheckpointWriter(Architecture("vgg", 10, SHAPE))


def test_a_missing_index_is_reported(prefix, tmp_path):
  (tmp_path / "ckpt-10.index").unlink()

  with pytest.raises(CheckpointError, match=r"ckpt-10: no checkpoint: ckpt-10\.index is missing"):
    read_weights(prefix, SPECS)


def test_a_missing_data_file_is_reported(prefix, tmp_path):
  data = tmp_path / "ckpt-10.data-00000-of-00001"
  data.unlink()

  message = f"{prefix}: unreadable checkpoint: {data}; No such file or directory"
  with pytest.raises(CheckpointError, match=re.escape(message)):
    read_weights(prefix, SPECS)


def flip_bits_in_the_middle(content):
  middle = len(content) // 2
  return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
@pytest.mark.parametrize(
  "damage",
  [lambda content: b"", lambda content: content[: len(content) // 2], flip_bits_in_the_middle],
  ids=["empty", "truncated", "flipped"],
)
def test_a_damaged_file_is_reported_on_one_line(prefix, suffix, damage, tmp_path):
  path = tmp_path / f"ckpt-10{suffix}"
  path.write_bytes(damage(path.read_bytes()))

  message = f"^{re.escape(prefix)}: unreadable checkpoint: [^\n]+$"
  with pytest.raises(CheckpointError, match=message):
    read_weights(prefix, SPECS)


@pytest.mark.parametrize(
  ("model_name", "num_classes", "image_shape", "message"),
  [
    ("small_inception", 10, SHAPE, "another architecture: there is no model/"),
    ("mlp", 10, (28, 28, 1), "model/_mlp/_layers/0/w is float32 (64, 512), not float32 (784, 512)"),
    ("mlp", 100, SHAPE, "model/_mlp/_layers/2/w is float32 (256, 10), not float32 (256, 100)"),
  ],
)
def test_another_architecture_is_named(prefix, model_name, num_classes, image_shape, message):
  with pytest.raises(CheckpointError, match=re.escape(message)) as error:
    read_weights(prefix, Architecture(model_name, num_classes, image_shape).specs)

  assert str(error.value).startswith(f"{prefix}: ")


def test_a_variable_too_many_is_named(tmp_path):
  model = build_model("mlp", 10)
  model(tf.zeros((1, *SHAPE)), is_training=False)
  model.temperature = tf.Variable(1.0)
  prefix = tf.train.Checkpoint(model=model).write(str(tmp_path / "ckpt"))

  with pytest.raises(CheckpointError, match="another architecture: unexpected model/temperature"):
    read_weights(prefix, SPECS)


def test_another_dtype_is_named(tmp_path):
  model = build_model("mlp", 10)
  model(tf.zeros((1, *SHAPE), tf.float64), is_training=False)
  prefix = tf.train.Checkpoint(model=model).write(str(tmp_path / "ckpt"))

  with pytest.raises(CheckpointError, match=re.escape("w is float64 (64, 512), not float32")):
    read_weights(prefix, SPECS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_named(writer, tmp_path, value):
  weights = draw_weights(0)
  weights["model/_mlp/_layers/1/b"][3] = value
  prefix = writer.write(tmp_path, weights, epoch=1, global_step=1)

  message = f"{prefix}: weights that are not finite in model/_mlp/_layers/1/b"
  with pytest.raises(CheckpointError, match=re.escape(message)):
    read_weights(prefix, SPECS)
