import json
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr

import files
import image_datasets
from beam_pipelines import cli
from tests.helpers.cases import write_broken_runs
from tests.helpers.outcomes import (
  NUM_TEST,
  NUM_TRAIN,
  make_outcomes,
  write_experiment,
  write_few_digits,
)


def _score(experiment, scores, *flags):
  return cli.main(["score", f"--experiment={experiment}", f"--scores={scores}", *flags])


def _tables(scores):
  """All tables as lists of rows, as a consumer would read them, in a canonical order."""
  tables = {}
  for directory in sorted({path.parent for path in scores.glob("*/*.parquet")}):
    query = f"select * from '{directory}/*.parquet'"
    tables[directory.name] = sorted(duckdb.sql(query).fetchall(), key=repr)
  return tables


def _lasting(manifest):
  """What of a manifest two commands of the same kind have in common."""
  return {**manifest, "created": "", "job": ""}


def _manifest(scores):
  return json.loads((scores / "manifest.json").read_text())


@pytest.fixture
def outcomes():
  return make_outcomes(0.3, range(12)) + make_outcomes(0.7, range(70))


@pytest.fixture
def experiment(tmp_path, outcomes):
  write_experiment(tmp_path / "runs", outcomes)
  return tmp_path / "runs"


@pytest.fixture
def scores(tmp_path):
  return tmp_path / "scores"


@pytest.fixture
def dataset(tmp_path):
  return write_few_digits(tmp_path / "few-digits.npz")


def test_writes_tables_and_manifest(experiment, scores, dataset, outcomes, capsys):
  assert _score(experiment, scores, f"--dataset={dataset}", "--min_influence=0") == 0
  tables = _tables(scores)
  assert set(tables) == {
    *("examples", "cscores", "influence", "train_influence", "test_influence"),
    *("index", "runs", "outcomes", "skipped"),
  }
  assert len(tables["examples"]) == 2 * NUM_TRAIN
  assert len(tables["cscores"]) == NUM_TRAIN
  assert len(tables["runs"]) == len(outcomes)
  assert tables["influence"]
  manifest = _manifest(scores)
  assert manifest["complete"] is True
  assert manifest["experiment"] == str(experiment)
  assert (manifest["runs_used"], manifest["runs_skipped"]) == (82, 0)
  assert manifest["rows"] == {name: len(rows) for name, rows in tables.items()}
  assert manifest["options"]["pairs"] == "same_class"
  assert manifest["options"]["min_influence"] == 0
  assert [ratio["subset_ratio"] for ratio in manifest["ratios"]] == [0.3, 0.7]
  assert [ratio["runs"] for ratio in manifest["ratios"]] == [12, 70]
  out = capsys.readouterr().out
  assert out.startswith("scored 82 runs at subset ratios 0.3, 0.7: ")


def test_every_pair_is_of_one_class_unless_all_are_asked_for(experiment, scores, dataset):
  flags = (f"--dataset={dataset}", "--min_influence=-1", "--min_memorization=-1")
  _score(experiment, scores, *flags)
  pairs = duckdb.read_parquet(f"{scores}/influence/*.parquet")
  assert set(pairs.project("train_label = test_label").fetchall()) == {(True,)}
  _score(experiment, scores, *flags, "--pairs=all")
  every = duckdb.read_parquet(f"{scores}/influence/*.parquet").filter("subset_ratio = 0.7")
  assert len(every.fetchall()) == NUM_TRAIN * NUM_TEST


def test_scoring_without_a_data_set_leaves_labels_null(experiment, scores):
  assert _score(experiment, scores) == 0
  assert _manifest(scores)["options"]["pairs"] == "all"
  for table, column in (("examples", "label"), ("cscores", "label"), ("influence", "test_label")):
    (path,) = (
      (scores / table).glob("*0.7*.parquet")
      if table != "cscores"
      else ((scores / table).glob("*.parquet"))
    )
    assert pq.read_table(path)[column].null_count == pq.read_table(path).num_rows


def test_the_index_says_what_each_example_is(experiment, scores, dataset):
  assert _score(experiment, scores, f"--dataset={dataset}") == 0
  loaded = image_datasets.load_dataset(dataset)
  assert _tables(scores)["index"] == sorted(
    (
      (split, number, None, int(label), str(label), image_datasets.pixel_hash(image))
      for split, examples in (("train", loaded.train), ("test", loaded.test))
      for number, (image, label) in enumerate(zip(examples.images, examples.labels, strict=True))
    ),
    key=repr,
  )
  assert _score(experiment, scores, "--pairs=all") == 0
  assert not (scores / "index").exists()


