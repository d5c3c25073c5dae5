import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import duckdb
import numpy as np
import pytest

import files
from beam_pipelines import cli
from beam_pipelines.storage.runs.experiment import list_runs
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.runs.run_place import RunKey
from tests.helpers.gcs import BUCKET, emulated_gcs
from tests.helpers.layouts import (
  read_experiment,
  stack,
  stack_margins,
  write_datamodels,
  write_dattri,
  write_lira,
  write_lira_pytorch,
  write_released_datamodels,
  write_trak,
)
from tests.helpers.outcomes import (
  NUM_TRAIN,
  add_margins,
  make_outcomes,
  write_experiment,
  write_few_digits,
)

RUNS = 20


def _import(experiment, *flags):
  return cli.main(["import-outcomes", f"--experiment={experiment}", *map(str, flags)])


def _score(experiment, scores, *flags):
  return cli.main(["score", f"--experiment={experiment}", f"--scores={scores}", *flags])


def _rows(scores, table, columns="*"):
  return duckdb.sql(f"select {columns} from '{scores}/{table}/*.parquet' order by all").fetchall()


def _bits(outcomes):
  return [(each.key, each.in_subset, each.train_correct, each.test_correct) for each in outcomes]


def _pack(experiment):
  (manifest,) = experiment.glob("*/packed/*/manifest.json")
  return json.loads(manifest.read_text())


def _rounded(outcomes):
  """The outcomes with margins as float16 holds them."""
  return [
    dataclasses.replace(
      each,
      train_margin=each.margins.train.astype(np.float16).astype("<f4").tobytes(),
      test_margin=each.margins.test.astype(np.float16).astype("<f4").tobytes(),
    )
    for each in outcomes
  ]


@pytest.fixture
def outcomes():
  return add_margins(make_outcomes(0.5, range(RUNS)))


@pytest.fixture
def arrays(tmp_path, outcomes):
  """Paths of plain arrays by their flags."""
  values = dict(zip(("masks", "correct", "test_correct"), stack(outcomes), strict=True))
  values |= zip(("margins", "test_margins"), stack_margins(outcomes), strict=True)
  paths = {name: tmp_path / f"{name}.npy" for name in values}
  for name, path in paths.items():
    np.save(path, values[name])
  return paths


def _flags(paths, *names):
  return ["--from=arrays", *(f"--{name}={paths[name]}" for name in names)]


def test_arrays_score_as_run_directories_do(tmp_path, outcomes, arrays, capsys):
  flags = _flags(arrays, "masks", "correct", "test_correct")
  assert _import(tmp_path / "runs", *flags) == 0
  captured = capsys.readouterr()
  assert "importing 20 rows of arrays, 37 training examples and 11 test examples" in captured.out
  assert "at subset ratio 0.5 (the runs saw " in captured.out
  assert "imported 20 runs at subset ratio 0.5" in captured.out
  assert captured.err == ""
  write_experiment(tmp_path / "directories", outcomes)
  for name in ("runs", "directories"):
    assert _score(tmp_path / name, tmp_path / f"scores-{name}", "--correctness") == 0
  manifests = [
    json.loads((tmp_path / f"scores-{name}" / "manifest.json").read_text())
    for name in ("runs", "directories")
  ]
  assert manifests[0]["parts"] == manifests[1]["parts"]


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", ">i4", ">f8", "float16"])
def test_numbers_of_any_kind_that_are_0_and_1_are_bits(tmp_path, outcomes, arrays, dtype):
  names = ("masks", "correct", "test_correct")
  for name in names:
    np.save(arrays[name], np.load(arrays[name]).astype(dtype))
  assert _import(tmp_path / "runs", *_flags(arrays, *names)) == 0
  assert _bits(read_experiment(tmp_path / "runs")) == _bits(outcomes)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_hold_an_array_of_the_flag_s_name_or_only_one(tmp_path, outcomes, arrays, save):
  masks, correct, _ = stack(outcomes)
  save(tmp_path / "all.npz", masks=masks, correct=correct, other=np.arange(3))
  save(tmp_path / "one.npz", whatever=stack(outcomes)[2])
  flags = [f"--masks={tmp_path}/all.npz", f"--correct={tmp_path}/all.npz"]
  assert (
    _import(tmp_path / "runs", "--from=arrays", *flags, f"--test_correct={tmp_path}/one.npz") == 0
  )
  assert _bits(read_experiment(tmp_path / "runs")) == _bits(outcomes)


@pytest.mark.parametrize("kind", ["logsumexp", "max"])
def test_bits_follow_from_margins(tmp_path, outcomes, arrays, kind, capsys):
  flags = [*_flags(arrays, "masks", "margins", "test_margins"), f"--margin={kind}"]
  assert _import(tmp_path / "runs", *flags) == 0
  assert (
    "bits from the sign of the margin; a margin of 0 counts as wrong" in capsys.readouterr().out
  )
  assert read_experiment(tmp_path / "runs", with_margins=True) == outcomes
  pack = _pack(tmp_path / "runs")
  assert pack["origin"]["margin"] == kind
  assert pack["recorded"] == ["train_correct", "test_correct", "train_margin", "test_margin"]


