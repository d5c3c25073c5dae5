import tempfile

import numpy as np
import pytest
from apache_beam.io.localfilesystem import LocalFileSystem

from beam_pipelines.storage.runs.aux_arrays import AuxArraysError
from beam_pipelines.storage.runs.experiment import RunDirectory, list_runs
from beam_pipelines.transforms.fetch_checkpoints import fetch_run
from models import Architecture, CheckpointError
from tests.helpers.checkpoints import DIGITS, NUM_TRAIN, draw_weights, write_digits_experiment

SPECS = Architecture("mlp", 10, DIGITS.image_shape).specs


class _Elsewhere(LocalFileSystem):
  """Local files under a scheme that only Beam understands."""

  @classmethod
  def scheme(cls):
    return "elsewhere"

  def open(self, path, *args, **options):
    return super().open(path.removeprefix("elsewhere:/"), *args, **options)


@pytest.fixture
def run(tmp_path):
  write_digits_experiment(tmp_path, [5])
  return list_runs(str(tmp_path)).runs[0]


@pytest.fixture
def temporary(tmp_path_factory, monkeypatch):
  directory = tmp_path_factory.mktemp("temporary")
  monkeypatch.setattr(tempfile, "tempdir", str(directory))
  return directory


@pytest.mark.parametrize("scheme", ["", "elsewhere:/"])
def test_fetches_subset_and_weights_from_any_file_system(run, temporary, scheme):
  fetched = fetch_run(RunDirectory(run.key, scheme + run.path, run.files), NUM_TRAIN, SPECS)
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
  with pytest.raises(AuxArraysError, match=r"^aux_arrays\.npz cannot be read: "):
    fetch_run(run, NUM_TRAIN, SPECS)
  assert not list(temporary.iterdir())
