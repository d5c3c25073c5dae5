"""Every command takes packed runs as it takes run directories."""

import dataclasses
import json
import shutil

import duckdb
import pytest

from beam_pipelines import cli
from beam_pipelines.storage.runs.experiment import list_runs
from beam_pipelines.storage.runs.run_place import RunKey
from tests.helpers.archives import make_archive, md5, run_members
from tests.helpers.outcomes import (
  NUM_TRAIN,
  add_margins,
  make_outcomes,
  write_experiment,
  write_few_digits,
)
from tests.helpers.packs import without_test, without_train, write_pack


def _score(experiment, scores, *flags):
  return cli.main(["score", f"--experiment={experiment}", f"--scores={scores}", *flags])


def _rows(scores, table, columns="*"):
  return duckdb.sql(f"select {columns} from '{scores}/{table}/*.parquet' order by all").fetchall()


def _manifest(scores):
  return json.loads((scores / "manifest.json").read_text())


@pytest.fixture
def spec(tmp_path):
  return write_few_digits(tmp_path / "digits.npz")


def test_packed_runs_are_scored_as_directories_are(tmp_path, spec):
  outcomes = make_outcomes(0.5, range(12)) + make_outcomes(0.7, range(6))
  write_experiment(tmp_path / "directories", outcomes)
  write_pack(tmp_path / "packed", outcomes[:12])
  write_pack(tmp_path / "packed", outcomes[12:])
  write_experiment(tmp_path / "mixed", outcomes[:5] + outcomes[15:])
  write_pack(tmp_path / "mixed", outcomes[5:12])
  write_pack(tmp_path / "mixed", outcomes[12:15])
  for name in ("directories", "packed", "mixed"):
    scores = tmp_path / f"scores-{name}"
    assert _score(tmp_path / name, scores, f"--dataset={spec}", "--dense", "--correctness") == 0
  expected = _manifest(tmp_path / "scores-directories")
  for name in ("packed", "mixed"):
    assert _manifest(tmp_path / f"scores-{name}")["parts"] == expected["parts"]


def test_appending_reads_only_what_is_new(tmp_path, capsys):
  outcomes = make_outcomes(0.5, range(12))
  write_pack(tmp_path / "runs", outcomes[:7])
  assert _score(tmp_path / "runs", tmp_path / "scores") == 0
  write_pack(tmp_path / "runs", outcomes[7:10], "more")
  write_experiment(tmp_path / "runs", outcomes[10:])
  capsys.readouterr()
  assert _score(tmp_path / "runs", tmp_path / "scores", "--append", "--dry_run") == 0
  assert capsys.readouterr().out.startswith("would score 5 runs ")
  assert _score(tmp_path / "runs", tmp_path / "scores", "--append") == 0
  write_pack(tmp_path / "all", outcomes)
  assert _score(tmp_path / "all", tmp_path / "anew") == 0
  assert _rows(tmp_path / "scores", "examples") == _rows(tmp_path / "anew", "examples")
  assert _manifest(tmp_path / "scores")["runs_used"] == 12


def _damaged(experiment):
  outcomes = make_outcomes(0.5, range(9))
  directory = write_pack(experiment, outcomes)
  part = experiment / "0.5" / "packed" / "pack" / "runs-from-000003.parquet"
  part.write_bytes(part.read_bytes()[::-1])
  return [f"{directory}#{run}" for run in (3, 4, 5)]


def test_runs_of_a_damaged_part_are_skipped_and_the_rest_is_scored(tmp_path, capsys):
  paths = _damaged(tmp_path / "runs")
  assert _score(tmp_path / "runs", tmp_path / "scores") == 0
  assert capsys.readouterr().out.startswith("scored 6 runs ")
  skipped = dict(_rows(tmp_path / "scores", "skipped"))
  assert list(skipped) == paths
  assert all("is not the file that manifest.json names" in each for each in skipped.values())
  assert _manifest(tmp_path / "scores")["runs_listed"] == 9


def test_strict_refuses_a_damaged_part(tmp_path, capsys):
  _damaged(tmp_path / "runs")
  assert _score(tmp_path / "runs", tmp_path / "scores", "--strict") == 2
  assert "3 inputs cannot be used; the first: " in capsys.readouterr().err


def test_checkpoints_are_asked_for_in_vain(tmp_path, spec, capsys):
  write_pack(tmp_path / "runs", make_outcomes(0.5, range(3)))
  flags = ["--source=checkpoints", f"--dataset={spec}", "--model=mlp_small"]
  assert _score(tmp_path / "runs", tmp_path / "scores", *flags) == 2
  assert "packed/pack#0 is packed: outcomes alone, without a checkpoint" in capsys.readouterr().err
  verify = ["verify", f"--experiment={tmp_path}/runs", f"--dataset={spec}", "--model=mlp_small"]
  assert cli.main(verify) == 2
  error = capsys.readouterr().err
  assert "no run can be verified; the first: " in error
  assert "packed/pack#0 is packed: outcomes alone, without a checkpoint" in error