def test_a_margin_of_zero_is_wrong_and_a_tiny_one_keeps_its_sign(tmp_path, outcomes, arrays):
  margins = np.full((RUNS, 11), 1.0)
  margins[:, 0], margins[:, 1], margins[:, 2], margins[:, 3] = 0.0, 1e-300, -1e-300, -0.0
  np.save(arrays["test_margins"], margins)
  flags = [*_flags(arrays, "masks", "test_margins"), "--margin=max"]
  assert _import(tmp_path / "runs", *flags) == 0
  for outcome in read_experiment(tmp_path / "runs", with_margins=True):
    assert outcome.unpack()[2][:4].tolist() == [False, True, False, False]
    assert (outcome.margins.test[1:3] * [1, -1] > 0).all()


def test_margins_of_one_side_alone_are_not_kept_beside_bits_of_the_other(
  tmp_path, outcomes, arrays
):
  flags = [*_flags(arrays, "masks", "correct", "test_margins"), "--margin=max"]
  assert _import(tmp_path / "runs", *flags) == 0
  assert _bits(read_experiment(tmp_path / "runs")) == _bits(outcomes)
  pack = _pack(tmp_path / "runs")
  assert pack["recorded"] == ["train_correct", "test_correct"]
  assert pack["missing"] == {
    "train_margin": "not of all outcomes",
    "test_margin": "not of all outcomes",
  }


@pytest.mark.parametrize(
  "flags", [[], ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]]
)
def test_parts_of_many_rows(tmp_path, outcomes, arrays, monkeypatch, flags):
  monkeypatch.setattr("beam_pipelines.storage.runs.packed_part._PART_BYTES", 400)
  monkeypatch.setattr("beam_pipelines.transforms.import_outcomes._READ_BYTES", 50)
  names = ("masks", "correct", "test_correct")
  assert _import(tmp_path / "runs", *_flags(arrays, *names), *flags) == 0
  assert len(list_runs(str(tmp_path / "runs")).packed) > 3
  assert _bits(read_experiment(tmp_path / "runs")) == _bits(outcomes)


def _labels(outcomes):
  return np.random.default_rng(1).integers(0, 10, outcomes[0].num_train)


def test_a_lira_directory_imports_and_scores(tmp_path, outcomes, capsys):
  labels = _labels(outcomes)
  logits = write_lira(tmp_path / "exp", outcomes, labels)
  assert _import(tmp_path / "runs", "--from=lira", f"--source={tmp_path}/exp") == 0
  out = capsys.readouterr().out
  assert "no test outcomes, with margins by logsumexp; bits largest logit" in out
  read = read_experiment(tmp_path / "runs", with_margins=True)
  masks, correct, _ = stack(outcomes)
  np.testing.assert_array_equal(stack(read)[0], masks)
  np.testing.assert_array_equal(stack(read)[1], correct)
  mean = logits.mean(axis=2)
  rows = np.arange(len(labels))
  of_label = mean[:, rows, labels].copy()
  mean[:, rows, labels] = -np.inf
  expected = of_label - np.logaddexp.reduce(mean, axis=2)
  np.testing.assert_allclose(stack_margins(read)[0], expected, rtol=1e-6)
  spec = write_few_digits(tmp_path / "digits.npz")
  assert _score(tmp_path / "runs", tmp_path / "scores", f"--dataset={spec}") == 0
  memorization = [row[0] for row in _rows(tmp_path / "scores", "examples", "memorization, example")]
  in_ = (correct & masks).sum(axis=0) / masks.sum(axis=0)
  out_ = (correct & ~masks).sum(axis=0) / (~masks).sum(axis=0)
  np.testing.assert_allclose(sorted(memorization), sorted(in_ - out_))
  assert _rows(tmp_path / "scores", "influence") == []
  assert "no outcomes on test examples are recorded" in capsys.readouterr().err


def test_models_of_lira_are_rows_by_their_number_and_unfinished_ones_are_left_out(
  tmp_path, outcomes, capsys
):
  write_lira(tmp_path / "exp", outcomes, _labels(outcomes), logits=False)
  for kind in (tmp_path / "exp" / "experiment-3_20" / "scores").iterdir():
    kind.unlink()
  assert _import(tmp_path / "runs", "--from=lira", f"--source={tmp_path}/exp") == 0
  out = capsys.readouterr().out
  assert "bits from the sign of the score, averaged over augmentations; a margin of 0" in out
  assert "left out 1 rows:\n  row 3 experiment-3_20 has no scores: it was not trained" in out
  read = read_experiment(tmp_path / "runs")
  assert [each.key.run for each in read] == [run for run in range(RUNS) if run != 3]
  assert [each.in_subset for each in read] == [
    each.in_subset for each in outcomes if each.key.run != 3
  ]
  assert [each.train_correct for each in read] == [
    each.train_correct for each in outcomes if each.key.run != 3
  ]


