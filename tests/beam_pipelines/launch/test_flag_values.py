"""Every flag of every command with values that it cannot have: one line, and nothing is written."""

import importlib

import numpy as np
import pytest
from PIL import Image

from beam_pipelines import cli
from tests.helpers.archives import make_archive, md5, run_members
from tests.helpers.outcomes import RunKey, make_outcomes, write_experiment

ARCHIVE = make_archive(run_members(RunKey(0.7, 1)))

# What each command needs; --dry_run where there is one, as this is about flags.
NEEDED = {
  "build-tfrecords": ["--images={0}/tree", "--split=train", "--output={0}/new", "--dry_run"],
  "compare": ["{0}/scores", "{0}/scores"],
  "explain": ["--scores={0}/scores", "--dataset=digits", "--test_example=1"],
  "export": ["--scores={0}/scores", "--format=cscores", "--output={0}/new"],
  "import-outcomes": [
    *("--experiment={0}/new", "--from=arrays", "--masks={0}/masks.npy"),
    *("--correct={0}/masks.npy", "--dry_run"),
  ],
  "ingest": ["--experiment={0}/new", "--archive={0}/a.tar.gz", f"--md5={md5(ARCHIVE)}"],
  "inspect": ["--experiment={0}/runs"],
  "report": ["--scores={0}/scores", "--dataset=digits", "--output={0}/new"],
  "score": ["--experiment={0}/runs", "--scores={0}/new", "--dry_run"],
  "subsets": ["--dataset=digits", "--runs=0:2", "--output={0}/new"],
  "train": ["--experiment={0}/new", "--dataset=digits", "--runs=0:2", "--dry_run"],
  "verify": ["--experiment={0}/runs", "--dataset=digits", "--model=mlp", "--dry_run"],
}
# No flag takes these, nor, by what it takes, those.
NEVER = ["", "~nobody_such/x", "\udcff"]
NEVER_AS = {
  "N": ["x", "1.5", "nan", "inf", "1e400", "1,2", "5:5", "-9" * 20, "9" * 40],
  "X": ["x", "nan", "inf", "-inf", "1e400", "1,2"],
  "PIXELS": ["x", "nan", "-1", "1.5"],
  "SHARE": ["x", "nan", "inf", "-1", "2", "101%"],
  "X,…": ["x", "nan", "0", "1", "0.5,", ",", "0.7,1.5", "-0.5"],
  "START:STOP": ["x", "5", "5:5", "0:0", "-3:2", "3:1", "1:2:3", ":", "0:nan"],
}
# As many as there are will do.
ANY_NUMBER = {"--largest", "--count", "--top_k", "--stack"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  """What commands read."""
  root = tmp_path_factory.mktemp("flags")
  write_experiment(root / "runs", make_outcomes(0.7, range(4), num_train=1437, num_test=360))
  scores = ["score", f"--experiment={root}/runs", f"--scores={root}/scores", "--dataset=digits"]
  assert cli.main(scores) == 0
  np.save(root / "masks.npy", np.random.default_rng(0).random((8, 20)) < 0.5)
  (root / "a.tar.gz").write_bytes(ARCHIVE)
  for name in ("cat", "dog"):
    (root / "tree" / name).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(root / "tree" / name / "1.png")
  return root


def _flags(command):
  module = importlib.import_module(f"beam_pipelines.{command.replace('-', '_')}")
  for actions in module.make_parser().flags.values():
    yield from (action for action in actions if action.option_strings and action.nargs != 0)


@pytest.mark.parametrize("command", NEEDED)
def test_no_flag_takes_what_it_cannot_have(root, command, capsys):
  needed = [flag.format(root) for flag in NEEDED[command]]
  wrong = []
  for action in _flags(command):
    values = [*NEVER, *NEVER_AS.get(action.metavar, [])]
    for value in values:
      if value.isdecimal() and action.option_strings[-1] in ANY_NUMBER:
        continue
      flag = f"{action.option_strings[-1]}={value}"
      status = cli.main([command, *needed, flag])
      captured = capsys.readouterr()
      one_line = captured.err.count("\n") == 1 and captured.err.startswith(f"heldout {command}: ")
      if status != 2 or not one_line or "job failed" in captured.err or (root / "new").exists():
        wrong.append((flag, status, captured.err))
  assert wrong == []
