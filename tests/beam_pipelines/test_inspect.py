import json
import shutil
import subprocess
import sys

import duckdb
import numpy as np
import pytest

from beam_pipelines import cli
from tests.helpers.cases import write_broken_runs
from tests.helpers.checkpoints import write_broken_digits_runs, write_digits_experiment
from tests.helpers.outcomes import make_outcomes, write_experiment, write_few_digits


def _inspect(experiment, *flags):
  return cli.main(["inspect", f"--experiment={experiment}", *flags])


def _problems(out):
  """The reasons by path below each heading."""
  heading, problems = "", {"": {}}
  for line in out.splitlines():
    if line.startswith("  /"):
      path, _, reason = line.strip().partition(": ")
      problems[heading][path] = reason
    else:
      heading = line
      problems[heading] = {}
  return problems


def _skipped(scores):
  return dict(duckdb.read_parquet(f"{scores}/skipped/*.parquet").fetchall())


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
  """Five runs with checkpoints, one broken run of each kind, two sizes, and a stray directory."""
  experiment = tmp_path_factory.mktemp("digits") / "runs"
  good = write_digits_experiment(experiment, range(5))
  reasons = write_broken_digits_runs(experiment, good[0], first_run=5)
  write_experiment(experiment, make_outcomes(0.7, [99]))
  (experiment / "70" / "1").mkdir(parents=True)
  (experiment / "70" / "1" / "aux_arrays.npz").touch()
  return experiment, reasons


def test_says_what_is_there(tmp_path, capsys):
  outcomes = make_outcomes(0.3, range(2)) + make_outcomes(0.7, range(3))
  write_experiment(tmp_path, outcomes)
  (tmp_path / "0.7" / "2" / "checkpoints").mkdir()
  (tmp_path / "0.7" / "2" / "checkpoints" / "ckpt-1.index").write_bytes(b"x" * 500_000)
  (tmp_path / "0.7" / "2" / "checkpoints" / "ckpt-1.data-00000-of-00001").touch()
  assert _inspect(tmp_path) == 0
  captured = capsys.readouterr()
  lines = [line.split() for line in captured.out.splitlines()]
  assert lines[0] == [str(tmp_path)]
  header = [
    "ratio",
    "runs",
    "complete",
    "recorded",
    "checkpoints",
    "train",
    "removed",
    "test",
    "MB",
  ]
  assert lines[3] == header
  accuracies = [outcome.accuracies() for outcome in outcomes[2:]]
  assert lines[5] == [
    *("0.7", "3", "3", "3", "1"),
    *(f"{np.mean([getattr(a, split) for a in accuracies]):.2%}" for split in header[5:8]),
    "0.5",
  ]
  assert lines[6][:5] == ["all", "5", "5", "5", "1"]
  assert "\nfrom recorded outcomes, every run can be scored\n" in captured.out
  assert "\nfrom checkpoints, by the names of their files, 4 of 5 runs cannot" in captured.out
  assert "warning" not in captured.out
  assert captured.err == ""


def test_names_what_cannot_be_scored(tmp_path, capsys):
  write_experiment(tmp_path, make_outcomes(0.5, range(2)))
  reasons = write_broken_runs(tmp_path, first_run=10)
  (tmp_path / "7" / "1").mkdir(parents=True)
  (tmp_path / "7" / "1" / "aux_arrays.npz").touch()
  assert _inspect(tmp_path) == 0
  out = capsys.readouterr().out
  problems = _problems(out)
  found = problems[
    f"from recorded outcomes, {len(reasons)} of {len(reasons) + 2} runs cannot be scored:"
  ]
  assert set(found) == set(reasons)
  for path, reason in reasons.items():
    assert reason in found[path]
  assert problems["skipped, although they look like runs: 1"] == {
    f"{tmp_path}/7/1": "'7' is not a subset ratio in (0, 1): name the directory 0.07"
  }
  assert "from checkpoints, no run can be scored: there are none\n" in out
  (summary,) = [line.split() for line in out.splitlines() if line.startswith("     0.5")]
  assert summary[1:5] == ["10", "9", "2", "0"]


@pytest.mark.parametrize("sized", [True, False])
def test_recorded_outcomes_are_judged_as_score_judges_them(digits, tmp_path, capsys, sized):
  experiment, _ = digits
  dataset = ["--dataset=digits"] if sized else []
  assert cli.main(["score", f"--experiment={experiment}", f"--scores={tmp_path}", *dataset]) == 0
  capsys.readouterr()
  assert _inspect(experiment, *dataset) == 0
  problems = _problems(capsys.readouterr().out)
  (recorded,) = [
    found for heading, found in problems.items() if heading.startswith("from recorded")
  ]
  assert recorded | problems["skipped, although they look like runs: 1"] == _skipped(tmp_path)
  assert f"{experiment}/0.7/99" in recorded


