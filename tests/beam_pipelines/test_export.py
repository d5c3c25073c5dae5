import io
import shutil

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import zarr

from beam_pipelines import cli, export
from beam_pipelines.storage.scores.manifest import write_stub
from image_datasets import load_dataset
from tests.helpers.outcomes import (
  NUM_TEST,
  NUM_TRAIN,
  make_outcomes,
  write_experiment,
  write_few_digits,
)
from tests.helpers.scores import vouch_for


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
    (["--format=influence_matrix", "--dataset={data}"], "score again with dense influence"),
    (["--format=infl_mem"], "holds no dense influence at ratio 0.7"),
    (["--format=infl_mem", "--ratio=x"], "argument --ratio: invalid float value: 'x'"),
  ],
)
def test_what_cannot_be_exported_is_one_line(campaign, tmp_path, flags, message, capsys):
  output = tmp_path / "x.npz"
  flags = [flag.format(data=f"npz:{campaign}/digits.npz") for flag in flags]
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


def test_labels_of_cscores_may_come_from_the_data_set(tmp_path, capsys):
  dataset = load_dataset(write_few_digits(tmp_path / "digits.npz"))
  write_experiment(tmp_path / "runs", make_outcomes(0.5, range(4)))
  _score(tmp_path)
  assert _export(tmp_path, "cscores") is None
  assert "has no labels, which cscores needs: give the data set that was scored, --dataset" in (
    capsys.readouterr().err
  )
  arrays = _export(tmp_path, "cscores", f"--dataset={dataset.spec}")
  assert np.array_equal(arrays["labels"], dataset.train.labels)
  assert len(_export(tmp_path, "high_influence_pairs")["infl"])


@pytest.fixture(scope="module")
def reordered(dense):
  """The same digits in another order: spec, and the places of both sets in the one scored."""
  arrays = dict(np.load(dense / "digits.npz"))
  rng = np.random.default_rng(5)
  orders = rng.permutation(NUM_TRAIN), rng.permutation(NUM_TEST)
  for split, order in zip(("train", "test"), orders, strict=True):
    for name in (f"{split}__image", f"{split}__label"):
      arrays[name] = arrays[name][order]
  np.savez(dense / "reordered.npz", **arrays)
  return f"npz:{dense}/reordered.npz", *orders


def test_exports_come_in_the_order_of_another_data_set(dense, reordered, capsys):
  spec, train, test = reordered
  given = [f"--order={spec}"]
  expected, found = (_export(dense, "cscores", *flags) for flags in ([], given))
  assert np.array_equal(found["scores"], expected["scores"][train], equal_nan=True)
  assert np.array_equal(found["labels"], expected["labels"][train])
  expected, found = (_export(dense, "infl_mem", *flags) for flags in ([], given))
  assert np.array_equal(found["memorization"], expected["memorization"][train], equal_nan=True)
  assert np.array_equal(
    found["influence"], expected["influence"][np.ix_(test, train)], equal_nan=True
  )
  expected, found = (_export(dense, "high_influence_pairs", *flags) for flags in ([], given))
  assert {*zip(expected["tr_idx"], expected["tt_idx"], expected["infl"], strict=True)} == {
    *zip(train[found["tr_idx"]], test[found["tt_idx"]], found["infl"], strict=True)
  }
  labels = f"--dataset=npz:{dense}/digits.npz"
  expected, found = (_export(dense, "influence_matrix", labels, *flags) for flags in ([], given))
  for name in ("tr_labels", "tr_mem"):
    assert np.array_equal(found[name], expected[name][train], equal_nan=True)
  for label in range(10):
    old = {name: expected[f"{name}_classidx_{label}"] for name in ("tr", "tt")}
    new = {name: found[f"{name}_classidx_{label}"] for name in ("tr", "tt")}
    rows, columns = np.argsort(train[new["tr"]]), np.argsort(test[new["tt"]])
    assert np.array_equal(train[new["tr"]][rows], old["tr"])
    matrix = found[f"infl_matrix_class{label}"][np.ix_(rows, columns)]
    assert np.array_equal(matrix, expected[f"infl_matrix_class{label}"], equal_nan=True)


