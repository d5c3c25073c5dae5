import duckdb
import numpy as np
import pytest

from beam_pipelines import cli
from beam_pipelines.storage.scores.manifest import write_stub
from image_datasets import load_dataset
from tests.helpers.outcomes import (
  NUM_TEST,
  NUM_TRAIN,
  make_outcomes,
  write_experiment,
  write_few_digits,
)


@pytest.fixture(scope="module")
def outcomes():
  """Outcomes of which some scores at ratio 0.3 are undefined."""
  return make_outcomes(0.3, range(3)) + make_outcomes(0.7, range(40))


@pytest.fixture(scope="module")
def campaign(tmp_path_factory, outcomes):
  """A directory of an experiment, its `scores`, and the data set `digits.npz`."""
  directory = tmp_path_factory.mktemp("export")
  write_few_digits(directory / "digits.npz")
  write_experiment(directory / "runs", outcomes)
  _score(directory, f"--dataset=npz:{directory}/digits.npz")
  return directory


@pytest.fixture(scope="module")
def dense(tmp_path_factory, outcomes):
  """Like `campaign`, with dense influence."""
  directory = tmp_path_factory.mktemp("dense")
  write_few_digits(directory / "digits.npz")
  write_experiment(directory / "runs", outcomes)
  _score(directory, f"--dataset=npz:{directory}/digits.npz", "--dense")
  return directory


def _dense_influence(outcomes, ratio=0.7):
  """Influence float64 [train, test], pair by pair."""
  runs = [outcome.unpack() for outcome in outcomes if outcome.key.subset_ratio == ratio]
  matrix = np.full((NUM_TRAIN, NUM_TEST), np.nan)
  for train, test in np.ndindex(matrix.shape):
    saw = [correct[test] for in_subset, _, correct in runs if in_subset[train]]
    not_saw = [correct[test] for in_subset, _, correct in runs if not in_subset[train]]
    if saw and not_saw:
      matrix[train, test] = sum(saw) / len(saw) - sum(not_saw) / len(not_saw)
  return matrix


def _score(directory, *flags):
  places = [f"--experiment={directory}/runs", f"--scores={directory}/scores"]
  assert cli.main(["score", *places, "--min_influence=-1", "--min_memorization=-1", *flags]) == 0


def _export(directory, format_name, *flags):
  output = directory / "out" / f"{format_name}.npz"
  places = [f"--scores={directory / 'scores'}", f"--output={output}"]
  status = cli.main(["export", *places, f"--format={format_name}", *flags])
  if status:
    return None
  with np.load(output, allow_pickle=False) as archive:
    return dict(archive)


def _query(directory, table, columns, where="true", order="all"):
  return duckdb.sql(
    f"select {columns} from '{directory}/scores/{table}/*.parquet' where {where} order by {order}"
  ).fetchnumpy()


def _memorization(directory, ratio):
  column = _query(directory, "examples", "memorization", f"subset_ratio = {ratio}", "example")[
    "memorization"
  ]
  return np.ma.filled(column, np.nan)


def test_cscores_come_in_the_order_of_the_examples(campaign, capsys):
  arrays = _export(campaign, "cscores")
  table = _query(campaign, "cscores", "label, cscore", order="example")
  assert {name: array.dtype.name for name, array in arrays.items()} == {
    "labels": "int64",
    "scores": "float64",
  }
  assert np.array_equal(arrays["scores"], np.ma.filled(table["cscore"], np.nan), equal_nan=True)
  labels = load_dataset(f"npz:{campaign}/digits.npz").train.labels
  assert np.array_equal(arrays["labels"], labels)
  assert (
    capsys.readouterr().out == f"cscores: 37 training examples, into {campaign}/out/cscores.npz\n"
  )


def test_undefined_cscores_are_nan(tmp_path, capsys):
  dataset = load_dataset(write_few_digits(tmp_path / "digits.npz"))
  write_experiment(tmp_path / "runs", make_outcomes(0.9, range(3)))
  _score(tmp_path, f"--dataset={dataset.spec}")
  scores = _export(tmp_path, "cscores")["scores"]
  undefined = _query(tmp_path, "cscores", "example", "cscore is null")["example"]
  assert 0 < len(undefined) < NUM_TRAIN
  assert np.flatnonzero(np.isnan(scores)).tolist() == undefined.tolist()
  assert f"37 training examples ({len(undefined)} NaN), into " in capsys.readouterr().out


@pytest.mark.parametrize(("flags", "ratio"), [([], 0.7), (["--ratio=0.3"], 0.3)])
def test_pairs_are_those_of_one_ratio_by_class_and_test_example(campaign, flags, ratio, capsys):
  arrays = _export(campaign, "high_influence_pairs", *flags)
  assert [(name, array.dtype.name) for name, array in arrays.items()] == [
    ("tr_idx", "int64"),
    ("tt_idx", "int64"),
    ("infl", "float64"),
    ("mem", "float64"),
  ]
  table = _query(
    campaign,
    "influence",
    "train_example, test_example, influence, memorization",
    f"subset_ratio = {ratio}",
    "test_label, test_example, train_example",
  )
  assert len(arrays["infl"]) > 20
  for exported, column in zip(arrays.values(), table.values(), strict=True):
    assert np.array_equal(exported, column)
  train, test = (len(set(arrays[name])) for name in ("tr_idx", "tt_idx"))
  assert capsys.readouterr().out.startswith(
    f"high_influence_pairs: {len(arrays['infl'])} pairs of {train} training and {test} test "
    f"examples at ratio {ratio}, into "
  )