def test_models_may_lie_deeper_than_the_source_with_their_labels(tmp_path, outcomes):
  write_lira(tmp_path / "exp" / "cifar10", outcomes, _labels(outcomes), scores=False)
  assert _import(tmp_path / "runs", "--from=lira", f"--source={tmp_path}/exp") == 0
  read = read_experiment(tmp_path / "runs")
  assert [each.train_correct for each in read] == [each.train_correct for each in outcomes]


@pytest.mark.parametrize("with_labels", [False, True])
def test_lira_pytorch(tmp_path, outcomes, with_labels):
  labels = _labels(outcomes)
  write_lira_pytorch(tmp_path / "exp", outcomes, labels)
  np.save(tmp_path / "labels.npy", labels)
  flags = [f"--labels={tmp_path}/labels.npy"] if with_labels else []
  assert _import(tmp_path / "runs", "--from=lira", f"--source={tmp_path}/exp", *flags) == 0
  read = read_experiment(tmp_path / "runs")
  assert [each.train_correct for each in read] == [each.train_correct for each in outcomes]


def test_a_datamodels_store_imports_and_scores(tmp_path, outcomes, capsys):
  completed = np.ones(RUNS, bool)
  completed[[4, 7]] = False
  write_datamodels(tmp_path / "store", outcomes, completed=completed)
  assert _import(tmp_path / "runs", "--from=datamodels", f"--source={tmp_path}/store") == 0
  out = capsys.readouterr().out
  assert "training examples (without outcomes) and 11 test examples, with margins by max" in out
  assert "left out 2 rows:\n  row 4 is not completed\n  row 7 is not completed" in out
  left = [each for run, each in enumerate(outcomes) if completed[run]]
  expected = [
    dataclasses.replace(each, train_correct=b"", train_margin=b"") for each in _rounded(left)
  ]
  assert read_experiment(tmp_path / "runs", with_margins=True) == expected
  pack = _pack(tmp_path / "runs")
  assert pack["missing"] == {"train_correct": "datamodels has none"}
  assert pack["rows"] == {"imported": 18, "there": 0, "left_out": 2}
  write_experiment(tmp_path / "full", left)
  flags = ["--min_influence=0.1", "--min_memorization=-1", "--dense"]
  assert _score(tmp_path / "runs", tmp_path / "scores", *flags) == 0
  assert _score(tmp_path / "full", tmp_path / "expected", *flags) == 0
  columns = "* exclude (memorization)"
  assert _rows(tmp_path / "scores", "influence", columns) == _rows(
    tmp_path / "expected", "influence", columns
  )
  assert _rows(tmp_path / "scores", "influence") != []


def test_released_datamodels_name_their_ratio(tmp_path, outcomes, capsys):
  write_released_datamodels(tmp_path / "store", outcomes, "50")
  source = ["--from=datamodels", f"--source={tmp_path}/store"]
  assert _import(tmp_path / "runs", *source) == 0
  assert "at subset ratio 0.5 (by the files' names)" in capsys.readouterr().out
  assert read_experiment(tmp_path / "runs", with_margins=True) == _rounded(outcomes)
  write_released_datamodels(tmp_path / "store", make_and_margin(0.2), "20")
  assert _import(tmp_path / "more", *source) == 2
  assert "holds subset ratios 0.2, 0.5: choose one of them" in capsys.readouterr().err
  assert _import(tmp_path / "more", *source, "--subset_ratio=0.2") == 0
  assert {each.key.subset_ratio for each in read_experiment(tmp_path / "more")} == {0.2}


def make_and_margin(subset_ratio):
  return add_margins(make_outcomes(subset_ratio, range(RUNS)))


def test_trak(tmp_path, outcomes):
  write_trak(tmp_path / "trak", outcomes)
  assert _import(tmp_path / "runs", "--from=trak", f"--source={tmp_path}/trak") == 0
  expected = [dataclasses.replace(each, train_correct=b"", train_margin=b"") for each in outcomes]
  assert read_experiment(tmp_path / "runs", with_margins=True) == expected
  assert _pack(tmp_path / "runs")["origin"]["margin"] == "logsumexp"


def _of_equal_size(outcomes):
  """The outcomes, but for subsets of 18 of 37 examples."""
  rng = np.random.default_rng(2)
  changed = []
  for outcome in outcomes:
    _, *bits = outcome.unpack()
    in_subset = np.zeros(NUM_TRAIN, bool)
    in_subset[rng.permutation(NUM_TRAIN)[:18]] = True
    changed.append(RunOutcome.pack(outcome.key, in_subset, *bits, outcome.margins))
  return changed


