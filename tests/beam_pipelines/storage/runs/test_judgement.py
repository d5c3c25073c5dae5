import io
import os

import numpy as np
import pytest

import files
from beam_pipelines.storage.runs.experiment import RunDirectory, list_runs
from beam_pipelines.storage.runs.judgement import (
  SetSizes,
  UnusableRunError,
  WayOut,
  agree_on_sizes,
  check_sizes,
  choose_checkpoint,
  fetch_arrays,
  read_outcome,
  read_subset,
)
from beam_pipelines.storage.runs.run_place import RunKey
from tests.helpers.outcomes import NUM_TRAIN, make_outcomes, write_experiment

INDEX, DATA = "checkpoints/ckpt-3.index", "checkpoints/ckpt-3.data-00000-of-00001"


def _run(*names):
  return RunDirectory(RunKey(0.7, 1), "/runs/0.7/1", tuple(files.FileInfo(n, 1) for n in names))


@pytest.mark.parametrize("wanted", [None, 3, "latest"])
def test_the_only_checkpoint_is_chosen(wanted):
  assert choose_checkpoint(_run("aux_arrays.npz", DATA, INDEX), wanted) == "ckpt-3"


def test_one_of_several_checkpoints_is_chosen_by_its_epoch():
  later = [name.replace("ckpt-3", "ckpt-12") for name in (INDEX, DATA)]
  run = _run(INDEX, DATA, *later)
  assert choose_checkpoint(run, "latest") == "ckpt-12"
  assert choose_checkpoint(run, 3) == "ckpt-3"
  with pytest.raises(
    UnusableRunError, match=r"^has no checkpoint of epoch 4: there is ckpt-3, ckp"
  ):
    choose_checkpoint(run, 4)
  with pytest.raises(UnusableRunError, match=r"^has 2 checkpoints, not one: ckpt-3, ckpt-12$") as e:
    choose_checkpoint(run)
  assert e.value.way_out is WayOut.CHOOSE_CHECKPOINT


@pytest.mark.parametrize(
  ("shards", "missing"),
  [
    ([], "00000-of-00001"),
    (["00000-of-00002"], "00001-of-00002"),
    (["00001-of-00002"], "00000-of-00002"),
    (["00000-of-00002", "00001-of-00002"], None),
    (["00000-of-00003", "00002-of-00003"], "00001-of-00003"),
    (["00000-of-00001", "00000-of-00002"], None),
  ],
)
def test_every_shard_of_a_checkpoint_must_be_there(shards, missing):
  run = _run(INDEX, *(f"checkpoints/ckpt-3.data-{shard}" for shard in shards))
  if missing is None:
    assert choose_checkpoint(run) == "ckpt-3"
  else:
    with pytest.raises(
      UnusableRunError, match=rf"is not whole: .* checkpoints/ckpt-3.data-{missing}$"
    ):
      choose_checkpoint(run)


@pytest.mark.parametrize("name", ["checkpoints", INDEX, DATA])
def test_a_checkpoint_that_cannot_be_read_is_named(name):
  names = {"aux_arrays.npz", INDEX, DATA, name}
  run = RunDirectory(
    RunKey(0.7, 1),
    "/runs/0.7/1",
    tuple(files.FileInfo(n, 0, "is a pipe" * (n == name)) for n in names),
  )
  with pytest.raises(UnusableRunError, match=f"^{name} is a pipe$"):
    choose_checkpoint(run)


def test_a_pipe_in_place_of_an_outcome_is_named_and_not_waited_for(tmp_path):
  (tmp_path / "0.5" / "0").mkdir(parents=True)
  os.mkfifo(tmp_path / "0.5" / "0" / "aux_arrays.npz")
  (run,) = list_runs(str(tmp_path)).runs
  assert not run.complete
  with pytest.raises(UnusableRunError, match=r"^aux_arrays.npz is a pipe, not a file$"):
    fetch_arrays(run)


def test_most_runs_decide_on_the_sizes_and_a_tie_decides_nothing():
  a, b, c = SetSizes(40, 10), SetSizes(40, 11), SetSizes(37, 10)
  assert agree_on_sizes([(a, 3), (b, 2)]) == (a,)
  assert agree_on_sizes([(b, 2), (c, 1), (a, 2)]) == (a, b)
  assert agree_on_sizes([]) == ()
  check_sizes(a, (a,))
  with pytest.raises(UnusableRunError, match=r"not 40 and 10$") as error:
    check_sizes(b, (a,))
  assert error.value.way_out is None
  for found in (a, b, c):
    with pytest.raises(UnusableRunError, match="only the data set tells which is right") as error:
      check_sizes(found, (a, b))
    assert error.value.way_out is WayOut.NAME_DATASET


def test_checkpoints_are_the_way_out_of_missing_margins(tmp_path):
  (outcome,) = make_outcomes(0.5, [0])
  write_experiment(tmp_path, [outcome])
  (run,) = list_runs(str(tmp_path)).runs
  content = fetch_arrays(run)
  assert read_outcome(run, content) == outcome
  with pytest.raises(UnusableRunError, match="records no margins") as error:
    read_outcome(run, content, with_margins=True)
  assert error.value.way_out is WayOut.EVALUATE_CHECKPOINTS


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf])
def test_a_run_that_diverged_cannot_be_used(tmp_path, loss):
  write_experiment(tmp_path, make_outcomes(0.5, [0]), loss)
  (run,) = list_runs(str(tmp_path)).runs
  with pytest.raises(UnusableRunError) as error:
    fetch_arrays(run)
  assert str(error.value) == (
    f"has diverged in training: training_loss in aux_arrays.npz is {loss}"
  )


@pytest.mark.parametrize(
  "loss", [np.float64(0.3), np.float32(7), np.array([np.nan, 0.3]), np.int64(3), np.array("nan")]
)
def test_a_finite_loss_or_another_array_of_that_name_is_no_reason(tmp_path, loss):
  (outcome,) = make_outcomes(0.5, [0])
  write_experiment(tmp_path, [outcome])
  path = tmp_path / "0.5" / "0" / "aux_arrays.npz"
  with np.load(io.BytesIO(path.read_bytes())) as archive:
    arrays = dict(archive)
  np.savez(path, **arrays, training_loss=loss)
  (run,) = list_runs(str(tmp_path)).runs
  content = fetch_arrays(run)
  assert read_outcome(run, content) == outcome
  assert read_subset(content, NUM_TRAIN).tolist() == outcome.unpack()[0].tolist()