@pytest.mark.parametrize("flags", [(), ("--checkpoint=3",), ("--checkpoint=latest",)])
def test_checkpoints_are_judged_as_score_judges_them(digits, tmp_path, capsys, flags):
  experiment, _ = digits
  flags = ("--dataset=digits", "--model=mlp", *flags)
  score = ["score", f"--experiment={experiment}", f"--scores={tmp_path}", "--source=checkpoints"]
  assert cli.main([*score, *flags]) == 0
  capsys.readouterr()
  assert _inspect(experiment, *flags) == 0
  problems = _problems(capsys.readouterr().out)
  (evaluated,) = [found for heading, found in problems.items() if heading.startswith("from checkp")]
  assert evaluated | problems["skipped, although they look like runs: 1"] == _skipped(tmp_path)
  used = json.loads((tmp_path / "manifest.json").read_text())["runs_used"]
  assert used == len(list((experiment / "0.7").iterdir())) - len(evaluated)


def test_without_a_model_checkpoints_are_judged_by_their_files(digits, capsys):
  experiment, reasons = digits
  assert _inspect(experiment) == 0
  problems = _problems(capsys.readouterr().out)
  (named,) = [found for heading, found in problems.items() if heading.startswith("from checkpoint")]
  expected = {
    path: reason
    for path, reason in reasons.items()
    if not any(
      word in reason for word in ("unreadable", "another architecture", "float32", "finite")
    )
  }
  assert set(named) == {*expected, f"{experiment}/0.7/99"}
  for path, reason in expected.items():
    assert reason in named[path]


def test_a_tie_of_sizes_is_said_and_decided_by_the_data_set(tmp_path, capsys):
  experiment = tmp_path / "runs"
  write_experiment(experiment, make_outcomes(0.5, range(2)))
  write_experiment(experiment, make_outcomes(0.5, [2, 3], num_train=40))
  assert _inspect(experiment) == 0
  out = capsys.readouterr().out
  assert "from recorded outcomes, 4 of 4 runs cannot be scored:\n" in out
  tie = "only the data set tells which is right; --dataset names it\n"
  assert out.count(tie) == 4
  score = ["score", f"--experiment={experiment}", f"--scores={tmp_path}/scores"]
  assert cli.main(score) == 2
  assert capsys.readouterr().err == (
    f"heldout score: error: {experiment}: 4 inputs cannot be used; the first: "
    f"{experiment}/0.5/0 is of 37 training and 11 test examples, and as many runs are of 40 and "
    f"11: {tie}"
  )
  dataset = write_few_digits(tmp_path / "few-digits.npz")
  assert _inspect(experiment, f"--dataset={dataset}") == 0
  assert "from recorded outcomes, 2 of 4 runs cannot be scored:\n" in capsys.readouterr().out


def test_copied_runs_and_ratios_of_others_are_warned_of(tmp_path, capsys):
  write_experiment(tmp_path, make_outcomes(0.3, range(40), num_train=400))
  shutil.copytree(tmp_path / "0.3", tmp_path / "0.7")
  assert _inspect(tmp_path) == 0
  *_, copies, ratio = capsys.readouterr().out.splitlines()
  assert copies.startswith("warning: 40 of 80 runs have the very subset and outcomes of another, ")
  assert ratio.startswith("warning: the 40 runs at subset ratio 0.7 saw ")


def test_outcomes_are_inspected_without_tensorflow(tmp_path):
  write_experiment(tmp_path, make_outcomes(0.3, range(2)))
  program = (
    "import sys; from beam_pipelines import cli; status = cli.main(sys.argv[1:]);"
    "sys.exit(status or 'tensorflow' in sys.modules)"
  )
  command = [sys.executable, "-c", program, "inspect", f"--experiment={tmp_path}"]
  subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    ([], "holds no runs: they lie in <subset ratio>/<run id>/, and there are no files"),
    (["--model=mlp"], "--model needs --dataset: it says how large the images are"),
    (["--dataset=digits", "--model=mpl"], "--model=mpl: unknown model 'mpl': choose one of"),
    (["--checkpoint=first"], "'first' is no checkpoint: write latest, or an epoch"),
  ],
)
def test_bad_input_is_one_line(tmp_path, flags, message, capsys):
  assert _inspect(tmp_path / "missing", *flags) == 2
  error = capsys.readouterr().err
  assert message in error
  assert error.startswith("heldout inspect: error: ")
  assert error.count("\n") == 1
