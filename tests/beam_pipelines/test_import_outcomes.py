"""`heldout import-outcomes`, whatever the layout: run ids, ratios, what is there already, flags."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import files
from beam_pipelines import cli
from beam_pipelines.storage.runs.experiment import list_runs
from beam_pipelines.storage.runs.run_place import RunKey
from tests.helpers.gcs import BUCKET, emulated_gcs
from tests.helpers.imports import (
  RUNS,
  array_flags,
  bits,
  import_outcomes,
  make_with_margins,
  save_arrays,
)
from tests.helpers.layouts import (
  read_experiment,
)
from tests.helpers.outcomes import (
  NUM_TRAIN,
  make_outcomes,
  write_experiment,
)


@pytest.fixture
def outcomes():
  return make_with_margins()


@pytest.fixture
def arrays(tmp_path, outcomes):
  return save_arrays(tmp_path, outcomes)


def test_what_is_there_is_not_imported_again(tmp_path, outcomes, arrays, capsys):
  flags = array_flags(arrays, "masks", "correct", "test_correct")
  assert import_outcomes(tmp_path / "runs", *flags) == 0
  capsys.readouterr()
  assert import_outcomes(tmp_path / "runs", *flags) == 0
  assert capsys.readouterr().out.endswith("\n20 runs were there already\n")
  assert bits(read_experiment(tmp_path / "runs")) == bits(outcomes)


def test_appending_goes_on_from_the_last_run(tmp_path, outcomes, arrays):
  flags = array_flags(arrays, "masks", "correct", "test_correct")
  write_experiment(tmp_path / "runs", make_outcomes(0.5, [6], seed=1))
  assert import_outcomes(tmp_path / "runs", *flags, "--rows=0:5") == 0
  assert import_outcomes(tmp_path / "runs", *flags) == 0
  runs = [each.key.run for each in read_experiment(tmp_path / "runs")]
  assert runs == [*range(7, 12), *range(17, 32)]
  rows = [*range(5), *range(5, RUNS)]
  read = read_experiment(tmp_path / "runs")
  assert [each.in_subset for each in read] == [outcomes[row].in_subset for row in rows]


def test_a_store_that_has_grown_keeps_its_run_ids(tmp_path, outcomes, arrays, capsys):
  flags = [*array_flags(arrays, "masks", "correct", "test_correct"), "--first_run=0"]
  assert import_outcomes(tmp_path / "runs", *flags, "--rows=0:5") == 0
  assert import_outcomes(tmp_path / "runs", *flags) == 0
  assert "imported 15 runs" in capsys.readouterr().out
  assert bits(read_experiment(tmp_path / "runs")) == bits(outcomes)


def test_run_ids_that_are_taken_are_refused(tmp_path, outcomes, arrays, capsys):
  flags = array_flags(arrays, "masks", "correct", "test_correct")
  write_experiment(tmp_path / "runs", make_outcomes(0.5, [6], seed=1))
  assert import_outcomes(tmp_path / "runs", *flags, "--first_run=0") == 2
  assert (
    f"{tmp_path}/runs: 1 of the runs are there already with other outcomes, the first 0.5/6: "
    "choose other run ids" in capsys.readouterr().err
  )
  assert list_runs(str(tmp_path / "runs")).keys == [RunKey(0.5, 6)]
  assert not list((tmp_path / "runs").rglob("*packed/*"))


def test_the_ratio_is_said_or_the_share_to_one_decimal(tmp_path, arrays, capsys):
  flags = array_flags(arrays, "masks", "correct")
  assert import_outcomes(tmp_path / "runs", *flags, "--subset_ratio=0.42") == 0
  captured = capsys.readouterr()
  assert "at subset ratio 0.42 (as asked for)" in captured.out
  assert "warning: the runs saw 5" in captured.err
  assert "are kept as of subset ratio 0.42" in captured.err
  np.save(arrays["masks"], np.eye(RUNS, NUM_TRAIN, dtype=bool))
  assert import_outcomes(tmp_path / "runs", *flags) == 2
  assert "the runs saw 2.70% of the training set, to one decimal 0" in capsys.readouterr().err


def test_rows_that_saw_another_share_than_those_looked_at_first(
  tmp_path, outcomes, arrays, monkeypatch, capsys
):
  monkeypatch.setattr("beam_pipelines.import_outcomes._ROWS_LOOKED_AT", 1)
  masks = np.load(arrays["masks"])
  masks[1:] = np.random.default_rng(0).random((RUNS - 1, NUM_TRAIN)) < 0.9
  np.save(arrays["masks"], masks)
  assert import_outcomes(tmp_path / "runs", *array_flags(arrays, "masks", "correct")) == 2
  assert "which is not the 0.6 of those that were looked at first" in capsys.readouterr().err
  assert not list((tmp_path / "runs").rglob("*.parquet"))


WRONG_FLAGS = [
  (["--from=arrays"], "--from=arrays needs --masks"),
  (["--from=arrays", "--masks={masks}"], "--from=arrays needs outcomes: one of --correct"),
  (["--from=arrays", "--masks={masks}", "--margins={margins}"], "--margin=logsumexp or --margin=m"),
  (["--from=arrays", "--source=x"], "--from=arrays names each file by its flag, not a --source"),
  (["--from=trak"], "--from=trak needs --source"),
  (["--from=trak", "--source=x", "--masks={masks}"], "--masks needs --from=arrays"),
  (["--from=trak", "--source=x", "--labels=y.npy"], "--labels needs --from=lira"),
  (["--from=trak", "--source=x", "--num_train=3"], "--num_train needs --from=dattri"),
  (["--from=trak", "--source=x", "--target=loss"], "--target needs --from=dattri"),
  (["--from=lira", "--source=x", "--margin=max"], "--margin: scores of LiRA are by logsumexp"),
  (["--from=dattri", "--source=x"], "--from=dattri needs --num_train"),
  (["--from=dattri", "--source=x", "--num_train=0"], "--num_train=0: there is at least one"),
  (["--from=trak", "--source={root}/none"], "none holds no mask.npy: there is nothing"),
  (["--from=lira", "--source={root}/none"], "holds no keep.npy: it is no directory of LiRA's"),
  (["--from=datamodels", "--source={root}/none"], "none holds no masks.npy: there is nothing"),
  (
    ["--from=dattri", "--num_train=37", "--source={root}/none"],
    "none holds no indices.npy: there is nothing",
  ),
  (
    [*("--from=arrays", "--masks={masks}", "--correct={correct}", "--rows=0:21")],
    "there are 20 ro",
  ),
  (
    [*("--from=arrays", "--masks={masks}", "--correct={correct}", "--first_run=-1")],
    "--first_run=-1: run ids lie in 0…",
  ),
  (
    [*("--from=arrays", "--masks={masks}", "--correct={correct}", "--subset_ratio=1")],
    "is no subset ratio",
  ),
  (
    [*("--from=arrays", "--masks={masks}", "--correct={correct}", "--template_location=gs://b/t")],
    "reads its job's result, so it must run",
  ),
]


@pytest.mark.parametrize(("flags", "reason"), WRONG_FLAGS)
def test_flags_that_do_not_go_together(tmp_path, arrays, flags, reason, capsys):
  given = [flag.format(root=tmp_path, **arrays) for flag in flags]
  assert import_outcomes(tmp_path / "runs", *given) == 2
  error = capsys.readouterr().err
  assert reason in error
  assert error.count("\n") == 1


def test_runs_of_another_data_set_are_refused(tmp_path, arrays, capsys):
  flags = array_flags(arrays, "masks", "correct", "test_correct")
  write_experiment(tmp_path / "directories", make_outcomes(0.5, [0], num_train=40))
  assert import_outcomes(tmp_path / "packs", *flags) == 0
  for name in ("masks", "correct"):
    np.save(arrays[name], np.load(arrays[name])[:, 1:])
  for name in ("directories", "packs"):
    assert import_outcomes(tmp_path / name, *flags) == 2
    assert "these are of 36 and 11: choose another directory" in capsys.readouterr().err


def test_a_dry_run_writes_nothing(tmp_path, arrays, capsys):
  flags = array_flags(arrays, "masks", "correct", "test_correct")
  assert import_outcomes(tmp_path / "runs", *flags, "--dry_run") == 0
  assert capsys.readouterr().out.startswith("would import 20 rows of arrays")
  assert not (tmp_path / "runs").exists()


def test_a_killed_import_leaves_nothing_that_is_believed_and_the_next_cleans_up(tmp_path):
  rng = np.random.default_rng(0)
  np.save(tmp_path / "masks.npy", rng.random((40_000, 4096)) < 0.5)
  command = [sys.executable, "-m", "beam_pipelines.cli", "import-outcomes", "--from=arrays"]
  command += [f"--experiment={tmp_path}/runs", f"--masks={tmp_path}/masks.npy"]
  command += [f"--correct={tmp_path}/masks.npy"]
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
  while not list((tmp_path / "runs").rglob("*.parquet")):
    assert process.poll() is None
    time.sleep(0.005)
  process.send_signal(signal.SIGKILL)
  process.wait()
  listing = list_runs(str(tmp_path / "runs"))
  assert listing.keys == []
  assert [skipped.reason for skipped in listing.skipped] == [
    "has no manifest.json: an import was stopped; import again, and delete this"
  ]
  np.save(tmp_path / "masks.npy", rng.random((20, 4096)) < 0.5)
  assert cli.main(command[3:]) == 0
  listing = list_runs(str(tmp_path / "runs"))
  assert len(listing.keys) == 20
  assert listing.skipped == ()
  assert len(list((tmp_path / "runs" / "0.5" / "packed").iterdir())) == 1


def test_all_of_it_may_lie_in_a_bucket(outcomes, arrays):
  with pytest.MonkeyPatch.context() as patch, emulated_gcs(patch):
    paths = {name: f"gs://{BUCKET}/arrays/{path.name}" for name, path in arrays.items()}
    for name, path in paths.items():
      files.write_bytes(path, arrays[name].read_bytes())
    experiment = f"gs://{BUCKET}/runs"
    flags = array_flags(paths, "masks", "correct", "test_correct")
    for _ in range(2):
      assert import_outcomes(experiment, *flags) == 0
      assert bits(read_experiment(experiment)) == bits(outcomes)
    names = [info.name for info in files.list_files(experiment, unfinished=True)]
    assert [name.rpartition("/")[2] for name in names] == [
      "manifest.json",
      "runs-from-000000.parquet",
    ]
    trak = f"gs://{BUCKET}/trak"
    export = ["export", f"--experiment={experiment}", "--format=trak", f"--output={trak}"]
    assert cli.main(export) == 0
    assert import_outcomes(f"{experiment}-back", "--from=trak", f"--source={trak}") == 0
    assert bits(read_experiment(f"{experiment}-back")) == bits(outcomes)