def test_dattri_stores_minus_the_loss(tmp_path, outcomes):
  outcomes = _of_equal_size(outcomes)
  write_dattri(tmp_path / "dattri", outcomes)
  source = ["--from=dattri", f"--source={tmp_path}/dattri", f"--num_train={NUM_TRAIN}"]
  assert _import(tmp_path / "runs", *source) == 0
  read = read_experiment(tmp_path / "runs", with_margins=True)
  assert [each.in_subset for each in read] == [each.in_subset for each in outcomes]
  assert [each.test_correct for each in read] == [each.test_correct for each in outcomes]
  np.testing.assert_allclose(stack_margins(read)[1], stack_margins(outcomes)[1], rtol=1e-4)


@pytest.mark.parametrize("separator", ["\n", ", "])
def test_indices_may_be_dattri_s_text_files(tmp_path, outcomes, separator, capsys):
  outcomes = _of_equal_size(outcomes)
  write_dattri(tmp_path / "dattri", outcomes)
  indices = np.load(tmp_path / "dattri" / "indices.npy")
  (tmp_path / "dattri" / "indices.npy").unlink()
  (tmp_path / "dattri" / "metadata.yml").write_text("{}")  # which may cover some of them alone
  for row, index in enumerate(indices):
    path = tmp_path / "dattri" / str(row) / "indices.txt"
    path.parent.mkdir()
    path.write_text(separator.join(map(str, index)) + "\n")
  source = ["--from=dattri", f"--source={tmp_path}/dattri", f"--num_train={NUM_TRAIN}"]
  assert _import(tmp_path / "runs", *source) == 0
  read = read_experiment(tmp_path / "runs")
  assert [each.in_subset for each in read] == [each.in_subset for each in outcomes]
  path.write_text("1 2 3")
  assert _import(tmp_path / "runs", *source) == 2
  assert "has subsets of 3 to 18 examples: dattri needs one size" in capsys.readouterr().err
  path.write_text("one")
  assert _import(tmp_path / "runs", *source) == 2
  assert "19/indices.txt holds something else than indices" in capsys.readouterr().err


def test_the_sign_of_dattri_s_targets_is_checked(tmp_path, outcomes, capsys):
  write_dattri(tmp_path / "dattri", _of_equal_size(outcomes))
  path = tmp_path / "dattri" / "target_values.npy"
  np.save(path, -np.load(path))
  source = ["--from=dattri", f"--source={tmp_path}/dattri", f"--num_train={NUM_TRAIN}"]
  assert _import(tmp_path / "runs", *source) == 2
  assert (
    "none of 20 rows is a run; the first: row 0 has target values of the other sign: a "
    "log-probability is at most 0" in capsys.readouterr().err
  )
  assert not list((tmp_path / "runs").rglob("*.parquet"))
  assert _import(tmp_path / "runs", *source, "--target=loss") == 0
  np.save(path, stack_margins(outcomes)[1])
  assert _import(tmp_path / "margins", *source, "--target=margin") == 0
  read = read_experiment(tmp_path / "margins", with_margins=True)
  np.testing.assert_array_equal(stack_margins(read)[1], stack_margins(outcomes)[1])


def test_what_is_there_is_not_imported_again(tmp_path, outcomes, arrays, capsys):
  flags = _flags(arrays, "masks", "correct", "test_correct")
  assert _import(tmp_path / "runs", *flags) == 0
  capsys.readouterr()
  assert _import(tmp_path / "runs", *flags) == 0
  assert capsys.readouterr().out.endswith("\n20 runs were there already\n")
  assert _bits(read_experiment(tmp_path / "runs")) == _bits(outcomes)


def test_appending_goes_on_from_the_last_run(tmp_path, outcomes, arrays):
  flags = _flags(arrays, "masks", "correct", "test_correct")
  write_experiment(tmp_path / "runs", make_outcomes(0.5, [6], seed=1))
  assert _import(tmp_path / "runs", *flags, "--rows=0:5") == 0
  assert _import(tmp_path / "runs", *flags) == 0
  runs = [each.key.run for each in read_experiment(tmp_path / "runs")]
  assert runs == [*range(7, 12), *range(17, 32)]
  rows = [*range(5), *range(5, RUNS)]
  read = read_experiment(tmp_path / "runs")
  assert [each.in_subset for each in read] == [outcomes[row].in_subset for row in rows]


def test_a_store_that_has_grown_keeps_its_run_ids(tmp_path, outcomes, arrays, capsys):
  flags = [*_flags(arrays, "masks", "correct", "test_correct"), "--first_run=0"]
  assert _import(tmp_path / "runs", *flags, "--rows=0:5") == 0
  assert _import(tmp_path / "runs", *flags) == 0
  assert "imported 15 runs" in capsys.readouterr().out
  assert _bits(read_experiment(tmp_path / "runs")) == _bits(outcomes)


