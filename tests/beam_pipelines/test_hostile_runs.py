"""No file of a run stops the commands that read it."""

import os

import duckdb
import numpy as np
import pytest

from beam_pipelines import cli
from tests.helpers.cases import write_hostile_runs
from tests.helpers.outcomes import make_outcomes, write_experiment


@pytest.fixture
def experiment(tmp_path):
  write_experiment(tmp_path / "runs", make_outcomes(0.5, range(6)))
  return tmp_path / "runs"


def _score(experiment, scores):
  return cli.main(["score", f"--experiment={experiment}", f"--scores={scores}"])


def _skipped(scores):
  return dict(duckdb.read_parquet(f"{scores}/skipped/*.parquet").fetchall())


def test_each_is_skipped_with_its_reason_and_the_rest_is_scored(experiment, tmp_path, capsys):
  reasons = write_hostile_runs(experiment, first_run=100)
  assert _score(experiment, tmp_path / "scores") == 0
  captured = capsys.readouterr()
  assert captured.out.startswith("scored 6 runs ")
  assert captured.err == ""
  skipped = _skipped(tmp_path / "scores")
  assert set(skipped) == set(reasons)
  for path, reason in reasons.items():
    assert reason in skipped[path]
    assert "\n" not in skipped[path]


def test_inspect_shows_the_same_reasons(experiment, capsys):
  reasons = write_hostile_runs(experiment, first_run=100)
  assert cli.main(["inspect", f"--experiment={experiment}"]) == 0
  out = capsys.readouterr().out
  for path, reason in reasons.items():
    (line,) = [line for line in out.splitlines() if line.startswith(f"  {path}: ")]
    assert reason in line


def test_other_arrays_cost_no_run(tmp_path, capsys):
  outcomes = make_outcomes(0.5, range(6))
  write_experiment(tmp_path / "runs", outcomes)
  for path in (tmp_path / "runs").glob("0.5/*/aux_arrays.npz"):
    with np.load(path) as arrays:
      np.savez(path, **arrays, config=np.array({"lr": 0.1}))
  assert _score(tmp_path / "runs", tmp_path / "scores") == 0
  assert capsys.readouterr().out.startswith("scored 6 runs ")
  assert _skipped(tmp_path / "scores") == {}


def test_no_name_stops_the_rest(experiment, tmp_path, capsys):
  sound = (experiment / "0.5" / "0" / "aux_arrays.npz").read_bytes()
  for name in (b"run\n7", b"run_\xff"):
    (experiment / "0.5" / os.fsdecode(name)).mkdir()
    (experiment / "0.5" / os.fsdecode(name) / "aux_arrays.npz").write_bytes(sound)
  (experiment / "0.5" / "90").symlink_to(os.fsdecode(b"nowhere\xff"))
  assert _score(experiment, tmp_path / "scores") == 0
  assert capsys.readouterr().out.startswith("scored 6 runs ")
  paths = [f"{experiment}/0.5/{name}" for name in ("90", "run\\n7", "run_\\udcff")]
  assert sorted(_skipped(tmp_path / "scores")) == paths
