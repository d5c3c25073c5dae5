import io
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import duckdb
import numpy as np
import pytest

from beam_pipelines import cli
from tests.helpers.checkpoints import DIGITS, write_broken_digits_runs, write_digits_experiment

PAIRS = ("--min_influence=-1", "--min_memorization=0.3")


def _flags(experiment, scores, dataset="digits"):
  return [f"--experiment={experiment}", f"--scores={scores}", f"--dataset={dataset}", *PAIRS]


def _score(experiment, scores, *flags, model="mlp", dataset="digits"):
  source = ("--source=checkpoints", f"--model={model}")
  return cli.main(["score", *_flags(experiment, scores, dataset), *source, *flags])


def _tables(scores):
  """Every Parquet file, byte by byte."""
  return {str(path.relative_to(scores)): path.read_bytes() for path in scores.glob("*/*.parquet")}


def _scored_rows(scores):
  tables = _tables(scores)
  return {name: content for name, content in tables.items() if not name.startswith("skipped")}


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
  """Twelve runs of the MLP and the tables of their recorded outcomes."""
  path = tmp_path_factory.mktemp("scored")
  write_digits_experiment(path / "runs", range(12))
  assert cli.main(["score", *_flags(path / "runs", path / "scores")]) == 0
  return path / "runs", path / "scores"


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory):
  path = tmp_path_factory.mktemp("data") / "few-digits.npz"
  np.savez(
    path,
    train__image=DIGITS.train.images[:48],
    train__label=DIGITS.train.labels[:48],
    test__image=DIGITS.test.images[:16],
    test__label=DIGITS.test.labels[:16],
    __num_classes=10,
    __data_scale=16,
  )
  return f"npz:{path}"


@pytest.mark.parametrize("model", ["mlp", "small_inception"])
def test_trained_runs_verify_and_score_as_recorded(tmp_path, few_digits, model, capsys):
  runs, flags = tmp_path / "runs", (f"--dataset={few_digits}", f"--model={model}")
  training = ("--epochs=1", "--batch_size=16", "--runs=0:4")
  assert cli.main(["train", f"--experiment={runs}", *flags, *training]) == 0
  capsys.readouterr()
  assert cli.main(["verify", f"--experiment={runs}", *flags, "--tolerance=0"]) == 0
  assert "verified 4 runs: 256 of 256 predictions are the recorded ones" in capsys.readouterr().out
  assert cli.main(["score", *_flags(runs, tmp_path / "recorded", few_digits)]) == 0
  assert _score(runs, tmp_path / "evaluated", model=model, dataset=few_digits) == 0
  assert _tables(tmp_path / "evaluated") == _tables(tmp_path / "recorded")


def test_tables_hold_something(scored):
  _, scores = scored
  assert duckdb.read_parquet(f"{scores}/influence/*.parquet").count("*").fetchall()[0][0] > 1000
  assert duckdb.read_parquet(f"{scores}/runs/*.parquet").count("*").fetchall() == [(12,)]


@pytest.mark.parametrize(
  "flags",
  [
    (),
    ("--direct_num_workers=4", "--direct_running_mode=multi_threading"),
    ("--direct_num_workers=2", "--direct_running_mode=multi_processing"),
  ],
)
def test_tables_are_those_of_recorded_outcomes_whatever_the_workers(scored, tmp_path, flags):
  runs, recorded = scored
  assert _score(runs, tmp_path / "scores", *flags) == 0
  assert _tables(tmp_path / "scores") == _tables(recorded)


def test_the_manifest_says_how(scored, tmp_path):
  runs, recorded = scored
  assert _score(runs, tmp_path / "scores", "--xla", "--batch_size=500") == 0
  manifest = json.loads((tmp_path / "scores" / "manifest.json").read_text())
  assert (manifest["source"], manifest["model"]) == ("checkpoints", "mlp")
  options = manifest["options"]
  assert options["xla"] is True
  assert options["batch_size"] == 500
  assert options["precision"] == "float32"
  manifest = json.loads((recorded / "manifest.json").read_text())
  assert (manifest["source"], manifest["model"]) == ("recorded", None)


def test_broken_runs_are_skipped_with_reasons_and_do_not_distort(tmp_path, capsys):
  runs = tmp_path / "runs"
  good = write_digits_experiment(runs, range(5))
  assert _score(runs, tmp_path / "alone") == 0
  reasons = write_broken_digits_runs(runs, good[0], first_run=5)
  capsys.readouterr()
  assert _score(runs, tmp_path / "scores") == 0
  assert capsys.readouterr().out.startswith("scored 5 runs at subset ratios 0.7")
  assert _scored_rows(tmp_path / "scores") == _scored_rows(tmp_path / "alone")
  skipped = dict(duckdb.read_parquet(f"{tmp_path}/scores/skipped/*.parquet").fetchall())
  assert set(skipped) == set(reasons)
  for path, reason in reasons.items():
    assert reason in skipped[path]


