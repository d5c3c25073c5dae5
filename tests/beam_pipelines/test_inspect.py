import numpy as np

from beam_pipelines import cli
from tests.helpers.cases import write_broken_runs
from tests.helpers.outcomes import make_outcomes, write_experiment


def _inspect(experiment):
  return cli.main(["inspect", f"--experiment={experiment}"])


def test_says_what_is_there(tmp_path, capsys):
  outcomes = make_outcomes(0.3, range(2)) + make_outcomes(0.7, range(3))
  write_experiment(tmp_path, outcomes)
  (tmp_path / "0.7" / "2" / "checkpoints").mkdir()
  (tmp_path / "0.7" / "2" / "checkpoints" / "ckpt-1.index").write_bytes(b"x" * 500_000)
  assert _inspect(tmp_path) == 0
  captured = capsys.readouterr()
  lines = [line.split() for line in captured.out.splitlines()]
  assert lines[0] == [str(tmp_path)]
  header = ["ratio", "runs", "complete", "usable", "train", "removed", "test", "checkpoints", "MB"]
  assert lines[2] == header
  accuracies = [outcome.accuracies() for outcome in outcomes[2:]]
  assert lines[4] == [
    *("0.7", "3", "3", "3"),
    *(f"{np.mean([getattr(a, split) for a in accuracies]):.2%}" for split in header[4:7]),
    *("1", "0.5"),
  ]
  assert lines[5][:4] == ["all", "5", "5", "5"]
  assert captured.out.endswith("every run can be scored\n")
  assert captured.err == ""


def test_names_what_cannot_be_scored(tmp_path, capsys):
  write_experiment(tmp_path, make_outcomes(0.5, range(2)))
  reasons = write_broken_runs(tmp_path, first_run=10)
  (tmp_path / "7" / "1").mkdir(parents=True)
  (tmp_path / "7" / "1" / "aux_arrays.npz").touch()
  assert _inspect(tmp_path) == 0
  out = capsys.readouterr().out
  assert f"{len(reasons) + 1} cannot be scored:" in out
  for path, reason in reasons.items():
    (line,) = [line for line in out.splitlines() if line.startswith(f"  {path}: ")]
    assert reason in line
  assert f"  {tmp_path}/7/1: '7' is not a subset ratio in (0, 1)" in out
  (summary,) = [line.split() for line in out.splitlines() if line.startswith("     0.5")]
  assert summary[1:4] == ["10", "9", "2"]


def test_nothing_there_is_an_error(tmp_path, capsys):
  assert _inspect(tmp_path / "missing") == 2
  assert "holds no runs" in capsys.readouterr().err