def test_appending_needs_the_same_examples_in_the_same_order(experiment, scores, tmp_path, capsys):
  spec = write_few_digits(tmp_path / "few.npz")
  _score(experiment, scores, f"--dataset={spec}")
  arrays = dict(np.load(tmp_path / "few.npz"))
  twins = np.flatnonzero(arrays["train__label"] == arrays["train__label"][0])
  arrays["train__image"][twins[:2]] = arrays["train__image"][twins[1::-1]]
  np.savez(tmp_path / "few.npz", **arrays)
  capsys.readouterr()
  assert _score(experiment, scores, f"--dataset={spec}", "--append") == 2
  assert capsys.readouterr().err == (
    f"heldout score: error: {scores}: training example 0 has other pixels in the data set {spec}, "
    "as have 2 of 37, which has the same examples in another order: give the data set that was "
    "scored\n"
  )


def test_correctness_table_on_request(experiment, scores, outcomes):
  assert _score(experiment, scores, "--correctness") == 0
  count, correct = duckdb.sql(
    f"select count(*), sum(correct::int) from '{scores}/correctness/*.parquet'"
  ).fetchall()[0]
  assert count == len(outcomes) * (NUM_TRAIN + NUM_TEST)
  assert correct == sum(bits.sum() for outcome in outcomes for bits in outcome.unpack()[1:])


def test_broken_runs_are_skipped_with_reasons_and_do_not_distort(
  experiment, scores, tmp_path, capsys
):
  _score(experiment, tmp_path / "alone")
  capsys.readouterr()
  reasons = write_broken_runs(experiment, first_run=100)
  stray = experiment / "2.0" / "1"
  stray.mkdir(parents=True)
  (stray / "aux_arrays.npz").touch()
  reasons[str(stray)] = "'2.0' is not a subset ratio"
  assert _score(experiment, scores) == 0
  skipped = dict(duckdb.sql(f"select * from '{scores}/skipped/*.parquet'").fetchall())
  assert set(skipped) == set(reasons)
  for path, reason in reasons.items():
    assert reason in skipped[path]
  assert _manifest(scores)["runs_skipped"] == len(reasons)
  assert f"skipped {len(reasons)} inputs" in capsys.readouterr().out
  tables, alone = _tables(scores), _tables(tmp_path / "alone")
  assert {**tables, "skipped": []} == alone


def test_strict_makes_a_skipped_run_an_error(experiment, scores, capsys):
  write_broken_runs(experiment, first_run=100)
  assert _score(experiment, scores, "--strict") == 2
  captured = capsys.readouterr()
  assert captured.err.startswith(
    f"heldout score: error: {experiment}: 8 inputs cannot be used; the first: "
  )
  assert captured.err.count("\n") == 1
  assert not list(scores.iterdir())


def test_no_usable_run_is_an_error(tmp_path, scores, capsys):
  write_broken_runs(tmp_path / "runs", first_run=0)
  assert _score(tmp_path / "runs", scores) == 2
  assert "8 inputs cannot be used; the first: " in capsys.readouterr().err


@pytest.mark.parametrize("contents", [[], ["training.json"], ["0.7/notes"]])
def test_an_experiment_without_runs_is_an_error(tmp_path, scores, contents, capsys):
  for name in contents:
    (tmp_path / "runs" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "runs" / name).touch()
  assert _score(tmp_path / "runs", scores) == 2
  assert "holds no runs: they lie in <subset ratio>/<run id>/" in capsys.readouterr().err


def test_another_experiments_scores_are_not_overwritten(experiment, scores, tmp_path, capsys):
  assert _score(experiment, scores) == 0
  before = _tables(scores)
  write_experiment(tmp_path / "other", make_outcomes(0.5, range(3)))
  assert _score(tmp_path / "other", scores) == 2
  assert f"holds the tables of experiment {experiment}" in capsys.readouterr().err
  assert _tables(scores) == before


def test_scoring_again_replaces_the_tables(experiment, scores):
  _score(experiment, scores, "--correctness")
  before = _tables(scores)
  write_experiment(experiment, make_outcomes(0.9, range(2)))
  _score(experiment, scores)
  after = _tables(scores)
  assert "correctness" not in after
  assert len(after["runs"]) == len(before["runs"]) + 2


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--dataset=digts"], "unknown data set 'digts'"),
    (["--dataset=npz:/missing.npz"], "/missing.npz"),
    (["--pairs=same_class"], "--pairs=same_class needs labels"),
    (["--pairs=none"], "argument --pairs: invalid choice: 'none'"),
    (["--top_k=0"], "--top_k=0: at least one pair"),
    (["--min_influence=15"], "--min_influence=15.0: scores lie between -1 and 1"),
    (["--min_memorization=nan"], "--min_memorization=nan: scores lie between -1 and 1"),
    (["--min_inflence=0.1"], "did you mean --min_influence?"),
  ],
)
def test_bad_flags_are_one_line(experiment, scores, flags, message, capsys):
  assert _score(experiment, scores, *flags) == 2
  error = capsys.readouterr().err
  assert message in error
  assert error.startswith("heldout score: error: ")
  assert error.count("\n") == 1