def test_the_other_order_must_have_the_same_images(dense, capsys):
  assert _export(dense, "cscores", "--order=digits") is None
  error = capsys.readouterr().err
  assert f"{dense}/scores cannot be put into the order of digits: 0 of 37 examples" in error


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
    (
      40,
      0,
      "holds scores of 37 training and 11 test examples, the data set {spec} has 40 training",
    ),
    (NUM_TRAIN, 100, "training example 0 is of class "),
  ],
)
def test_the_data_set_must_be_the_one_that_was_scored(
  dense, tmp_path, num_train, first, message, capsys
):
  other = load_dataset(write_few_digits(tmp_path / "other.npz", num_train, first))
  assert _export(dense, "influence_matrix", f"--dataset={other.spec}") is None
  error = capsys.readouterr().err
  assert error.startswith(f"heldout export: error: {dense / 'scores'}")
  assert message.format(spec=other.spec) in error
  assert error.endswith("give the data set that was scored\n")


def test_incomplete_scores_are_refused(tmp_path, capsys):
  write_stub(str(tmp_path / "scores"), "e", "job")
  assert _export(tmp_path, "cscores") is None
  assert "is incomplete: run `heldout score` again" in capsys.readouterr().err


def _edit_table(scores, name, edit):
  """Replaces a table by one part with other rows."""
  parts = sorted((scores / name).glob("*.parquet"))
  table = edit(pa.concat_tables([pq.read_table(part) for part in parts]))
  for part in parts:
    part.unlink()
  pq.write_table(table, parts[0])
  vouch_for(scores)


def _drop(table):
  return pa.concat_tables([table.slice(0, 3), table.slice(5)])


def _repeat(table):
  return pa.concat_tables([table, table.slice(7, 2)])


def _of_another_data_set(table):
  moved = pc.add(table["example"], pc.if_else(pc.equal(table["example"], 4), 100, 0))
  return table.set_column(table.column_names.index("example"), table.schema.field("example"), moved)


@pytest.mark.parametrize(
  ("edit", "message"),
  [
    (_drop, "2 missing (the first: 3)"),
    (_repeat, "2 there more than once (the first: 7)"),
    (_of_another_data_set, "1 missing (the first: 4), 1 of another data set (the first: 104)"),
  ],
)
@pytest.mark.parametrize(
  ("format_name", "table", "where"),
  [
    ("cscores", "cscores", "table cscores"),
    ("high_influence_pairs", "examples", "table examples at ratio 0.3"),
    ("infl_mem", "examples", "table examples at ratio 0.3"),
  ],
)
def test_tables_that_lack_repeat_or_add_examples_are_refused(
  dense, tmp_path, edit, message, format_name, table, where, capsys
):
  shutil.copytree(dense / "scores", tmp_path / "scores")

  def edit_by_example(rows):
    order = [
      (name, "ascending") for name in ("subset_ratio", "example") if name in rows.schema.names
    ]
    return edit(rows.sort_by(order))

  _edit_table(tmp_path / "scores", table, edit_by_example)
  flags = ["--ratio=0.3"] if format_name != "cscores" else []
  assert _export(tmp_path, format_name, *flags) is None
  error = capsys.readouterr().err
  assert error.startswith(
    f"heldout export: error: {tmp_path}/scores: {where} should have each of 37"
  )
  assert message in error
  assert error.endswith("; run `heldout score` again\n")
  assert error.count("\n") == 1
  assert not (tmp_path / "out").exists()


def test_the_order_of_rows_and_parts_does_not_matter(campaign, tmp_path):
  shutil.copytree(campaign / "scores", tmp_path / "scores")
  rng = np.random.default_rng(0)
  for table in ("cscores", "examples", "influence"):
    _edit_table(tmp_path / "scores", table, lambda rows: rows.take(rng.permutation(len(rows))))
  for format_name in ("cscores", "high_influence_pairs"):
    expected, found = _export(campaign, format_name), _export(tmp_path, format_name)
    assert all(np.array_equal(found[name], array) for name, array in expected.items())


