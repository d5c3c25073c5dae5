import typing
from pathlib import Path

import numpy as np
import pytest

import heldout
from beam_pipelines.storage.scores.dense import read_dense
from beam_pipelines.storage.scores.directory import read_table
from beam_pipelines.storage.scores.tables import TABLE_NAMES
from tests.helpers.outcomes import (
  NUM_TEST,
  NUM_TRAIN,
  make_outcomes,
  write_experiment,
  write_few_digits,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
  directory = tmp_path_factory.mktemp("scores")
  write_experiment(directory / "runs", make_outcomes(0.3, range(5)) + make_outcomes(0.7, range(9)))
  spec = write_few_digits(directory / "digits.npz")
  heldout.score(directory / "runs", directory / "scores", dataset=spec, dense=True)
  return directory / "scores"


@pytest.fixture(scope="module")
def scores(path):
  return heldout.read_scores(path)


def test_every_table_can_be_read(scores):
  assert set(typing.get_args(heldout.TableName)) == set(TABLE_NAMES)
  for name in TABLE_NAMES:
    assert scores.table(name).equals(read_table(scores.path, name))
  assert scores.table("correctness").num_rows == 0


def test_rows_of_one_ratio(scores):
  assert (scores.ratios, scores.main_ratio) == ((0.3, 0.7), 0.7)
  rows = scores.table("examples", 0.3)
  assert rows["subset_ratio"].unique().to_pylist() == [0.3]
  assert rows.num_rows == NUM_TRAIN


def test_columns_are_arrays_in_which_null_is_nan(scores):
  columns = scores.columns("examples", 0.3)
  undefined = (columns["runs_in"] == 0) | (columns["runs_out"] == 0)
  assert 0 < undefined.sum() < NUM_TRAIN
  assert np.array_equal(np.isnan(columns["memorization"]), undefined)
  assert scores.columns("index")["split"].tolist() == ["test"] * NUM_TEST + ["train"] * NUM_TRAIN


def test_dense_influence_is_that_of_the_main_ratio_unless_another_is_asked_for(scores):
  for wanted, ratio in ((None, 0.7), (0.3, 0.3)):
    matrix = scores.dense(wanted)
    assert matrix.shape == (NUM_TRAIN, NUM_TEST)
    assert np.array_equal(matrix[:], read_dense(scores.path, ratio)[:], equal_nan=True)


def test_a_path_may_be_relative(path, monkeypatch):
  monkeypatch.chdir(path.parent)
  scores = heldout.read_scores(Path("scores"))
  assert scores.path == str(path)
  assert repr(scores) == f"<Scores {path}: 5 runs at 0.3, 9 runs at 0.7>"


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (
      lambda scores: scores.table("example"),
      "there is no table 'example': choose one of examples,",
    ),
    (lambda scores: scores.table("cscores", 0.7), "table cscores has no subset ratios: leave the "),
    (lambda scores: scores.dense(0.5), "holds scores at 0.3, 0.7; choose one of them"),
    (lambda _: heldout.read_scores("/nowhere"), "/nowhere holds no manifest.json: run `heldout"),
  ],
)
def test_what_is_not_there_is_said_in_one_line(scores, call, message):
  with pytest.raises(heldout.UsageError, match=r"\A[^\n]+\Z") as caught:
    call(scores)
  assert message in str(caught.value)


def test_scores_that_were_replaced_are_not_mixed(tmp_path):
  write_experiment(tmp_path / "runs", make_outcomes(0.5, range(4)))
  before = heldout.score(tmp_path / "runs", tmp_path / "scores", dense=True)
  opened = before.dense()
  write_experiment(tmp_path / "runs", make_outcomes(0.5, range(4, 8), seed=1))
  heldout.score(tmp_path / "runs", tmp_path / "scores", dense=True)
  for read in (lambda: before.table("runs"), before.dense):
    with pytest.raises(heldout.UsageError, match="other scores were published since: read them ag"):
      read()
  with pytest.raises(heldout.UsageError, match=r"c/0/0 is not the file that manifest\.json names"):
    opened[:]