def test_inspect_judges_packed_runs(tmp_path, capsys):
  outcomes = make_outcomes(0.5, range(6))
  paths = _damaged(tmp_path / "runs")
  write_experiment(tmp_path / "runs", outcomes[:1])
  assert cli.main(["inspect", f"--experiment={tmp_path}/runs"]) == 0
  out = capsys.readouterr().out
  (line,) = [line for line in out.splitlines() if line.split()[:1] == ["0.5"]]
  assert line.split()[1:5] == ["9", "9", "6", "0"]
  assert "from recorded outcomes, 3 of 9 runs cannot be scored:" in out
  assert f"  {paths[0]}: runs-from-000003.parquet is not the file" in out
  assert "from checkpoints, no run can be scored: there are none" in out
  assert f"{tmp_path}/runs/0.5/packed/pack#0: is the same run as {tmp_path}/runs/0.5/0" in out


def test_inspect_agrees_with_score_on_runs_that_lack_a_side(tmp_path, spec, capsys):
  write_pack(tmp_path / "runs", without_test(make_outcomes(0.5, range(6))))
  write_experiment(tmp_path / "runs", make_outcomes(0.5, range(6, 8)))
  inspect = ["inspect", f"--experiment={tmp_path}/runs", f"--dataset={spec}"]
  assert cli.main(inspect) == 0
  assert "from recorded outcomes, 2 of 8 runs cannot be scored:" in capsys.readouterr().out
  assert _score(tmp_path / "runs", tmp_path / "scores", f"--dataset={spec}") == 0
  assert capsys.readouterr().out.startswith("scored 6 runs ")


def test_without_test_outcomes_there_is_memorization_and_no_influence(tmp_path, spec, capsys):
  outcomes = make_outcomes(0.5, range(20))
  write_pack(tmp_path / "runs", without_test(outcomes))
  write_pack(tmp_path / "full", outcomes)
  flags = [f"--dataset={spec}", "--dense", "--correctness"]
  assert _score(tmp_path / "runs", tmp_path / "scores", *flags) == 0
  assert "warning: no outcomes on test examples are recorded" in capsys.readouterr().err
  assert _score(tmp_path / "full", tmp_path / "expected", *flags) == 0
  assert _rows(tmp_path / "scores", "examples") == _rows(tmp_path / "expected", "examples")
  assert _rows(tmp_path / "scores", "influence") == []
  assert _rows(tmp_path / "scores", "index", "distinct split") == [("train",)]
  assert _rows(tmp_path / "scores", "runs", "distinct accuracy_test") == [(None,)]
  assert _manifest(tmp_path / "scores")["examples"] == {
    **{"train": NUM_TRAIN, "test": 0, "train_recorded": True}
  }
  report = tmp_path / "report.html"
  scores = f"--scores={tmp_path}/scores"
  assert cli.main(["report", scores, f"--dataset={spec}", f"--output={report}"]) == 0
  assert "no outcomes on test examples are recorded" in report.read_text()


def test_without_training_outcomes_there_is_influence_alone(tmp_path, spec, capsys):
  outcomes = make_outcomes(0.5, range(20))
  write_pack(tmp_path / "runs", without_train(outcomes))
  write_pack(tmp_path / "full", outcomes)
  for flags in (["--pairs=all"], ["--pairs=all", "--top_k=3"]):
    flags += [f"--dataset={spec}", "--dense", "--correctness", "--min_memorization=-1"]
    assert _score(tmp_path / "runs", tmp_path / "scores", *flags) == 0
    assert "no outcomes on training examples are recorded" in capsys.readouterr().err
    assert _score(tmp_path / "full", tmp_path / "expected", *flags) == 0
    columns = "* exclude (memorization)"
    assert _rows(tmp_path / "scores", "influence", columns) == _rows(
      tmp_path / "expected", "influence", columns
    )
    assert _rows(tmp_path / "scores", "influence", "distinct memorization") == [(None,)]
  assert _rows(tmp_path / "scores", "examples") == []
  assert _rows(tmp_path / "scores", "cscores") == []
  assert _rows(tmp_path / "scores", "correctness", "distinct split") == [("test",)]
  assert _rows(tmp_path / "scores", "runs", "distinct accuracy_train") == [(None,)]
  assert cli.main(["compare", str(tmp_path / "scores"), str(tmp_path / "expected")]) == 0
  report = tmp_path / "report.html"
  scores = f"--scores={tmp_path}/scores"
  assert cli.main(["report", scores, f"--dataset={spec}", f"--output={report}"]) == 0
  assert "no outcomes on training examples are recorded" in report.read_text()
  export = ["export", scores, "--format=cscores", f"--output={tmp_path}/cscores.npz"]
  assert cli.main([*export, f"--dataset={spec}"]) == 2
  assert "the runs have recorded no outcomes on training examples" in capsys.readouterr().err


def test_appending_to_scores_that_lack_a_side(tmp_path, spec):
  outcomes = without_train(make_outcomes(0.5, range(8)))
  write_pack(tmp_path / "runs", outcomes[:4])
  assert _score(tmp_path / "runs", tmp_path / "scores", f"--dataset={spec}") == 0
  write_pack(tmp_path / "runs", outcomes[4:], "more")
  assert _score(tmp_path / "runs", tmp_path / "scores", f"--dataset={spec}", "--append") == 0
  assert _manifest(tmp_path / "scores")["runs_used"] == 8


