import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
import time

import numpy as np
import pytest
import tensorflow as tf

from beam_pipelines import cli, train
from beam_pipelines.storage.runs import aux_arrays
from beam_pipelines.storage.runs.experiment import list_runs
from beam_pipelines.storage.runs.judgement import DivergedRunError, fetch_many
from beam_pipelines.storage.runs.run_place import RunKey
from image_datasets import load_dataset
from models.architecture import Architecture
from models.checkpoint import read_weights
from models.evaluator import Evaluator
from models.hyper_parameters import HyperParameters
from models.run_seed import RunSeed
from models.trainer import Trainer

FAST = ("--dataset=digits", "--epochs=1", "--stack=4")


def _train(experiment, *flags):
  return cli.main(["train", f"--experiment={experiment}", *FAST, *flags])


def _outcomes(experiment):
  return {run.key: aux_arrays.read(run) for run in list_runs(str(experiment)).runs}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """Six runs at two ratios, in chunks of four."""
  experiment = tmp_path_factory.mktemp("trained")
  assert _train(experiment, "--ratios=0.5,0.7", "--runs=0:6") == 0
  return experiment


def test_writes_the_layout(trained):
  runs = list_runs(str(trained)).runs
  assert [run.key for run in runs] == [RunKey(r, i) for r in (0.5, 0.7) for i in range(6)]
  for run in runs:
    assert [file.name for file in run.files] == [
      "aux_arrays.npz",
      "checkpoints/ckpt-1.data-00000-of-00001",
      "checkpoints/ckpt-1.index",
    ]


def test_the_subset_follows_from_seed_ratio_and_run(trained):
  for key, outcome in _outcomes(trained).items():
    in_subset, _, _ = outcome.unpack()
    expected = RunSeed(0, key.subset_ratio, key.run).subset(1437)
    assert np.flatnonzero(in_subset).tolist() == expected.tolist()


def test_what_is_recorded_is_what_the_checkpoint_predicts(trained):
  digits = load_dataset("digits")
  evaluator = Evaluator(
    "mlp",
    digits.all_examples.images,
    digits.all_examples.labels,
    num_classes=10,
    pixel_max=digits.pixel_max,
    margins=True,
  )
  run = list_runs(str(trained)).runs[7]
  weights = read_weights(f"{run.path}/checkpoints/ckpt-1", Architecture("mlp", 10, (8, 8, 1)).specs)
  outcome = aux_arrays.decode(run.key, aux_arrays.fetch(run), with_margins=True)
  _, train_correct, test_correct = outcome.unpack()
  predicted = evaluator.predict(weights)
  assert np.array_equal(predicted.correct, np.concatenate([train_correct, test_correct]))
  assert np.array_equal(predicted.margins, np.concatenate(outcome.margins))


def test_margins_can_be_left_out(tmp_path, trained):
  assert _train(tmp_path, "--ratios=0.7", "--runs=0:1", "--no_margins") == 0
  assert _outcomes(tmp_path) == {RunKey(0.7, 0): _outcomes(trained)[RunKey(0.7, 0)]}
  with np.load(tmp_path / "0.7" / "0" / "aux_arrays.npz") as arrays:
    assert not [name for name in arrays if name.startswith("margin")]


