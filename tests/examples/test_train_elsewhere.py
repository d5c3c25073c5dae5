import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from beam_pipelines import cli
from tests.helpers.layouts import read_experiment

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_what_scikit_learn_has_trained_is_imported_and_scored(tmp_path, capsys):
  command = [sys.executable, EXAMPLES / "train_elsewhere.py", tmp_path, "4"]
  process = subprocess.run(command, capture_output=True, text=True)
  assert process.returncode == 0, process.stderr
  assert "imported 4 runs at subset ratio 0.5" in process.stdout
  masks = np.load(tmp_path / "masks.npy")
  read = read_experiment(tmp_path / "runs")
  np.testing.assert_array_equal([each.unpack()[0] for each in read], masks)
  accuracies = [each.accuracies() for each in read]
  assert min(each.train for each in accuracies) > 0.95
  assert min(each.test for each in accuracies) > 0.7
  score = ["score", f"--experiment={tmp_path}/runs", f"--scores={tmp_path}/scores"]
  assert cli.main([*score, "--dataset=digits"]) == 0
  assert capsys.readouterr().out.startswith("scored 4 runs at subset ratios 0.5")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("train_*.py")), ids=lambda path: path.name)
def test_examples_are_short(path):
  assert len(path.read_text().splitlines()) < 40