def test_train_counts_packed_runs_as_complete(tmp_path, capsys):
  experiment = tmp_path / "runs"
  train = ["train", f"--experiment={experiment}", "--dataset=digits", "--model=mlp_small"]
  train += ["--epochs=1"]
  assert cli.main([*train, "--runs=0:2"]) == 0
  write_pack(experiment, make_outcomes(0.7, range(2, 5), num_train=1437, num_test=360))
  capsys.readouterr()
  assert cli.main([*train, "--runs=0:6"]) == 0
  assert "5 complete, 1 to train" in capsys.readouterr().out
  assert len(list_runs(str(experiment)).runs) == 3
  (experiment / "training.json").unlink()
  shutil.rmtree(experiment / "0.7" / "0")
  for run in (1, 5):
    shutil.rmtree(experiment / "0.7" / str(run))
  assert cli.main([*train, "--runs=0:6"]) == 2
  assert "holds runs without training.json" in capsys.readouterr().err


def test_ingest_does_not_count_packed_runs_as_its_own(tmp_path, capsys):
  outcomes = make_outcomes(0.5, range(4))
  content = make_archive(run_members(RunKey(0.5, 0)) + run_members(RunKey(0.5, 1)))
  archive = tmp_path / "runs.tar.gz"
  archive.write_bytes(content)
  sum_ = md5(content)
  ingest = ["ingest", f"--archive={archive}", f"--md5={sum_}", f"--experiment={tmp_path}/runs"]
  write_pack(tmp_path / "packed", outcomes[2:])
  assert cli.main([*ingest[:-1], f"--experiment={tmp_path}/packed"]) == 2
  assert "holds runs that were not ingested" in capsys.readouterr().err
  assert cli.main(ingest) == 0
  write_pack(tmp_path / "runs", outcomes[2:])
  capsys.readouterr()
  assert cli.main(ingest) == 0
  assert capsys.readouterr().out.startswith("all 2 runs of ")


@pytest.mark.parametrize("outcome", ["probability", "margin"])
def test_margins_of_packed_runs_are_scored_as_those_of_directories(tmp_path, outcome):
  outcomes = add_margins(make_outcomes(0.5, range(12)))
  write_pack(tmp_path / "packed", outcomes, margin="logsumexp")
  write_experiment(tmp_path / "directories", outcomes)
  for name in ("packed", "directories"):
    assert _score(tmp_path / name, tmp_path / f"scores-{name}", f"--outcome={outcome}") == 0
  parts = [_manifest(tmp_path / f"scores-{name}")["parts"] for name in ("packed", "directories")]
  assert parts[0] == parts[1]
  assert _manifest(tmp_path / "scores-packed")["warnings"] == []


def test_margins_by_max_are_no_log_odds(tmp_path, capsys):
  outcomes = add_margins(make_outcomes(0.5, range(12)))
  write_pack(tmp_path / "runs", outcomes, margin="max")
  assert _score(tmp_path / "runs", tmp_path / "scores", "--outcome=margin") == 0
  assert (
    "12 of 12 runs record margins by max, the label's logit minus the largest other, which are no "
    "log-odds\n" in capsys.readouterr().err
  )
  write_experiment(tmp_path / "runs", add_margins(make_outcomes(0.5, range(12, 16))))
  assert _score(tmp_path / "runs", tmp_path / "mixed", "--outcome=margin") == 0
  assert (
    "12 of 16 runs record margins by max, the label's logit minus the largest other, which are no "
    "log-odds, as those of the others are: score the two apart" in capsys.readouterr().err
  )
  assert _score(tmp_path / "runs", tmp_path / "probabilities", "--outcome=probability") == 0
  assert capsys.readouterr().out.startswith("scored 4 runs ")
  reasons = {reason for _, reason in _rows(tmp_path / "probabilities", "skipped")}
  assert reasons == {"records margins by max, from which no probabilities follow"}


def test_margins_of_one_side_alone_are_scored(tmp_path):
  outcomes = add_margins(make_outcomes(0.5, range(12)))
  write_pack(tmp_path / "full", outcomes, margin="logsumexp")
  one = [dataclasses.replace(each, test_margin=b"") for each in without_test(outcomes)]
  write_pack(tmp_path / "train", one, margin="logsumexp")
  other = [dataclasses.replace(each, train_margin=b"") for each in without_train(outcomes)]
  write_pack(tmp_path / "test", other, margin="logsumexp")
  for name in ("full", "train", "test"):
    flags = ["--outcome=margin", "--min_memorization=-100"]
    assert _score(tmp_path / name, tmp_path / f"scores-{name}", *flags) == 0
  full, train, test = (tmp_path / f"scores-{name}" for name in ("full", "train", "test"))
  assert _rows(train, "examples") == _rows(full, "examples")
  assert _rows(train, "influence") == []
  columns = "* exclude (memorization)"
  assert _rows(test, "influence", columns) == _rows(full, "influence", columns) != []
  assert _rows(test, "examples") == []