def test_run_ids_that_are_taken_are_refused(tmp_path, outcomes, arrays, capsys):
  flags = _flags(arrays, "masks", "correct", "test_correct")
  write_experiment(tmp_path / "runs", make_outcomes(0.5, [6], seed=1))
  assert _import(tmp_path / "runs", *flags, "--first_run=0") == 2
  assert (
    f"{tmp_path}/runs: 1 of the runs are there already with other outcomes, the first 0.5/6: "
    "choose other run ids" in capsys.readouterr().err
  )
  assert list_runs(str(tmp_path / "runs")).keys == [RunKey(0.5, 6)]
  assert not list((tmp_path / "runs").rglob("*packed/*"))


def test_the_ratio_is_said_or_the_share_to_one_decimal(tmp_path, arrays, capsys):
  flags = _flags(arrays, "masks", "correct")
  assert _import(tmp_path / "runs", *flags, "--subset_ratio=0.42") == 0
  captured = capsys.readouterr()
  assert "at subset ratio 0.42 (as asked for)" in captured.out
  assert "warning: the runs saw 5" in captured.err
  assert "are kept as of subset ratio 0.42" in captured.err
  np.save(arrays["masks"], np.eye(RUNS, NUM_TRAIN, dtype=bool))
  assert _import(tmp_path / "runs", *flags) == 2
  assert "the runs saw 2.70% of the training set, to one decimal 0" in capsys.readouterr().err


def test_rows_that_saw_another_share_than_those_looked_at_first(
  tmp_path, outcomes, arrays, monkeypatch, capsys
):
  monkeypatch.setattr("beam_pipelines.import_outcomes._ROWS_LOOKED_AT", 1)
  masks = np.load(arrays["masks"])
  masks[1:] = np.random.default_rng(0).random((RUNS - 1, NUM_TRAIN)) < 0.9
  np.save(arrays["masks"], masks)
  assert _import(tmp_path / "runs", *_flags(arrays, "masks", "correct")) == 2
  assert "which is not the 0.6 of those that were looked at first" in capsys.readouterr().err
  assert not list((tmp_path / "runs").rglob("*.parquet"))


@pytest.mark.parametrize("change", ["masks", "margins"])
def test_signs_that_cannot_be_right_are_a_warning(tmp_path, outcomes, arrays, change, capsys):
  values = np.load(arrays[change])
  np.save(arrays[change], ~values if change == "masks" else -values)
  flags = [*_flags(arrays, "masks", "margins"), "--margin=max"]
  rng = np.random.default_rng(0)
  masks, *_ = stack(outcomes)
  margins = np.where(masks, 1, rng.choice([-1.0, 1.0], masks.shape))
  np.save(arrays["margins"], margins * (-1 if change == "margins" else 1))
  assert _import(tmp_path / "runs", *flags) == 0
  assert "masks may be inverted, margins of the other sign" in capsys.readouterr().err


BAD_ROWS = {
  "mask": ("masks", lambda row: row.astype(int) * 2, "its mask holds values other than 0 and 1"),
  "all": ("masks", lambda row: np.ones_like(row), "its mask has all of the training examples"),
  "none": ("masks", lambda row: np.zeros_like(row), "its mask has none of the training examples"),
  "correct": ("correct", lambda row: row * 0.5, "its correctness on training examples holds value"),
  "test": ("test_correct", lambda row: row - 1.0, "its correctness on test examples holds values"),
  "nan": ("margins", lambda row: row * np.nan, "its margins of training examples are not all fini"),
  "inf": ("test_margins", lambda row: row * np.inf, "its margins of test examples are not all fin"),
  "sign": ("margins", lambda row: -row, "its margins contradict its correctness on "),
}


@pytest.mark.parametrize("bad", BAD_ROWS)
def test_a_bad_row_is_left_out_with_its_reason(tmp_path, outcomes, arrays, bad, capsys):
  name, change, reason = BAD_ROWS[bad]
  values = np.load(arrays[name])
  values = values.astype(np.float64) if values.dtype == bool else values
  values[3] = change(values[3])
  np.save(arrays[name], values)
  flags = [*_flags(arrays, *arrays), "--margin=max"]
  assert _import(tmp_path / "runs", *flags) == 0
  assert f"left out 1 rows:\n  row 3 {reason}" in capsys.readouterr().out
  assert _bits(read_experiment(tmp_path / "runs")) == _bits(outcomes[:3] + outcomes[4:])


def _resave(name, change):
  return lambda paths: np.save(paths[name], change(np.load(paths[name])))


def _write_objects(paths):
  np.save(paths["masks"], np.array([[1, None]], object), allow_pickle=True)


def _write_header(shape, descr="|b1"):
  def write(paths):
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    magic = np.lib.format.magic(1, 0)
    paths["masks"].write_bytes(magic + len(header).to_bytes(2, "little") + header)

  return write


def _make_fifo(paths):
  paths["masks"].unlink()
  os.mkfifo(paths["masks"])


def _write_bomb(paths):
  paths["masks"].unlink()
  archive = paths["masks"].with_suffix(".npz")
  np.savez_compressed(archive, masks=np.zeros((40_000, 20_000), bool))
  paths["masks"] = archive


