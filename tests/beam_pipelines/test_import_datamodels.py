"""`heldout import-outcomes` of datamodels' stores."""

import dataclasses

import numpy as np
import pytest

from tests.helpers.imports import (
  RUNS,
  import_outcomes,
  make_with_margins,
  manifest_of_pack,
  rounded,
  rows_of,
  score,
)
from tests.helpers.layouts import (
  read_experiment,
  write_datamodels,
  write_released_datamodels,
)
from tests.helpers.outcomes import (
  write_experiment,
)


@pytest.fixture
def outcomes():
  return make_with_margins()


def test_a_datamodels_store_imports_and_scores(tmp_path, outcomes, capsys):
  completed = np.ones(RUNS, bool)
  completed[[4, 7]] = False
  write_datamodels(tmp_path / "store", outcomes, completed=completed)
  assert import_outcomes(tmp_path / "runs", "--from=datamodels", f"--source={tmp_path}/store") == 0
  out = capsys.readouterr().out
  assert "training examples (without outcomes) and 11 test examples, with margins by max" in out
  assert "left out 2 rows:\n  row 4 is not completed\n  row 7 is not completed" in out
  left = [each for run, each in enumerate(outcomes) if completed[run]]
  expected = [
    dataclasses.replace(each, train_correct=b"", train_margin=b"") for each in rounded(left)
  ]
  assert read_experiment(tmp_path / "runs", with_margins=True) == expected
  pack = manifest_of_pack(tmp_path / "runs")
  assert pack["missing"] == {"train_correct": "datamodels has none"}
  assert pack["rows"] == {"imported": 18, "there": 0, "left_out": 2}
  write_experiment(tmp_path / "full", left)
  flags = ["--min_influence=0.1", "--min_memorization=-1", "--dense"]
  assert score(tmp_path / "runs", tmp_path / "scores", *flags) == 0
  assert score(tmp_path / "full", tmp_path / "expected", *flags) == 0
  columns = "* exclude (memorization)"
  assert rows_of(tmp_path / "scores", "influence", columns) == rows_of(
    tmp_path / "expected", "influence", columns
  )
  assert rows_of(tmp_path / "scores", "influence") != []


def test_released_datamodels_name_their_ratio(tmp_path, outcomes, capsys):
  write_released_datamodels(tmp_path / "store", outcomes, "50")
  source = ["--from=datamodels", f"--source={tmp_path}/store"]
  assert import_outcomes(tmp_path / "runs", *source) == 0
  assert "at subset ratio 0.5 (by the files' names)" in capsys.readouterr().out
  assert read_experiment(tmp_path / "runs", with_margins=True) == rounded(outcomes)
  write_released_datamodels(tmp_path / "store", make_with_margins(0.2), "20")
  assert import_outcomes(tmp_path / "more", *source) == 2
  assert "holds subset ratios 0.2, 0.5: choose one of them" in capsys.readouterr().err
  assert import_outcomes(tmp_path / "more", *source, "--subset_ratio=0.2") == 0
  assert {each.key.subset_ratio for each in read_experiment(tmp_path / "more")} == {0.2}


def test_completed_must_be_of_all_runs(tmp_path, outcomes, capsys):
  write_datamodels(tmp_path / "store", outcomes)
  np.save(tmp_path / "store" / "_completed.npy", np.ones(3, bool))
  assert import_outcomes(tmp_path / "runs", "--from=datamodels", f"--source={tmp_path}/store") == 2
  assert "_completed.npy is of shape (3,) and " in capsys.readouterr().err


def test_rows_that_are_not_completed_do_not_count_into_the_share(tmp_path, outcomes, capsys):
  completed = np.arange(RUNS) % 2 == 0
  write_datamodels(tmp_path / "store", outcomes, completed=completed)
  masks = np.load(tmp_path / "store" / "masks.npy")
  masks[~completed] = False  # as memmaps begin
  np.save(tmp_path / "store" / "masks.npy", masks)
  assert import_outcomes(tmp_path / "runs", "--from=datamodels", f"--source={tmp_path}/store") == 0
  assert "imported 10 runs at subset ratio 0.5" in capsys.readouterr().out


@pytest.mark.parametrize("value", [np.nan, np.inf, 2.0, -1.0, 0.5])
def test_what_is_neither_0_nor_1_is_not_completed(tmp_path, outcomes, value, capsys):
  completed = np.ones(RUNS)
  completed[[3, 5]] = value, 0
  write_datamodels(tmp_path / "store", outcomes)
  path = tmp_path / "store" / "_completed.npy"
  np.save(path, completed)
  assert import_outcomes(tmp_path / "runs", "--from=datamodels", f"--source={tmp_path}/store") == 0
  assert (
    f"left out 2 rows:\n  row 3 has {value} in {path}, which is neither 0 nor 1\n"
    "  row 5 is not completed\n"
  ) in capsys.readouterr().out


@pytest.mark.parametrize("shape", [(1, RUNS), (RUNS, 2), (2, RUNS // 2)])
def test_completed_is_of_one_number_a_run(tmp_path, outcomes, shape, capsys):
  write_datamodels(tmp_path / "store", outcomes)
  np.save(tmp_path / "store" / "_completed.npy", np.ones(shape, bool))
  assert import_outcomes(tmp_path / "runs", "--from=datamodels", f"--source={tmp_path}/store") == 2
  error = capsys.readouterr().err
  assert f"_completed.npy is of shape {shape} and " in error
  assert error.count("\n") == 1
