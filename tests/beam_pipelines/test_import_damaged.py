"""`heldout import-outcomes` of files that were cut short, and of several layouts in one place."""

import shutil

import numpy as np
import pytest

from tests.helpers.imports import import_outcomes, make_with_margins
from tests.helpers.layouts import write_datamodels, write_dattri, write_lira, write_trak
from tests.helpers.outcomes import NUM_TRAIN

FLAGS = {"lira": [], "datamodels": [], "trak": [], "dattri": [f"--num_train={NUM_TRAIN}"]}


def _write(layout, directory):
  """Writes outcomes of subsets of one size."""
  outcomes = make_with_margins()
  if layout == "lira":
    write_lira(directory, outcomes, np.arange(NUM_TRAIN) % 10)
  elif layout == "datamodels":
    write_datamodels(directory, outcomes, train=True)
  elif layout == "trak":
    write_trak(directory, outcomes)
  else:
    same_size = [outcome for outcome in outcomes if outcome.examples_in == 18]
    write_dattri(directory, same_size)


CUT = [
  ("dattri", "indices.npy"),
  ("dattri", "target_values.npy"),
  ("trak", "mask.npy"),
  ("trak", "val_margins.npy"),
  ("datamodels", "_completed.npy"),
  ("datamodels", "train_margins.npy"),
]


@pytest.mark.parametrize(("layout", "name"), CUT)
@pytest.mark.parametrize("left", [-1, 40, 0])
def test_a_file_that_was_cut_short_is_one_line(tmp_path, layout, name, left, capsys):
  _write(layout, tmp_path / "source")
  path = tmp_path / "source" / name
  path.write_bytes(path.read_bytes()[:left])
  flags = [f"--from={layout}", f"--source={tmp_path}/source", *FLAGS[layout]]
  assert import_outcomes(tmp_path / "runs", *flags) == 2
  error = capsys.readouterr().err
  assert error.startswith(f"heldout import-outcomes: error: {path} ")
  assert ("cut short" if left else "is no array in NumPy's format") in error
  assert error.count("\n") == 1
  assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
  ("asked", "other"),
  [("lira", "datamodels"), ("datamodels", "lira"), ("trak", "dattri"), ("dattri", "trak")],
)
def test_outcomes_of_two_layouts_in_one_place_are_refused(tmp_path, asked, other, capsys):
  """Whichever is asked for, the others would be passed over."""
  _write(asked, tmp_path / "source")
  _write(other, tmp_path / "other")
  shutil.copytree(tmp_path / "other", tmp_path / "source", dirs_exist_ok=True)
  flags = [f"--from={asked}", f"--source={tmp_path}/source", *FLAGS[asked]]
  assert import_outcomes(tmp_path / "runs", *flags) == 2
  assert capsys.readouterr().err == (
    f"heldout import-outcomes: error: {tmp_path}/source holds outcomes of {asked} and of {other}: "
    "give each a directory of its own\n"
  )
