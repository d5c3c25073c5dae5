"""What may not be listed is an error of every command, and never counts as not there."""

import pytest

from tests.helpers.outcomes import make_outcomes, write_experiment
from tests.helpers.unprivileged import run_cli

COMMANDS = {
  "inspect": [],
  "score": ["--scores={root}/scores"],
  "score --strict": ["--scores={root}/scores", "--strict"],
  "score --source=checkpoints": [
    *("--scores={root}/scores", "--source=checkpoints", "--dataset=digits", "--model=mlp")
  ],
  "train": ["--dataset=digits", "--runs=0:4"],
  "verify": ["--dataset=digits", "--model=mlp"],
}


@pytest.fixture
def experiment(tmp_path):
  """Runs at two ratios; they can be read again in the end."""
  path = tmp_path / "runs"
  write_experiment(path, make_outcomes(0.5, range(4)) + make_outcomes(0.7, range(4)))
  yield path
  for directory in (path, path / "0.7", path / "0.7" / "2"):
    directory.chmod(0o700)


@pytest.mark.parametrize(
  ("command", "unreadable"),
  [*((command, "0.7") for command in COMMANDS), ("inspect", ""), ("inspect", "0.7/2")],
)
def test_a_directory_that_may_not_be_listed_is_one_line(experiment, command, unreadable):
  (experiment / unreadable).chmod(0)
  flags = [flag.format(root=experiment.parent) for flag in COMMANDS[command]]
  name = command.split()[0]
  process = run_cli(name, f"--experiment={experiment}", *flags)
  assert process.returncode == 2, process
  assert process.stdout == ""
  path = f"{experiment}/{unreadable}".rstrip("/")
  assert process.stderr == (
    f"heldout {name}: error: {path}: permission denied; check the path and your access to it\n"
  )
  assert not (experiment.parent / "scores").exists()


def test_a_recorded_outcome_that_may_not_be_read_is_skipped_with_the_reason(experiment):
  path = experiment / "0.7" / "2" / "aux_arrays.npz"
  path.chmod(0)
  process = run_cli("inspect", f"--experiment={experiment}")
  assert process.returncode == 0, process
  assert f"  {path.parent}: aux_arrays.npz cannot be read: " in process.stdout
  assert "from recorded outcomes, 1 of 8 runs cannot be scored:" in process.stdout
