import tempfile

import numpy as np
import pytest

import files
from beam_pipelines.storage.runs.experiment import RunDirectory, list_runs
from beam_pipelines.storage.runs.judgement import UnusableRunError
from beam_pipelines.transforms.fetch_checkpoints import fetch_run
from models import Architecture, CheckpointError
from tests.helpers.checkpoints import DIGITS, NUM_TRAIN, draw_weights, write_digits_experiment

SPECS = Architecture("mlp", 10, DIGITS.image_shape).specs


@pytest.fixture
def run(tmp_path):
  write_digits_experiment(tmp_path, [5])
  return list_runs(str(tmp_path)).runs[0]


@pytest.fixture
def temporary(tmp_path_factory, monkeypatch):
  directory = tmp_path_factory.mktemp("temporary")
  monkeypatch.setattr(tempfile, "tempdir", str(directory))
  return directory


@pytest.mark.parametrize("root", [None, "memory://bucket/0.7/5"])
def test_fetches_subset_and_weights_from_any_file_system(run, temporary, root):
  if root is not None:  # a file system that TensorFlow does not know
    for file in run.files:
      content = files.read_bytes(files.join(run.path, file.name))
      files.write_bytes(files.join(root, file.name), content)
  fetched = fetch_run(RunDirectory(run.key, root or run.path, run.files), NUM_TRAIN, SPECS)
  expected = draw_weights(5)
  assert set(fetched.weights) == set(expected)
  for key, weights in expected.items():
    np.testing.assert_array_equal(fetched.weights[key], weights)
  in_subset = np.random.default_rng(5).random(NUM_TRAIN) < 0.7
  np.testing.assert_array_equal(fetched.in_subset, in_subset)
  assert fetched.bytes == run.bytes
  assert fetched.seconds > 0
  assert not list(temporary.iterdir())


def test_files_that_vanish_after_the_listing_are_reported(run, temporary, tmp_path):
  (tmp_path / "0.7" / "5" / "checkpoints" / "ckpt-3.data-00000-of-00001").unlink()
  message = r"^checkpoints/ckpt-3\.data-00000-of-00001 cannot be read: "
  with pytest.raises(CheckpointError, match=message):
    fetch_run(run, NUM_TRAIN, SPECS)
  (tmp_path / "0.7" / "5" / "aux_arrays.npz").unlink()
  with pytest.raises(UnusableRunError, match=r"^aux_arrays\.npz cannot be read: "):
    fetch_run(run, NUM_TRAIN, SPECS)
  assert not list(temporary.iterdir())