def test_runs_of_other_sizes_than_the_data_set_are_skipped(experiment, scores, dataset):
  write_experiment(experiment, make_outcomes(0.3, [99], num_train=40))
  assert _score(experiment, scores, f"--dataset={dataset}") == 0
  ((_, reason),) = duckdb.sql(f"select * from '{scores}/skipped/*.parquet'").fetchall()
  assert reason == "is of 40 training and 11 test examples, not 37 and 11"


@pytest.mark.parametrize(
  "flags",
  [
    ("--direct_num_workers=4", "--direct_running_mode=multi_threading"),
    ("--direct_num_workers=2", "--direct_running_mode=multi_processing"),
    ("--runner=DirectRunner",),
  ],
)
def test_tables_do_not_depend_on_the_workers(experiment, scores, tmp_path, flags):
  options = ("--min_influence=0", "--top_k=2", "--correctness")
  assert _score(experiment, tmp_path / "one", *options) == 0
  assert _score(experiment, scores, *options, *flags) == 0
  assert _tables(scores) == _tables(tmp_path / "one")
  ours, alone = _manifest(scores), _manifest(tmp_path / "one")
  assert _lasting(ours) == _lasting(alone)


def test_dense_influence_is_that_of_every_pair(experiment, scores):
  flags = ("--min_influence=-1", "--min_memorization=-1", "--dense")
  assert _score(experiment, scores, *flags, "--worker_memory=701MB") == 0
  group = zarr.open_group(str(scores / "influence.zarr"), mode="r")
  assert sorted(group) == ["ratio-0.3", "ratio-0.7"]
  for ratio in (0.3, 0.7):
    matrix = group[f"ratio-{ratio}"]
    assert (matrix.shape, matrix.dtype) == ((NUM_TRAIN, NUM_TEST), np.float32)
    expected = np.full(matrix.shape, np.nan, np.float32)
    pairs = duckdb.read_parquet(f"{scores}/influence/*.parquet").filter(f"subset_ratio = {ratio}")
    for train, test, influence in pairs.project(
      "train_example, test_example, influence"
    ).fetchall():
      expected[train, test] = influence
    assert np.array_equal(matrix[:], expected, equal_nan=True)
  assert _manifest(scores)["rows"]["influence.zarr"] == 2 * NUM_TRAIN
  assert _score(experiment, scores) == 0
  assert not (scores / "influence.zarr").exists()


def test_summaries_are_those_of_the_selected_pairs(experiment, scores):
  _score(experiment, scores, "--min_influence=0.1", "--min_memorization=-1")
  pairs = duckdb.read_parquet(f"{scores}/influence/*.parquet").fetchall()
  columns = duckdb.read_parquet(f"{scores}/influence/*.parquet").columns
  rows = [dict(zip(columns, row, strict=True)) for row in pairs]
  for side, size in (("train", NUM_TRAIN), ("test", NUM_TEST)):
    summary = duckdb.read_parquet(f"{scores}/{side}_influence/*.parquet").fetchall()
    assert len(summary) == 2 * size
    for ratio, example, _, count, largest in summary:
      found = [
        row["influence"]
        for row in rows
        if (row["subset_ratio"], row[f"{side}_example"]) == (ratio, example)
      ]
      assert count == len(found)
      assert largest == max(found, default=None)


