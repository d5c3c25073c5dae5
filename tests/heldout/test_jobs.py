import re

import numpy as np
import pytest

import heldout
from tests.helpers.outcomes import make_outcomes, write_experiment, write_few_digits


@pytest.fixture
def experiment(tmp_path):
  write_experiment(tmp_path / "runs", make_outcomes(0.3, range(8)) + make_outcomes(0.7, range(20)))
  return tmp_path / "runs"


@pytest.fixture
def spec(tmp_path):
  return write_few_digits(tmp_path / "digits.npz")


def test_scoring_returns_what_the_command_wrote(experiment, spec, tmp_path, capsys):
  scores = heldout.score(
    experiment, tmp_path / "scores", dataset=spec, min_influence=-1, correctness=True, top_k=None
  )
  assert capsys.readouterr().out.startswith("scored 28 runs at subset ratios 0.3, 0.7: ")
  assert scores.manifest.options.min_influence == -1
  assert scores.manifest.options.correctness is True
  assert scores.manifest.rows["correctness"] == scores.table("correctness").num_rows


def test_a_dry_run_scores_nothing(experiment, tmp_path, capsys):
  assert heldout.score(experiment, tmp_path / "scores", dry_run=True, strict=False) is None
  assert capsys.readouterr().out.startswith("would score 28 runs ")
  assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (
      lambda path: heldout.score(path, path / "s"),
      "{path}: there are no runs|{path} holds no runs",
    ),
    (
      lambda path: heldout.train(path, dataset="digits", runs=range(2), epoch=3),
      "unknown argument --epoch: did you mean --epochs?",
    ),
    (
      lambda path: heldout.train(path, dataset="digits", runs=range(3, 3)),
      "argument --runs: '3:3' is no range of runs",
    ),
    (
      lambda path: heldout.train(path, dataset="digits", runs="0:2", ratios=[0.3, 1.3]),
      "argument --ratios: '1.3' is no subset ratio",
    ),
    (lambda path: heldout.report(path, dataset="digits", output=path / "r"), "holds no manifest"),
    (lambda path: heldout.compare(path, path / "x.npz"), "{path}: no such file|cannot be read"),
  ],
)
def test_what_is_wrong_is_an_exception_of_one_line(call, message, tmp_path):
  with pytest.raises(heldout.UsageError, match=r"\A[^\n]+\Z") as caught:
    call(tmp_path)
  parts = message.format(path=tmp_path).split("|")
  assert any(part in str(caught.value) for part in parts), str(caught.value)


def test_training_exporting_and_comparing(tmp_path, capsys):
  heldout.train(
    tmp_path / "runs", dataset="digits", model="mlp_small", runs=range(4), ratios=[0.3, 0.7],
    epochs=1,
  )  # fmt: skip
  heldout.inspect(tmp_path / "runs")
  assert heldout.verify(tmp_path / "runs", dataset="digits", model="mlp_small") is True
  heldout.score(tmp_path / "runs", tmp_path / "scores", dataset="digits")
  heldout.export(tmp_path / "scores", format="cscores", output=tmp_path / "c.npz")
  heldout.report(tmp_path / "scores", dataset="digits", output=tmp_path / "report.html")
  heldout.explain(tmp_path / "scores", dataset="digits", test_example=7)
  capsys.readouterr()
  heldout.compare(tmp_path / "scores", tmp_path / "c.npz")
  assert re.search(r"^C-score +1,437 +1,437 +1,437 +1\.0000", capsys.readouterr().out, re.M)
  assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
  with np.load(tmp_path / "c.npz") as arrays:
    assert arrays["scores"].shape == (1437,)


def test_subsets_are_imported_and_exported(tmp_path, capsys):
  paths = {name: tmp_path / f"{name}.npy" for name in ("masks", "correct")}
  heldout.subsets(paths["masks"], runs=range(8), num_train=40, subset_ratio=0.5)
  masks = np.load(paths["masks"])
  np.save(paths["correct"], masks | (np.arange(40) % 3 == 0))
  heldout.import_outcomes(tmp_path / "runs", layout="arrays", **paths)
  heldout.export(experiment=tmp_path / "runs", format="lira", output=tmp_path / "lira")
  assert "imported 8 runs at subset ratio 0.5" in capsys.readouterr().out
  np.testing.assert_array_equal(
    np.load(tmp_path / "lira" / "experiment-3_8" / "keep.npy"), masks[3]
  )