def test_pairs_that_repeat_are_refused(campaign, tmp_path, capsys):
  shutil.copytree(campaign / "scores", tmp_path / "scores")
  _edit_table(
    tmp_path / "scores", "influence", lambda rows: pa.concat_tables([rows, rows.slice(0, 3)])
  )
  ratio = _query(campaign, "influence", "subset_ratio")["subset_ratio"][0]
  assert _export(tmp_path, "high_influence_pairs", f"--ratio={ratio}") is None
  assert "table influence at ratio" in (error := capsys.readouterr().err)
  assert "repeat another and 0 are of another data set" in error


@pytest.mark.parametrize("format_name", ["infl_mem", "influence_matrix"])
def test_a_chunk_of_dense_influence_that_was_lost_is_refused(dense, tmp_path, format_name, capsys):
  shutil.copytree(dense / "scores", tmp_path / "scores")
  (tmp_path / "scores" / "influence.zarr" / "ratio-0.7" / "c" / "0" / "0").unlink()
  vouch_for(tmp_path / "scores")
  assert _export(tmp_path, format_name, f"--dataset=npz:{dense}/digits.npz") is None
  error = capsys.readouterr().err
  assert "chunk ratio-0.7/c/0/0 is not among the files of the manifest" in error


def test_dense_influence_that_is_undefined_where_memorization_is_not_is_refused(
  dense, tmp_path, capsys
):
  shutil.copytree(dense / "scores", tmp_path / "scores")
  group = tmp_path / "scores" / "influence.zarr"
  matrix = zarr.open_array(group, path="ratio-0.7", mode="r+")
  matrix.with_config({"write_empty_chunks": True})[: matrix.chunks[0]] = np.nan
  vouch_for(tmp_path / "scores")
  assert _export(tmp_path, "infl_mem", f"--dataset=npz:{dense}/digits.npz") is None
  error = capsys.readouterr().err
  assert f"{tmp_path}/scores/influence.zarr/ratio-0.7 does not go with table examples" in error
  assert "where one is undefined: run `heldout score --dense` again" in error


@pytest.mark.parametrize("format_name", ["cscores", "high_influence_pairs"])
def test_standard_output_takes_the_archive(campaign, format_name, capsysbinary):
  expected = _export(campaign, format_name)
  capsysbinary.readouterr()
  flags = [f"--scores={campaign / 'scores'}", f"--format={format_name}", "--output=-"]
  assert cli.main(["export", *flags]) == 0
  captured = capsysbinary.readouterr()
  with np.load(io.BytesIO(captured.out), allow_pickle=False) as archive:
    assert all(np.array_equal(archive[name], array) for name, array in expected.items())
  assert captured.err.startswith(f"{format_name}: ".encode())
  assert captured.err.endswith(b", into standard output\n")


def test_no_device_is_written_over(campaign, capsys):
  flags = [f"--scores={campaign / 'scores'}", "--format=cscores", "--output=/dev/full"]
  assert cli.main(["export", *flags]) == 2
  error = capsys.readouterr().err
  assert error == "heldout export: error: /dev/full is a device: give the path of a file\n"


def test_an_export_is_of_one_publication(tmp_path, monkeypatch, capsys):
  """Between the two tables that it reads, the scores change."""
  write_experiment(tmp_path / "runs", make_outcomes(0.7, range(6)))
  _score(tmp_path, "--pairs=all")
  original = export.read_memorization

  def meanwhile(*arguments):
    _score(tmp_path, "--pairs=all", "--top_k=1")
    return original(*arguments)

  monkeypatch.setattr(export, "read_memorization", meanwhile)
  capsys.readouterr()
  assert _export(tmp_path, "high_influence_pairs") is None
  assert "other scores were published while these were read" in capsys.readouterr().err
  assert not (tmp_path / "out").exists()