def test_checkpoints_hold_epoch_and_step(trained):
  variables = dict(tf.train.list_variables(f"{trained}/0.7/0/checkpoints/ckpt-1"))
  assert variables["epoch/.ATTRIBUTES/VARIABLE_VALUE"] == []
  checkpoint = tf.train.Checkpoint(
    epoch=tf.Variable(0, dtype=tf.int64), global_step=tf.Variable(0, dtype=tf.int64)
  )
  checkpoint.restore(f"{trained}/0.7/0/checkpoints/ckpt-1").expect_partial()
  assert checkpoint.epoch.numpy() == 1
  assert checkpoint.global_step.numpy() == -(-round(0.7 * 1437) // 128)


def test_recorded_arrays_have_the_published_names(trained):
  with np.load(f"{trained}/0.5/3/aux_arrays.npz") as arrays:
    assert set(arrays) == {
      *(
        f"{kind}_{split}"
        for kind in ("correctness", "index", "margin")
        for split in aux_arrays.SPLITS
      ),
      "subsample_idx",
      "training_loss",
    }


def test_the_training_loss_is_recorded(trained):
  digits = load_dataset("digits")
  trainer = Trainer(
    "mlp",
    digits.train.images,
    digits.train.labels,
    num_classes=10,
    pixel_max=digits.pixel_max,
    hyper_parameters=HyperParameters(epochs=1),
    seed=0,
    stack=4,
  )
  expected = {run.run: run.training_loss for run in trainer.train([(0.5, 1), (0.5, 3)])}
  for run, loss in expected.items():
    with np.load(f"{trained}/0.5/{run}/aux_arrays.npz") as arrays:
      recorded = arrays["training_loss"]
    assert recorded.dtype == np.float64
    assert recorded.shape == ()
    assert float(recorded) == loss


def test_runs_do_not_depend_on_chunks_order_or_workers(trained, tmp_path):
  flags = ("--direct_num_workers=2", "--direct_running_mode=multi_threading")
  assert _train(tmp_path, "--ratios=0.7", "--runs=3:6", *flags) == 0
  assert _train(tmp_path, "--ratios=0.7,0.5", "--runs=0:3") == 0
  again, before = _outcomes(tmp_path), _outcomes(trained)
  assert again == {key: before[key] for key in again}
  assert len(again) == 9


def test_complete_runs_are_kept_and_half_written_ones_redone(tmp_path, capsys):
  assert _train(tmp_path, "--runs=0:3") == 0
  before = _outcomes(tmp_path)
  untouched = tmp_path / "0.7" / "0" / "aux_arrays.npz"
  modified = untouched.stat().st_mtime_ns
  half = tmp_path / "0.7" / "1"
  (half / "aux_arrays.npz").unlink()
  (half / "checkpoints" / "ckpt-9.index").write_bytes(b"of another training")
  (half / f"aux_arrays.npz.{'0' * 32}.tmp").write_bytes(b"half")
  capsys.readouterr()
  assert _train(tmp_path, "--runs=0:4") == 0
  assert "4 runs of mlp" in (out := capsys.readouterr().out)
  assert "2 complete, 2 to train" in out
  assert untouched.stat().st_mtime_ns == modified
  after = _outcomes(tmp_path)
  assert {key: after[key] for key in before} == before
  assert len(after) == 4
  assert sorted(path.name for path in half.rglob("*") if path.is_file()) == [
    "aux_arrays.npz",
    "ckpt-1.data-00000-of-00001",
    "ckpt-1.index",
  ]


def test_nothing_to_do_is_said_and_done(trained, capsys):
  assert _train(trained, "--ratios=0.5", "--runs=0:6") == 0
  assert "6 complete, 0 to train" in capsys.readouterr().out


def test_dry_run_changes_nothing(tmp_path, capsys):
  assert _train(tmp_path / "runs", "--runs=0:200", "--dry_run") == 0
  assert not (tmp_path / "runs").exists()
  out = capsys.readouterr().out
  assert out.startswith("200 runs of mlp (167,178 variables) on digits at ratios 0.7: 0 complete")
  assert "about 138.8 MB" in out


def test_dry_run_estimates_the_size_well(trained, capsys):
  _train(trained, "--ratios=0.5,0.7", "--runs=0:12", "--dry_run")
  estimate = float(capsys.readouterr().out.partition("about ")[2].split()[0])
  written = sum(run.bytes for run in list_runs(str(trained)).runs) / 1e6
  assert estimate == pytest.approx(written, rel=0.05)


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--dataset=nowhere"], "unknown data set 'nowhere'"),
    (["--dataset=idx:/missing"], "/missing"),
    (["--ratios=1.0"], "'1.0' is no subset ratio"),
    (["--ratios=0.7,0"], "'0' is no subset ratio"),
    (["--ratios=0.0001"], "0.0001 of 1,437 training examples leaves one side empty"),
    (["--runs=5:2"], "'5:2' is no range of runs"),
    (["--model=vgg"], "unknown model 'vgg'"),
    (["--epochs=0"], "epochs is 0"),
    (["--learning_rate=-1"], "learning_rate is -1.0"),
    (["--stack=0"], "--stack=0"),
    (
      ["--crop=8"],
      "--crop=8: of images of 8×8 pixels, some crops would be all border",
    ),
    (
      ["--runs=0:1000001"],
      "--runs: 1,000,001 runs are more than the 1,000,000",
    ),
    (["--runs=0:4294967296"], "--runs: 4,294,967,296 runs are more than the 1,000,000"),
    (["--seed=-1"], "--seed: -1 is not in 0…4294967295"),
    (["--runs=0:4294967297"], "--runs: 4294967296 is not in 0…4294967295"),
    (["--epoch=3"], "unknown argument --epoch: did you mean --epochs?"),
  ],
)
def test_bad_flags_are_one_line(tmp_path, flags, message, capsys):
  assert _train(tmp_path / "runs", "--runs=0:1", *flags) == 2
  error = capsys.readouterr().err
  assert message in error
  assert error.startswith("heldout train: error: ")
  assert error.count("\n") == 1
  assert not (tmp_path / "runs").exists()