def test_influence_matrices_hold_the_pairs_of_each_class(dense, outcomes):
  arrays = _export(dense, "influence_matrix", f"--dataset=npz:{dense}/digits.npz")
  dataset, matrix = load_dataset(f"npz:{dense}/digits.npz"), _dense_influence(outcomes)
  assert set(arrays) == {"tr_labels", "tt_labels", "tr_mem"} | {
    f"{name}{label}"
    for name in ("tr_classidx_", "tt_classidx_", "infl_matrix_class")
    for label in range(10)
  }
  assert np.array_equal(arrays["tr_labels"], dataset.train.labels)
  assert np.array_equal(arrays["tt_labels"], dataset.test.labels)
  assert np.array_equal(arrays["tr_mem"], _memorization(dense, 0.7))
  for label in range(10):
    train, test = arrays[f"tr_classidx_{label}"], arrays[f"tt_classidx_{label}"]
    assert np.array_equal(train, np.flatnonzero(dataset.train.labels == label))
    assert np.array_equal(test, np.flatnonzero(dataset.test.labels == label))
    of_class = arrays[f"infl_matrix_class{label}"]
    assert of_class.dtype == np.float64
    assert np.array_equal(of_class, matrix[np.ix_(train, test)].astype(np.float32))


@pytest.mark.parametrize("ratio", [0.3, 0.7])
def test_the_demonstrations_influence_is_test_by_train(dense, outcomes, ratio, capsys):
  arrays = _export(dense, "infl_mem", f"--ratio={ratio}")
  expected = {
    "memorization": _memorization(dense, ratio).astype(np.float32),
    "influence": _dense_influence(outcomes, ratio).T.astype(np.float32),
  }
  assert arrays.keys() == expected.keys()
  for name, array in expected.items():
    assert arrays[name].dtype == np.float32
    assert np.array_equal(arrays[name], array, equal_nan=True)
    assert np.isnan(array).any() == (ratio == 0.3)
  undefined = np.isnan(arrays["memorization"]).sum()
  what = "37 training examples" + (f" ({undefined} NaN)" if undefined else "")
  assert f"{what} × 11 test examples at ratio {ratio}, into " in capsys.readouterr().out


def test_the_output_is_replaced_and_nothing_else_is_left(campaign, tmp_path):
  output = tmp_path / "x.npz"
  output.write_bytes(b"old")
  flags = [f"--scores={campaign / 'scores'}", "--format=cscores", f"--output={output}"]
  assert cli.main(["export", *flags]) == 0
  assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
  assert output.read_bytes()[:2] == b"PK"


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--format=cscore"], "argument --format: invalid choice: 'cscore'"),
    (["--format=cscores", "--ratio=0.7"], "--ratio: C-scores average all subset ratios"),
    (["--format=high_influence_pairs", "--ratio=0.5"], "--ratio=0.5: "),
    (["--format=influence_matrix"], "--format=influence_matrix needs labels: give --dataset"),
    (["--format=influence_matrix", "--dataset=digits"], "run `heldout score --dense`"),
    (["--format=infl_mem"], "holds no dense influence at ratio 0.7"),
    (["--format=infl_mem", "--ratio=x"], "argument --ratio: invalid float value: 'x'"),
  ],
)
def test_what_cannot_be_exported_is_one_line(campaign, tmp_path, flags, message, capsys):
  output = tmp_path / "x.npz"
  arguments = [f"--scores={campaign / 'scores'}", f"--output={output}", *flags]
  assert cli.main(["export", *arguments]) == 2
  error = capsys.readouterr().err
  assert message in error
  assert error.startswith("heldout export: error: ")
  assert error.count("\n") == 1
  assert not output.exists()


def test_scores_must_be_there(tmp_path, capsys):
  assert _export(tmp_path, "cscores") is None
  assert "holds no manifest.json: run `heldout score` first" in capsys.readouterr().err


def test_cscores_need_labels(tmp_path, capsys):
  write_experiment(tmp_path / "runs", make_outcomes(0.5, range(4)))
  _score(tmp_path)
  assert _export(tmp_path, "cscores") is None
  assert "has no labels, which cscores needs: run `heldout score` with" in capsys.readouterr().err
  assert len(_export(tmp_path, "high_influence_pairs")["infl"])


def test_no_pairs_are_an_error(campaign, tmp_path, capsys):
  flags = (f"--experiment={campaign / 'runs'}", f"--scores={tmp_path / 'scores'}")
  assert cli.main(["score", *flags, "--min_influence=1"]) == 0
  assert _export(tmp_path, "high_influence_pairs") is None
  assert "holds no influence pairs at ratio 0.7: run `heldout score` with lower" in (
    capsys.readouterr().err
  )


@pytest.mark.parametrize(
  ("num_train", "first", "message"),
  [
    (40, 0, "has 40 training and 11 test examples, the scores 37 and 11"),
    (NUM_TRAIN, 100, "training example 0 is of class "),
  ],
)
def test_the_data_set_must_be_the_one_that_was_scored(
  dense, tmp_path, num_train, first, message, capsys
):
  other = load_dataset(write_few_digits(tmp_path / "other.npz", num_train, first))
  assert _export(dense, "influence_matrix", f"--dataset={other.spec}") is None
  error = capsys.readouterr().err
  assert f"--scores={dense / 'scores'} with --dataset={other.spec}: " in error
  assert message in error
  assert "give the one that was scored" in error


def test_incomplete_scores_are_refused(tmp_path, capsys):
  write_stub(str(tmp_path / "scores"), "e", "job")
  assert _export(tmp_path, "cscores") is None
  assert "is incomplete: run `heldout score` again" in capsys.readouterr().err