def _write_archive(content):
  def write(paths):
    paths["masks"] = paths["masks"].with_suffix(".npz")
    if callable(content):
      content(paths["masks"])
    else:
      paths["masks"].write_bytes(content)

  return write


def _rename_to_torch(paths):
  paths["masks"] = paths["masks"].rename(paths["masks"].with_suffix(".pt"))


BROKEN = {
  "objects": (_write_objects, "masks.npy is of Python objects"),
  "records": (_write_header("(3, 4)", "|V3"), "masks.npy is of raw or structured records"),
  "huge": (_write_header((2**40, 2**20)), "according to its header, bool of shape"),
  "beyond": (_write_header((2**70,)), "which NumPy cannot hold"),
  "no header": (lambda paths: paths["masks"].write_bytes(b"no array"), "is no array in NumPy's"),
  "cut": (
    lambda paths: paths["masks"].write_bytes(paths["masks"].read_bytes()[:-1]),
    "it was cut short, or is still being written",
  ),
  "fifo": (_make_fifo, "masks.npy: is a pipe, not a file"),
  "missing": (lambda paths: paths["masks"].unlink(), "masks.npy: there is no such file or bucket"),
  "bomb": (_write_bomb, "where all arrays together may have"),
  "no archive": (_write_archive(b"PK"), "cannot be read as npz"),
  "nothing of that name": (
    _write_archive(lambda path: np.savez(path, a=1, b=2)),
    "masks.npz holds a, b: the array must be called masks, or be the only one",
  ),
  "a number in an archive": (
    _write_archive(lambda path: np.savez(path, masks=1)),
    "masks.npz holds a single number",
  ),
  "torch": (_rename_to_torch, "masks.pt is PyTorch's, which is not installed"),
  "a number": (_resave("masks", lambda array: array[0, 0]), "masks.npy is a single number"),
  "Fortran": (_resave("masks", np.asfortranarray), "masks.npy is in Fortran order"),
  "one dimension": (_resave("masks", lambda array: array[0]), "masks.npy has 1 dimensions"),
  "no runs": (_resave("masks", lambda array: array[:0]), "masks.npy holds no runs"),
  "fewer runs": (_resave("correct", lambda array: array[1:]), "correct.npy has 19 rows and "),
  "transposed": (
    _resave("correct", lambda array: np.ascontiguousarray(array.T)),
    "20: it is transposed; each",
  ),
  "fewer examples": (
    _resave("correct", lambda array: array[:, 1:]),
    "correct.npy is of 36 examples and ",
  ),
  "other tests": (
    _resave("test_margins", lambda array: array[:, 1:]),
    "test_margins.npy is of 10 examples and ",
  ),
  "bits for margins": (
    _resave("margins", lambda array: array > 0),
    "margins.npy is bool: margins are floats",
  ),
  "square": (
    _resave("masks", lambda array: array[:, :RUNS]),
    "masks.npy is 20 × 20, and square matrices do not tell runs from examples",
  ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_arrays_are_one_line(tmp_path, arrays, broken, capsys):
  damage, reason = BROKEN[broken]
  damage(arrays)
  flags = [*_flags(arrays, *arrays), "--margin=max", "--subset_ratio=0.5"]
  assert _import(tmp_path / "runs", *flags) == 2
  error = capsys.readouterr().err
  assert error.startswith("heldout import-outcomes: error: ")
  assert error.count("\n") == 1
  assert reason in error
  assert not (tmp_path / "runs").exists()


def test_square_masks_need_a_word(tmp_path, outcomes, arrays):
  masks, correct, _ = stack(outcomes)
  np.save(arrays["masks"], masks[:, :RUNS])
  np.save(arrays["correct"], correct[:, :RUNS])
  assert _import(tmp_path / "runs", *_flags(arrays, "masks", "correct"), "--runs_first") == 0
  np.testing.assert_array_equal(stack(read_experiment(tmp_path / "runs"))[0], masks[:, :RUNS])
  (manifest,) = (tmp_path / "runs").glob("*/packed/*/manifest.json")
  assert json.loads(manifest.read_text())["origin"]["rows"] == "runs, as was said"


WRONG_FLAGS = [
  (["--from=arrays"], "--from=arrays needs --masks"),
  (["--from=arrays", "--masks={masks}"], "--from=arrays needs outcomes: one of --correct"),
  (["--from=arrays", "--masks={masks}", "--margins={margins}"], "--margin=logsumexp or --margin=m"),
  (["--from=arrays", "--source=x"], "--from=arrays names each file by its flag, not a --source"),
  (["--from=trak"], "--from=trak needs --source"),
  (["--from=trak", "--source=x", "--masks={masks}"], "--masks needs --from=arrays"),
  (["--from=trak", "--source=x", "--labels=y.npy"], "--labels needs --from=lira"),
  (["--from=trak", "--source=x", "--num_train=3"], "--num_train needs --from=dattri"),
  (["--from=trak", "--source=x", "--target=loss"], "--target needs --from=dattri"),
  (["--from=lira", "--source=x", "--margin=max"], "--margin: scores of LiRA are by logsumexp"),
  (["--from=dattri", "--source=x"], "--from=dattri needs --num_train"),
  (["--from=dattri", "--source=x", "--num_train=0"], "--num_train=0: there is at least one"),
  (["--from=trak", "--source={root}/none"], "none holds no mask.npy: there is nothing"),
  (["--from=lira", "--source={root}/none"], "holds no keep.npy: it is no directory of LiRA's"),
  (["--from=datamodels", "--source={root}/none"], "none holds no masks.npy: there is nothing"),
  (
    ["--from=dattri", "--num_train=37", "--source={root}/none"],
    "none holds no indices.npy: there is nothing",
  ),
  (
    [*("--from=arrays", "--masks={masks}", "--correct={correct}", "--rows=0:21")],
    "there are 20 ro",
  ),
  (
    [*("--from=arrays", "--masks={masks}", "--correct={correct}", "--first_run=-1")],
    "--first_run=-1: run ids lie in 0…",
  ),
  (
    [*("--from=arrays", "--masks={masks}", "--correct={correct}", "--subset_ratio=1")],
    "is no subset ratio",
  ),
  (
    [*("--from=arrays", "--masks={masks}", "--correct={correct}", "--template_location=gs://b/t")],
    "reads its job's result, so it must run",
  ),
]


@pytest.mark.parametrize(("flags", "reason"), WRONG_FLAGS)
def test_flags_that_do_not_go_together(tmp_path, arrays, flags, reason, capsys):
  given = [flag.format(root=tmp_path, **arrays) for flag in flags]
  assert _import(tmp_path / "runs", *given) == 2
  error = capsys.readouterr().err
  assert reason in error
  assert error.count("\n") == 1


BROKEN_LIRA = {
  "no outcomes": (["scores", "logits"], {}, "holds no logits, and no scores"),
  "no labels": (["y_train", "scores"], {}, "holds logits without labels, and no scores"),
  "few labels": ([], {"y_train.npy": np.zeros(3, int)}, "has 3 labels and "),
  "float labels": ([], {"y_train.npy": np.zeros(NUM_TRAIN)}, "y_train.npy holds no labels"),
  "keep of two": (
    [],
    {"experiment-0_20/keep.npy": np.ones((2, 3), bool)},
    "keep.npy has shape (2, 3): keep is (n,",
  ),
}


@pytest.mark.parametrize("broken", BROKEN_LIRA)
def test_broken_directories_of_lira_are_one_line(tmp_path, outcomes, broken, capsys):
  deleted, changed, reason = BROKEN_LIRA[broken]
  write_lira(tmp_path / "exp", outcomes, _labels(outcomes))
  for path in list((tmp_path / "exp").rglob("*.npy")):
    if any(name in str(path.relative_to(tmp_path)) for name in deleted):
      path.unlink()
  for name, values in changed.items():
    np.save(tmp_path / "exp" / name, values)
  assert _import(tmp_path / "runs", "--from=lira", f"--source={tmp_path}/exp") == 2
  error = capsys.readouterr().err
  assert reason in error
  assert error.count("\n") == 1


LIRA_ROWS = {
  "keep.npy": [
    (np.ones(3, bool), "keep.npy has shape (3,), the first has (37,)"),
    (np.full(NUM_TRAIN, 0.5), "keep.npy holds values other than 0 and 1"),
    (np.ones(NUM_TRAIN, object), "keep.npy is of Python objects"),
  ],
  "logits/0000000100.npy": [
    (np.zeros(NUM_TRAIN), "has shape (37,): logits are (n, 1, augmentations, classes)"),
    (np.zeros((NUM_TRAIN, 1, 1, 3)), "is of 3 classes: there are labels beyond"),
    (np.full((NUM_TRAIN, 1, 1, 10), np.nan), "its margins of training examples are not all finite"),
  ],
}


@pytest.mark.parametrize(
  ("name", "values", "reason"),
  [(name, *case) for name, cases in LIRA_ROWS.items() for case in cases],
)
def test_broken_models_of_lira_are_left_out(tmp_path, outcomes, name, values, reason, capsys):
  write_lira(tmp_path / "exp", outcomes, _labels(outcomes))
  np.save(tmp_path / "exp" / "experiment-5_20" / name, values, allow_pickle=True)
  assert _import(tmp_path / "runs", "--from=lira", f"--source={tmp_path}/exp") == 0
  out = capsys.readouterr().out
  assert "left out 1 rows:\n  row 5 " in out
  assert reason in out


def test_indices_of_dattri_are_checked(tmp_path, outcomes, capsys):
  write_dattri(tmp_path / "dattri", _of_equal_size(outcomes))
  path = tmp_path / "dattri" / "indices.npy"
  indices = np.load(path)
  indices[2, 0], indices[3, 0] = NUM_TRAIN, indices[3, 1]
  np.save(path, indices)
  source = ["--from=dattri", f"--source={tmp_path}/dattri", f"--num_train={NUM_TRAIN}"]
  assert _import(tmp_path / "runs", *source) == 0
  out = capsys.readouterr().out
  assert "  row 2 has indices that are not in 0…36\n  row 3 has an index twice\n" in out
  np.save(path, indices.astype(float))
  assert _import(tmp_path / "runs", *source) == 2
  assert "indices.npy is float64: indices of examples are integers" in capsys.readouterr().err


def test_completed_must_be_of_all_runs(tmp_path, outcomes, capsys):
  write_datamodels(tmp_path / "store", outcomes)
  np.save(tmp_path / "store" / "_completed.npy", np.ones(3, bool))
  assert _import(tmp_path / "runs", "--from=datamodels", f"--source={tmp_path}/store") == 2
  assert "_completed.npy is of 3 runs and " in capsys.readouterr().err


def test_runs_of_another_data_set_are_refused(tmp_path, arrays, capsys):
  flags = _flags(arrays, "masks", "correct", "test_correct")
  write_experiment(tmp_path / "directories", make_outcomes(0.5, [0], num_train=40))
  assert _import(tmp_path / "packs", *flags) == 0
  for name in ("masks", "correct"):
    np.save(arrays[name], np.load(arrays[name])[:, 1:])
  for name in ("directories", "packs"):
    assert _import(tmp_path / name, *flags) == 2
    assert "these are of 36 and 11: choose another directory" in capsys.readouterr().err


def test_a_dry_run_writes_nothing(tmp_path, arrays, capsys):
  flags = _flags(arrays, "masks", "correct", "test_correct")
  assert _import(tmp_path / "runs", *flags, "--dry_run") == 0
  assert capsys.readouterr().out.startswith("would import 20 rows of arrays")
  assert not (tmp_path / "runs").exists()


def test_a_killed_import_leaves_nothing_that_is_believed_and_the_next_cleans_up(tmp_path):
  rng = np.random.default_rng(0)
  np.save(tmp_path / "masks.npy", rng.random((40_000, 4096)) < 0.5)
  command = [sys.executable, "-m", "beam_pipelines.cli", "import-outcomes", "--from=arrays"]
  command += [f"--experiment={tmp_path}/runs", f"--masks={tmp_path}/masks.npy"]
  command += [f"--correct={tmp_path}/masks.npy"]
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
  while not list((tmp_path / "runs").rglob("*.parquet")):
    assert process.poll() is None
    time.sleep(0.005)
  process.send_signal(signal.SIGKILL)
  process.wait()
  listing = list_runs(str(tmp_path / "runs"))
  assert listing.keys == []
  assert [skipped.reason for skipped in listing.skipped] == [
    "has no manifest.json: an import was stopped; import again, and delete this"
  ]
  np.save(tmp_path / "masks.npy", rng.random((20, 4096)) < 0.5)
  assert cli.main(command[3:]) == 0
  listing = list_runs(str(tmp_path / "runs"))
  assert len(listing.keys) == 20
  assert listing.skipped == ()
  assert len(list((tmp_path / "runs" / "0.5" / "packed").iterdir())) == 1


def test_rows_that_are_not_completed_do_not_count_into_the_share(tmp_path, outcomes, capsys):
  completed = np.arange(RUNS) % 2 == 0
  write_datamodels(tmp_path / "store", outcomes, completed=completed)
  masks = np.load(tmp_path / "store" / "masks.npy")
  masks[~completed] = False  # as memmaps begin
  np.save(tmp_path / "store" / "masks.npy", masks)
  assert _import(tmp_path / "runs", "--from=datamodels", f"--source={tmp_path}/store") == 0
  assert "imported 10 runs at subset ratio 0.5" in capsys.readouterr().out


def test_all_of_it_may_lie_in_a_bucket(outcomes, arrays):
  with pytest.MonkeyPatch.context() as patch, emulated_gcs(patch):
    paths = {name: f"gs://{BUCKET}/arrays/{path.name}" for name, path in arrays.items()}
    for name, path in paths.items():
      files.write_bytes(path, arrays[name].read_bytes())
    experiment = f"gs://{BUCKET}/runs"
    flags = _flags(paths, "masks", "correct", "test_correct")
    for _ in range(2):
      assert _import(experiment, *flags) == 0
      assert _bits(read_experiment(experiment)) == _bits(outcomes)
    names = [info.name for info in files.list_files(experiment, unfinished=True)]
    assert [name.rpartition("/")[2] for name in names] == [
      "manifest.json",
      "runs-from-000000.parquet",
    ]
    trak = f"gs://{BUCKET}/trak"
    export = ["export", f"--experiment={experiment}", "--format=trak", f"--output={trak}"]
    assert cli.main(export) == 0
    assert _import(f"{experiment}-back", "--from=trak", f"--source={trak}") == 0
    assert _bits(read_experiment(f"{experiment}-back")) == _bits(outcomes)