def test_one_experiment_is_one_training(trained, capsys):
  assert _train(trained, "--runs=0:1", "--momentum=0.5") == 2
  assert "was trained with --momentum=0.9, not 0.5" in capsys.readouterr().err
  assert _train(trained, "--runs=0:1", "--seed=1") == 2
  assert "was trained with --seed=0, not 1" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda note: [note], " is a list, not what Heldout wrote: "),
    (lambda note: {**note, "epochs": [1]}, ': "epochs" is a list, not a whole number: '),
    (lambda note: {"dataset": note["dataset"]}, ' has no "model": '),
  ],
)
def test_a_damaged_note_is_one_line(trained, tmp_path, capsys, change, message):
  shutil.copytree(trained, tmp_path / "runs")
  note = tmp_path / "runs/training.json"
  note.write_text(json.dumps(change(json.loads(note.read_text()))))
  assert _train(tmp_path / "runs", "--runs=0:1") == 2
  error = capsys.readouterr().err
  advice = "restore the file, or choose another directory"
  assert error == f"heldout train: error: {note}{message}{advice}\n"


def test_runs_of_others_are_not_mixed_in(tmp_path, capsys):
  (tmp_path / "0.7" / "0").mkdir(parents=True)
  (tmp_path / "0.7" / "0" / "aux_arrays.npz").touch()
  assert _train(tmp_path, "--runs=0:2") == 2
  assert "holds runs without training.json" in capsys.readouterr().err


def test_training_json_says_how(trained):
  described = json.loads((trained / "training.json").read_text())
  assert described["dataset"] == "digits"
  assert described["epochs"] == 1
  assert described["momentum"] == 0.9


def test_runs_behind_links_are_not_trained_again(trained, tmp_path, capsys):
  experiment = tmp_path / "runs"
  (experiment / "0.7").mkdir(parents=True)
  shutil.copy(trained / "training.json", experiment)
  (experiment / "0.5").symlink_to(trained / "0.5")
  for run in range(6):
    (experiment / "0.7" / str(run)).symlink_to(trained / "0.7" / str(run))
  assert _train(experiment, "--ratios=0.5,0.7", "--runs=0:7", "--dry_run") == 0
  assert ": 12 complete, 2 to train" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["0.7", "0.7/1", "0.7/1/aux_arrays.npz", "0.7/1/checkpoints"])
def test_a_run_is_not_trained_anew_where_a_link_leads_nowhere(trained, tmp_path, place, capsys):
  shutil.copy(trained / "training.json", tmp_path)
  link = tmp_path / place
  link.parent.mkdir(parents=True, exist_ok=True)
  link.symlink_to("/nowhere")
  assert _train(tmp_path, "--runs=0:3") == 2
  assert capsys.readouterr().err == (
    f"heldout train: error: {link} is a symbolic link to /nowhere, where there is nothing: "
    "restore what it was, or remove it to train the run anew\n"
  )
  assert _train(tmp_path, "--runs=2:3") == (2 if place == "0.7" else 0)


def test_diverged_runs_are_said_and_marked(tmp_path, capsys):
  flags = ("--model=mlp_small", "--learning_rate=1e25", "--batch_size=64", "--runs=0:5")
  assert _train(tmp_path, *flags) == 0
  captured = capsys.readouterr()
  assert "trained 5 runs" in captured.out
  assert captured.err == (
    "heldout train: warning: 5 of 5 runs have diverged, their loss, weights or logits are not "
    f"finite: {tmp_path}/0.7/0, {tmp_path}/0.7/1, {tmp_path}/0.7/2, …; they are skipped when "
    "scoring; train with a smaller --learning_rate, into another directory\n"
  )
  runs = list_runs(str(tmp_path)).runs
  assert all(isinstance(fetched, DivergedRunError) for _, fetched in fetch_many(runs))
  assert cli.main(["inspect", f"--experiment={tmp_path}"]) == 0
  reason = "has diverged in training: training_loss in aux_arrays.npz is "
  assert capsys.readouterr().out.count(reason) == 10  # from either source
  for source in ([], ["--source=checkpoints", "--model=mlp_small"]):
    score = ["score", f"--experiment={tmp_path}", f"--scores={tmp_path}/scores", "--dataset=digits"]
    assert cli.main([*score, *source]) == 2
    error = capsys.readouterr().err
    assert "5 inputs cannot be used" in error
    assert reason in error
    assert error.count("\n") == 1