def test_diverged_runs_are_skipped_alike_from_both_sources(scored, tmp_path):
  runs = shutil.copytree(scored[0], tmp_path / "runs")
  for run, loss in ((3, np.nan), (5, np.inf)):
    path = runs / "0.7" / str(run) / "aux_arrays.npz"
    with np.load(path) as archive:
      arrays = dict(archive)
    np.savez(path, **arrays, training_loss=np.float64(loss))
  assert cli.main(["score", *_flags(runs, tmp_path / "recorded")]) == 0
  assert _score(runs, tmp_path / "evaluated") == 0
  assert _tables(tmp_path / "evaluated") == _tables(tmp_path / "recorded")
  rows = duckdb.read_parquet(f"{tmp_path}/recorded/skipped/*.parquet").fetchall()
  assert rows == [
    (f"{runs}/0.7/3", "has diverged in training: training_loss in aux_arrays.npz is nan"),
    (f"{runs}/0.7/5", "has diverged in training: training_loss in aux_arrays.npz is inf"),
  ]


def test_one_of_several_checkpoints_can_be_chosen(scored, tmp_path):
  runs, recorded = shutil.copytree(scored[0], tmp_path / "runs"), scored[1]
  (runs / "0.7" / "4" / "checkpoints" / "ckpt-1.index").write_bytes(b"of an interrupted training")
  assert _score(runs, tmp_path / "scores", "--checkpoint=latest") == 0
  assert _tables(tmp_path / "scores") == _tables(recorded)
  manifest = json.loads((tmp_path / "scores" / "manifest.json").read_text())
  assert manifest["options"]["checkpoint"] == "latest"


def test_the_subset_is_all_that_need_be_recorded(scored, tmp_path):
  runs, recorded = scored
  bare = shutil.copytree(runs, tmp_path / "runs")
  for path in bare.glob("*/*/aux_arrays.npz"):
    with np.load(path) as archive:
      subset = archive["subsample_idx"]
    np.savez(path, subsample_idx=np.random.default_rng(0).permutation(subset))
  assert _score(bare, tmp_path / "scores") == 0
  assert _tables(tmp_path / "scores") == _tables(recorded)


def test_only_new_runs_are_evaluated_when_appending(scored, tmp_path):
  runs, recorded = scored
  growing = tmp_path / "runs"
  for run in range(7):
    shutil.copytree(runs / "0.7" / str(run), growing / "0.7" / str(run))
  assert _score(growing, tmp_path / "scores") == 0
  shutil.rmtree(growing / "0.7" / "3" / "checkpoints")
  for run in range(7, 12):
    shutil.copytree(runs / "0.7" / str(run), growing / "0.7" / str(run))
  assert _score(growing, tmp_path / "scores", "--append") == 0
  assert _tables(tmp_path / "scores") == _tables(recorded)


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--source=checkpoints"], "evaluating checkpoints needs --dataset and --model"),
    (["--source=checkpoints", "--model=mlp"], "evaluating checkpoints needs --dataset and --mode"),
    (["--source=checkpoints", "--dataset=digits"], "evaluating checkpoints needs --dataset and"),
    (
      ["--source=checkpoints", "--dataset=digits", "--model=mpl"],
      "--model=mpl: unknown model 'mpl': choose one of",
    ),
    (["--model=mlp"], "--model needs --source=checkpoints"),
    (["--checkpoint=0"], "--checkpoint needs --source=checkpoints"),
    (["--precision=bfloat16"], "--precision needs --source=checkpoints"),
    (["--xla"], "--xla needs --source=checkpoints"),
    (["--source=memory"], "argument --source: invalid choice: 'memory'"),
  ],
)
def test_bad_flags_are_one_line(scored, tmp_path, flags, message, capsys):
  runs, _ = scored
  assert cli.main(["score", f"--experiment={runs}", f"--scores={tmp_path}/scores", *flags]) == 2
  error = capsys.readouterr().err
  assert message in error
  assert error.startswith("heldout score: error: ")
  assert error.count("\n") == 1
  assert not (tmp_path / "scores").exists()


def test_recorded_outcomes_are_scored_without_tensorflow(scored, tmp_path):
  runs, _ = scored
  program = (
    "import sys; from beam_pipelines import cli; status = cli.main(sys.argv[1:]);"
    "sys.exit(status or 'tensorflow' in sys.modules)"
  )
  command = [sys.executable, "-c", program, "score", *_flags(runs, tmp_path / "scores")]
  subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def test_interrupted_scoring_can_be_repeated(scored, tmp_path):
  runs, recorded = scored
  scores = tmp_path / "scores"
  source = ("--source=checkpoints", "--model=mlp")
  command = [sys.executable, "-m", "beam_pipelines.score", *_flags(runs, scores), *source]
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
  while process.poll() is None and not list(scores.glob(".staging-*/*/*")):
    time.sleep(0.005)  # polls another process
  process.send_signal(signal.SIGKILL)
  assert process.communicate() == (None, b"")
  assert process.returncode == -signal.SIGKILL
  assert not (scores / "manifest.json").exists()
  assert _score(runs, scores) == 0
  assert _tables(scores) == _tables(recorded)
  assert not list(scores.glob(".staging-*"))


class _Terminal(io.StringIO):
  def isatty(self):
    return True


def test_progress_shows_on_a_terminal(scored, tmp_path, monkeypatch):
  runs, _ = scored
  monkeypatch.setattr(sys, "stderr", _Terminal())
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
  assert _score(runs, tmp_path / "scores") == 0
  assert "12/12 checkpoints" in sys.stderr.getvalue()
  assert not list(tmp_path.glob("heldout-*"))
