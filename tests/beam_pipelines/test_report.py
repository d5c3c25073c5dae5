import re

import pytest

from beam_pipelines import cli
from image_datasets import load_dataset
from tests.helpers.outcomes import make_outcomes, write_experiment


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
  """Scores of generated outcomes of the real digits."""
  directory = tmp_path_factory.mktemp("report")
  digits = load_dataset("digits")
  sizes = {"num_train": len(digits.train), "num_test": len(digits.test)}
  outcomes = make_outcomes(0.3, range(10), **sizes) + make_outcomes(0.7, range(60), **sizes)
  write_experiment(directory / "runs", outcomes)
  flags = [f"--experiment={directory / 'runs'}", f"--scores={directory / 'scores'}"]
  assert cli.main(["score", *flags, "--dataset=digits"]) == 0
  return directory / "scores"


def _report(scores, output, dataset="digits"):
  return cli.main(["report", f"--scores={scores}", f"--dataset={dataset}", f"--output={output}"])


def test_writes_one_file_and_says_what_it_found(scores, tmp_path, capsys):
  output = tmp_path / "new" / "report.html"
  assert _report(scores, output) == 0
  assert [path.name for path in output.parent.iterdir()] == ["report.html"]
  document = output.read_text()
  assert document.startswith("<!doctype html>")
  assert len(re.findall(r'src="data:image/png', document)) > 100
  lines = capsys.readouterr().out.splitlines()
  assert lines[0] == f"report: {output}"
  assert [line.partition(":")[0] for line in lines[1:]] == ["memorization", "influence", "C-scores"]


def test_the_same_scores_give_the_same_report(scores, tmp_path):
  _report(scores, tmp_path / "a.html")
  _report(scores, tmp_path / "b.html")
  assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_scores_must_be_there(tmp_path, capsys):
  assert _report(tmp_path, tmp_path / "report.html") == 2
  assert "holds no manifest.json: run `heldout score` first" in capsys.readouterr().err


def test_the_data_set_must_be_the_one_that_was_scored(scores, tmp_path, capsys):
  import numpy as np

  digits = load_dataset("digits")
  np.savez(
    tmp_path / "other.npz",
    train__image=digits.train.images[:100],
    train__label=digits.train.labels[:100],
    test__image=digits.test.images,
    test__label=digits.test.labels,
  )
  assert _report(scores, tmp_path / "report.html", f"npz:{tmp_path}/other.npz") == 2
  error = capsys.readouterr().err
  assert error.startswith(f"heldout report: error: --scores={scores} with --dataset=npz:")
  assert error.count("\n") == 1
  assert not (tmp_path / "report.html").exists()