def test_two_trainings_of_the_same_runs_at_once(trained, tmp_path):
  """Whatever the one does to the other's files, a run that is complete once is so for good."""
  command = [
    *(sys.executable, "-m", "beam_pipelines.train", f"--experiment={tmp_path}", *FAST),
    *("--ratios=0.5,0.7", "--runs=0:6"),
  ]
  half = tmp_path / "0.7" / "2" / "checkpoints"
  half.mkdir(parents=True)
  (half / "ckpt-9.index").write_bytes(b"of another training")
  shutil.copy(trained / "training.json", tmp_path)
  processes = [
    subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for _ in range(2)
  ]
  complete, expected = set(), _outcomes(trained)
  while any(process.poll() is None for process in processes):
    runs = {run.key: run for run in list_runs(str(tmp_path)).runs}
    for key in complete:  # since the listing before: listing takes time
      assert runs[key].complete
      assert runs[key].checkpoint_names == ("ckpt-1",)
      assert aux_arrays.read(runs[key]) == expected[key]
    complete = {key for key, run in runs.items() if run.complete}
    time.sleep(0.01)  # polls other processes
  outputs = [process.communicate()[0] for process in processes]
  assert [process.returncode for process in processes] == [0, 0], outputs
  assert _outcomes(tmp_path) == expected
  left = {
    path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
  }
  assert left == {
    path.relative_to(trained): path.read_bytes() for path in trained.rglob("*") if path.is_file()
  }


@pytest.mark.parametrize("runs_before_the_kill", [0, 1, 6])
def test_a_killed_training_resumes(trained, tmp_path, runs_before_the_kill):
  command = [
    *(sys.executable, "-m", "beam_pipelines.train", f"--experiment={tmp_path}", *FAST),
    *("--ratios=0.5,0.7", "--runs=0:6"),
  ]
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
  while process.poll() is None:
    if (
      sum(run.complete for run in list_runs(str(tmp_path)).runs) >= runs_before_the_kill
      and (tmp_path / "training.json").exists()
    ):
      process.send_signal(signal.SIGKILL)
      break
    time.sleep(0.01)  # polls another process
  assert process.wait() == -signal.SIGKILL
  assert _train(tmp_path, "--ratios=0.5,0.7", "--runs=0:6") == 0
  assert _outcomes(tmp_path) == _outcomes(trained)
  assert sum(len(run.files) for run in list_runs(str(tmp_path)).runs) == 12 * 3


def _on_a_terminal(command):
  """Runs a command whose errors go to a pseudo-terminal; returns what that shows."""
  terminal, theirs = pty.openpty()
  termios.tcsetwinsize(theirs, (24, 100))
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs)
  os.close(theirs)
  shown = io.BytesIO()
  try:
    while chunk := os.read(terminal, 4096):
      shown.write(chunk)
  except OSError:  # how Linux says that the other end is closed
    pass
  os.close(terminal)
  assert process.wait() == 0
  return shown.getvalue().decode()


def test_progress_shows_on_a_terminal_only(tmp_path):
  """A pseudo-terminal shows runs done, the rate and the time left; a pipe shows nothing."""
  command = [
    *(sys.executable, "-m", "beam_pipelines.train", f"--experiment={tmp_path}", *FAST),
    "--runs=0:4",
  ]
  text = _on_a_terminal(command)
  assert "4/4 runs" in text
  assert "runs/min" in text
  assert "left" in text
  quiet = subprocess.run(command, capture_output=True, text=True, check=True)
  assert quiet.stderr == ""


def test_logs_do_not_tear_the_progress(tmp_path):
  command = [sys.executable, "-m", "beam_pipelines.train", f"--experiment={tmp_path}", *FAST]
  text = _on_a_terminal([*command, "--runs=0:4", "--verbose"])
  pieces = [piece for piece in re.split(r"[\r\n]+", text) if piece.strip()]
  logs = [piece for piece in pieces if re.match(r"(INFO|WARNING) [\w.]+: ", piece)]
  bars = [piece for piece in pieces if re.match(r" *\d+/4 runs \|", piece)]
  assert len(logs) > 3
  assert bars
  assert not [piece for piece in bars if "INFO" in piece]
  assert not [piece for piece in logs if "runs |" in piece]


def test_of_two_that_begin_at_once_with_other_flags_one_fails(tmp_path, monkeypatch, capsys):
  """Both look before either has written down with what it trains."""
  original = train._check_places

  def meanwhile(*arguments):
    monkeypatch.setattr(train, "_check_places", original)
    assert _train(tmp_path, "--runs=0:1", "--seed=1") == 0
    original(*arguments)

  monkeypatch.setattr(train, "_check_places", meanwhile)
  assert _train(tmp_path, "--runs=1:2") == 2
  assert "was trained with --seed=1, not 0: use the same or another" in capsys.readouterr().err
  assert [run.key.run for run in list_runs(str(tmp_path)).runs] == [0]