def test_appending_equals_scoring_everything_at_once(tmp_path, scores, outcomes):
  options = ("--min_influence=0", "--dense", "--correctness")
  write_experiment(tmp_path / "runs", outcomes[::3])
  assert _score(tmp_path / "runs", scores, *options, "--append") == 0
  write_experiment(tmp_path / "runs", outcomes + make_outcomes(0.9, range(3)))
  for outcome in outcomes[::3]:  # what was scored need not be read again
    (Path(outcome.key.directory(str(tmp_path / "runs"))) / "aux_arrays.npz").write_bytes(b"gone")
  assert _score(tmp_path / "runs", scores, *options, "--append") == 0
  write_experiment(tmp_path / "runs", outcomes)
  assert _score(tmp_path / "runs", tmp_path / "at-once", *options) == 0
  assert _tables(scores) == _tables(tmp_path / "at-once")
  appended, at_once = _manifest(scores), _manifest(tmp_path / "at-once")
  assert _lasting(appended) == _lasting(at_once)
  for ratio in (0.3, 0.7, 0.9):
    matrices = [
      zarr.open_array(str(path / "influence.zarr"), path=f"ratio-{ratio}", mode="r")[:]
      for path in (scores, tmp_path / "at-once")
    ]
    assert np.array_equal(*matrices, equal_nan=True)


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--dataset=digits"], "made with no --dataset, not --dataset=digits"),
    (
      ["--source=checkpoints", "--model=mlp", "--dataset=digits"],
      "made with --source=recorded, not --source=checkpoints",
    ),
  ],
)
def test_appending_needs_outcomes_of_the_same_kind(experiment, scores, flags, message, capsys):
  _score(experiment, scores)
  before = _tables(scores)
  assert _score(experiment, scores, "--append", *flags) == 2
  error = capsys.readouterr().err
  assert error.startswith("heldout score: error: --append: the scores there were ")
  assert message in error
  assert _tables(scores) == before


def test_appending_needs_examples_of_the_same_number(experiment, scores, tmp_path, capsys):
  spec = write_few_digits(tmp_path / "few.npz")
  _score(experiment, scores, f"--dataset={spec}")
  write_few_digits(tmp_path / "few.npz", num_train=NUM_TRAIN + 1)
  assert _score(experiment, scores, f"--dataset={spec}", "--append") == 2
  message = "holds scores of 37 training and 11 test examples, which is not --dataset="
  assert message in capsys.readouterr().err


def test_appending_counts_no_outcome_twice(experiment, scores, capsys):
  _score(experiment, scores)
  part = next((scores / "outcomes").iterdir())
  shutil.copy(part, part.with_name("copy.parquet"))
  assert _score(experiment, scores, "--append") == 2
  assert "outcomes/copy.parquet is no part of these scores" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["npz", "idx", "cifar", "tfds", "tfrecord"])
def test_appending_with_another_data_set_is_refused_before_it_is_loaded(
  experiment, scores, tmp_path, kind, capsys
):
  """Which may take minutes: here nothing is there to be loaded."""
  spec = write_few_digits(tmp_path / "few.npz")
  assert _score(experiment, scores, f"--dataset={spec}") == 0
  capsys.readouterr()
  assert _score(experiment, scores, f"--dataset={kind}:{tmp_path}/nowhere", "--append") == 2
  assert f"the scores there were made with --dataset={spec}" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [(), ("--append",)], ids=["anew", "append"])
def test_a_publication_that_was_stopped_needs_no_runs_to_be_finished(
  experiment, scores, tmp_path, monkeypatch, flags, capsys
):
  """The same command completes it, even if the runs are no longer there."""
  assert _score(experiment, scores) == 0
  tables = _tables(scores)
  shutil.rmtree(scores)
  with monkeypatch.context() as patch:
    patch.setattr(files, "move", _stop)
    assert _score(experiment, scores) != 0
  assert (scores / "publication.json").exists()
  for path in experiment.rglob("aux_arrays.npz"):
    path.write_bytes(b"gone")
  capsys.readouterr()
  assert _score(experiment, scores, *flags) == (0 if flags else 2)
  assert "finished the publication of an earlier command" in capsys.readouterr().out
  assert _tables(scores) == tables


def _stop(moves):
  raise OSError("the disk is gone")


def test_a_slow_command_does_not_undo_a_quick_one(experiment, scores, monkeypatch, capsys):
  from beam_pipelines.transforms import publish_scores

  check, quick = publish_scores.check_conservation, []

  def be_slow(manifest):
    monkeypatch.setattr(publish_scores, "check_conservation", check)
    quick.append(_score(experiment, scores, "--min_influence=0.5"))
    check(manifest)

  monkeypatch.setattr(publish_scores, "check_conservation", be_slow)
  assert _score(experiment, scores, "--correctness") == 2
  assert quick == [0]
  of_the_quick, of_the_slow = capsys.readouterr().err.splitlines()
  assert "kept, since its job may be at work" in of_the_quick
  assert "other scores were published there since this job began" in of_the_slow
  manifest = _manifest(scores)
  assert manifest["options"]["min_influence"] == 0.5
  tables = _tables(scores)
  assert manifest["rows"] == {name: len(rows) for name, rows in tables.items()}
  assert not [path for path in scores.iterdir() if path.name.startswith(".")]
