import numpy as np
import pytest

from beam_pipelines import cli
from beam_pipelines.storage.runs import aux_arrays
from beam_pipelines.storage.runs.experiment import list_runs


def _subsets(output, *flags):
  return cli.main(["subsets", f"--output={output}", *flags])


def test_they_are_those_of_the_runs_that_train_trains(tmp_path, capsys):
  train = ["train", f"--experiment={tmp_path}/runs", "--dataset=digits", "--model=mlp_small"]
  assert cli.main([*train, "--runs=3:6", "--seed=7", "--ratios=0.3", "--epochs=1"]) == 0
  flags = ["--runs=3:6", "--seed=7", "--subset_ratio=0.3"]
  capsys.readouterr()
  assert _subsets(tmp_path / "masks.npy", "--dataset=digits", *flags) == 0
  assert capsys.readouterr().out == (
    f"masks of 3 runs, 431 of 1,437 training examples each, into {tmp_path}/masks.npy\n"
  )
  assert _subsets(tmp_path / "indices.npy", "--num_train=1437", "--format=indices", *flags) == 0
  masks, indices = np.load(tmp_path / "masks.npy"), np.load(tmp_path / "indices.npy")
  assert (masks.dtype, indices.dtype) == (bool, np.int64)
  trained = [aux_arrays.read(run).unpack()[0] for run in list_runs(str(tmp_path / "runs")).runs]
  np.testing.assert_array_equal(masks, trained)
  assert indices.tolist() == [np.flatnonzero(mask).tolist() for mask in masks]


@pytest.mark.parametrize(
  ("flags", "reason"),
  [
    ([], "give --dataset or --num_train: subsets are of one or the other"),
    (["--dataset=digits", "--num_train=3"], "give --dataset or --num_train"),
    (["--num_train=1"], "--num_train=1: a subset and its rest need two examples"),
    (["--num_train=2", "--subset_ratio=0.9"], "0.9 of 2 training examples leaves one side empty"),
    (["--num_train=9", "--seed=-1"], "seed -1 is out of range"),
    (["--num_train=9", "--runs=0:5000000000"], "run 4999999999 is out of range"),
  ],
)
def test_errors_are_one_line(tmp_path, flags, reason, capsys):
  assert _subsets(tmp_path / "a.npy", "--runs=0:2", *flags) == 2
  error = capsys.readouterr().err
  assert reason in error
  assert error.count("\n") == 1
  assert not (tmp_path / "a.npy").exists()
