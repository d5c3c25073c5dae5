"""`heldout score --outcome=probability|margin`: tables that a float64 computation gives as well."""

import json

import duckdb
import numpy as np
import pytest
import zarr

from beam_pipelines import cli
from beam_pipelines.storage.runs.outcome import Margins, RunOutcome
from beam_pipelines.storage.scores.dense import read_dense
from beam_pipelines.storage.scores.tables import TABLE_NAMES
from estimators.reliability import split_halves
from tests.helpers.checkpoints import write_digits_experiment
from tests.helpers.means import dense_influence, side_means, welch
from tests.helpers.outcomes import (
  NUM_TEST,
  add_margins,
  make_outcomes,
  write_experiment,
  write_few_digits,
)

SOFT = pytest.mark.parametrize("outcome", ["probability", "margin"])
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def _score(experiment, scores, outcome, *flags):
  command = ["score", f"--experiment={experiment}", f"--scores={scores}", f"--outcome={outcome}"]
  return cli.main([*command, *flags])


def _manifest(scores):
  return json.loads((scores / "manifest.json").read_text())


def _rows(scores, table, order):
  """Rows of a table as columns by name, as a consumer would read them; null is NaN or masked."""
  relation = duckdb.sql(f"select * from '{scores}/{table}/*.parquet' order by {order}")
  return dict(zip(relation.columns, zip(*relation.fetchall(), strict=True), strict=True))


def _floats(values):
  return np.array([np.nan if value is None else value for value in values], np.float64)


def _contents(scores):
  return {
    str(path.relative_to(scores)): path.read_bytes()
    for path in scores.rglob("*")
    if path.is_file() and path.name != "manifest.json"
  }


def _values(outcomes, ratio, outcome):
  """Membership [train, runs], values on training and on test examples [examples, runs]."""
  of_ratio = [each for each in outcomes if each.key.subset_ratio == ratio]
  member = np.array([each.unpack()[0] for each in of_ratio]).T
  sides = zip(*(each.margins for each in of_ratio), strict=True)
  values = [np.array(margins, np.float64).T for margins in sides]
  if outcome == "probability":
    values = [(1 / (1 + np.exp(-of_set))).astype(np.float32) for of_set in values]
  return member, *values


@pytest.fixture(scope="module")
def outcomes():
  return add_margins(make_outcomes(0.3, range(12)) + make_outcomes(0.7, range(70)))


@pytest.fixture(scope="module")
def experiment(tmp_path_factory, outcomes):
  path = tmp_path_factory.mktemp("experiment")
  write_experiment(path, outcomes)
  return path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
  return write_few_digits(tmp_path_factory.mktemp("data") / "few-digits.npz")


@SOFT
def test_examples_and_cscores_are_those_of_float64(experiment, outcomes, tmp_path, outcome):
  assert _score(experiment, tmp_path, outcome) == 0
  held_out = []
  for ratio in (0.3, 0.7):
    member, train, _ = _values(outcomes, ratio, outcome)
    found = _rows(tmp_path, "examples", "subset_ratio, example")
    at_ratio = {
      name: _floats(np.array(column, object)[np.array(found["subset_ratio"]) == ratio])
      for name, column in found.items()
      if name != "label"
    }
    statistics = [side_means(*pair) for pair in zip(member, train, strict=True)]
    names = ("runs_in", "runs_out", "mean_in", "mean_out", "sd_in", "sd_out")
    for name, expected in zip(names, zip(*statistics, strict=True), strict=True):
      np.testing.assert_allclose(at_ratio[name], expected, **CLOSE)
    scores = [welch(*pair) for pair in zip(member, train, strict=True)]
    for name, expected in zip(
      ("memorization", "memorization_se"), zip(*scores, strict=True), strict=True
    ):
      np.testing.assert_allclose(at_ratio[name], expected, **CLOSE)
    np.testing.assert_array_equal(at_ratio["consistency"], at_ratio["mean_out"])
    held_out.append([(s[3], s[5] ** 2 / max(s[1], 1), s[1] > 0) for s in statistics])
  cscores = _rows(tmp_path, "cscores", "example")
  means, errors, defined = np.moveaxis(np.array(held_out), 2, 0)
  ratios = defined.sum(axis=0)
  assert cscores["ratios"] == tuple(ratios.astype(int).tolist())
  total = np.where(defined == 1, means, 0).sum(axis=0)
  np.testing.assert_allclose(_floats(cscores["cscore"]), total / ratios, **CLOSE)
  squared = np.where(defined == 1, errors, 0).sum(axis=0)
  np.testing.assert_allclose(_floats(cscores["cscore_se"]), np.sqrt(squared) / ratios, **CLOSE)


def _expected_pairs(outcomes, ratio, outcome, least_influence, least_memorization):
  member, train, test = _values(outcomes, ratio, outcome)
  influence = dense_influence(member, test)
  memorization = np.array([welch(*pair)[0] for pair in zip(member, train, strict=True)])
  with np.errstate(invalid="ignore"):
    kept = (influence >= least_influence) & (memorization >= least_memorization)[:, None]
  return {
    (ratio, int(i), int(j)): (influence[i, j], welch(member[i], test[j])[1], memorization[i])
    for i, j in zip(*np.nonzero(kept), strict=True)
  }


def _found_pairs(scores):
  rows = _rows(scores, "influence", "subset_ratio, train_example, test_example")
  keys = zip(rows["subset_ratio"], rows["train_example"], rows["test_example"], strict=True)
  columns = [_floats(rows[name]) for name in ("influence", "influence_se", "memorization")]
  return dict(zip(keys, zip(*columns, strict=True), strict=True))


@SOFT
@pytest.mark.parametrize("thresholds", [None, (0.05, -0.2), (-100, -100)])
def test_pairs_are_those_of_float64(experiment, outcomes, tmp_path, outcome, thresholds):
  flags, least = (), {"probability": (0.15, 0.25), "margin": (1.0, 1.0)}[outcome]
  if thresholds:
    least = np.maximum(thresholds, -1) if outcome == "probability" else thresholds
    flags = (f"--min_influence={least[0]}", f"--min_memorization={least[1]}")
  assert _score(experiment, tmp_path, outcome, *flags) == 0
  expected = {
    key: pair
    for ratio in (0.3, 0.7)
    for key, pair in _expected_pairs(outcomes, ratio, outcome, *least).items()
  }
  found = _found_pairs(tmp_path)
  assert found.keys() == expected.keys()
  assert found
  for key, pair in expected.items():
    np.testing.assert_allclose(found[key], pair, **CLOSE)
  options = _manifest(tmp_path)["options"]
  assert options["outcome"] == outcome
  assert (options["min_influence"], options["min_memorization"]) == tuple(least)


@SOFT
def test_top_k_is_that_of_all_pairs(experiment, outcomes, tmp_path, outcome):
  flags = ("--min_influence=-1", "--min_memorization=-1", "--top_k=2", "--worker_memory=701MB")
  assert _score(experiment, tmp_path, outcome, *flags) == 0
  expected = set()
  for ratio in (0.3, 0.7):
    pairs = _expected_pairs(outcomes, ratio, outcome, -1, -1)
    for side in (1, 2):
      for example in {key[side] for key in pairs}:
        own = sorted(
          (key for key in pairs if key[side] == example), key=lambda key: (-pairs[key][0], key)
        )
        expected.update(own[:2])
  assert _found_pairs(tmp_path).keys() == expected


@SOFT
def test_the_dense_matrix_is_that_of_float64(experiment, outcomes, tmp_path, outcome):
  assert _score(experiment, tmp_path, outcome, "--dense", "--worker_memory=701MB") == 0
  for ratio in (0.3, 0.7):
    member, _, test = _values(outcomes, ratio, outcome)
    matrix = read_dense(str(tmp_path), ratio)
    assert isinstance(matrix, zarr.Array)
    np.testing.assert_allclose(matrix[:], dense_influence(member, test), rtol=1e-6, atol=1e-6)


@SOFT
def test_reliability_is_that_of_halves(experiment, outcomes, tmp_path, outcome):
  assert _score(experiment, tmp_path, outcome) == 0
  (ratio,) = (r for r in _manifest(tmp_path)["ratios"] if r["subset_ratio"] == 0.7)
  member, train, test = _values(outcomes, 0.7, outcome)
  halves = split_halves(70, seed=0)
  scores = [
    [welch(m[half], v[half])[0] for m, v in zip(member, train, strict=True)] for half in halves
  ]
  correlation = np.corrcoef(*scores)[0, 1]
  assert ratio["reliability"]["memorization"]["correlation"] == pytest.approx(correlation)
  least = {"probability": (0.15, 0.25), "margin": (1.0, 1.0)}[outcome]
  selected = [
    {
      (i, j)
      for i, j in np.argwhere(dense_influence(member[:, half], test[:, half]) >= least[0])
      if of_half[i] >= least[1]
    }
    for half, of_half in zip(halves, scores, strict=True)
  ]
  jaccard = len(selected[0] & selected[1]) / len(selected[0] | selected[1])
  assert ratio["reliability"]["pairs_jaccard"] == pytest.approx(jaccard)
  assert ratio["expected_false_pairs"] > 0


def test_several_workers_write_what_one_does(experiment, dataset, tmp_path):
  flags = (f"--dataset={dataset}", "--dense", "--correctness", "--worker_memory=701MB")
  workers = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
  assert _score(experiment, tmp_path / "one", "margin", *flags) == 0
  assert _score(experiment, tmp_path / "two", "margin", *flags, *workers) == 0
  assert _contents(tmp_path / "one") == _contents(tmp_path / "two")


@SOFT
def test_appending_gives_what_scoring_at_once_gives(tmp_path, outcomes, outcome, capsys):
  write_experiment(tmp_path / "runs", outcomes[:50])
  assert _score(tmp_path / "runs", tmp_path / "scores", outcome) == 0
  write_experiment(tmp_path / "runs", outcomes[50:])
  assert _score(tmp_path / "runs", tmp_path / "scores", outcome, "--append") == 0
  assert _score(tmp_path / "runs", tmp_path / "anew", outcome) == 0
  tables = [
    {
      name: duckdb.sql(f"select * from '{scores}/{name}/*.parquet' order by all").fetchall()
      for name in TABLE_NAMES
      if (scores / name).exists()
    }
    for scores in (tmp_path / "scores", tmp_path / "anew")
  ]
  assert tables[0] == tables[1]
  assert _manifest(tmp_path / "scores")["runs_used"] == len(outcomes)


def test_appending_to_scores_of_another_outcome_is_refused(experiment, tmp_path, capsys):
  assert _score(experiment, tmp_path, "correct") == 0
  before = _contents(tmp_path)
  capsys.readouterr()
  for outcome in ("probability", "margin"):
    assert _score(experiment, tmp_path, outcome, "--append") == 2
    error = capsys.readouterr().err
    assert error == (
      "heldout score: error: --append: the scores there were made with --outcome=correct, not "
      f"--outcome={outcome}: use the same, or score anew without --append\n"
    )
  assert _contents(tmp_path) == before


def test_the_outcomes_table_keeps_margins_bit_for_bit(experiment, outcomes, tmp_path):
  assert _score(experiment, tmp_path, "probability", "--correctness") == 0
  stored = duckdb.sql(
    f"select train_margin, test_margin from '{tmp_path}/outcomes/*.parquet' "
    "order by subset_ratio, run"
  ).fetchall()
  assert stored == [(each.train_margin, each.test_margin) for each in outcomes]
  margins = duckdb.sql(
    f"select margin from '{tmp_path}/correctness/*.parquet' where split = 'test' "
    "order by subset_ratio, run, example"
  ).fetchnumpy()["margin"]
  assert margins.dtype == np.float32
  assert np.array_equal(margins, np.concatenate([each.margins.test for each in outcomes]))


def _without_margins(outcome):
  return RunOutcome.pack(outcome.key, *outcome.unpack())


def test_runs_without_margins_are_skipped_where_margins_are_scored(tmp_path, outcomes, capsys):
  runs = tmp_path / "runs"
  write_experiment(runs, [*outcomes[:20], *map(_without_margins, outcomes[20:23])])
  infinite = outcomes[23]
  margins = Margins(infinite.margins.train, np.full(NUM_TEST, np.inf))
  write_experiment(runs, [RunOutcome.pack(infinite.key, *infinite.unpack(), margins)])
  assert _score(runs, tmp_path / "bits", "correct") == 0
  assert _manifest(tmp_path / "bits")["runs_used"] == 24
  assert _score(runs, tmp_path / "margins", "margin") == 0
  assert _manifest(tmp_path / "margins")["runs_used"] == 20
  reasons = dict(duckdb.sql(f"select * from '{tmp_path}/margins/skipped/*.parquet'").fetchall())
  assert reasons == {
    **{
      each.key.directory(str(runs)): "aux_arrays.npz records no margins: it has no array "
      "margin_train; --source=checkpoints finds them anew"
      for each in outcomes[20:23]
    },
    infinite.key.directory(
      str(runs)
    ): "aux_arrays.npz margin_test holds values that are not finite",
  }
  write_experiment(tmp_path / "good", outcomes[:20])
  assert _score(tmp_path / "good", tmp_path / "alone", "margin") == 0
  for table in ("examples", "cscores", "influence", "runs"):
    of_both = [
      duckdb.sql(f"select * from '{tmp_path}/{scores}/{table}/*.parquet' order by all").fetchall()
      for scores in ("margins", "alone")
    ]
    assert of_both[0] == of_both[1]
  capsys.readouterr()
  assert cli.main(["inspect", f"--experiment={runs}", "--outcome=margin"]) == 0
  assert "from recorded outcomes, 4 of 24 runs cannot be scored:" in capsys.readouterr().out
  assert cli.main(["inspect", f"--experiment={runs}"]) == 0
  assert "from recorded outcomes, every run can be scored" in capsys.readouterr().out


@SOFT
def test_checkpoints_give_what_their_runs_recorded(tmp_path, outcome):
  """To 1e-5, with which two evaluations of equal weights may differ on another device."""
  runs = tmp_path / "runs"
  train = ["train", f"--experiment={runs}", "--dataset=digits", "--model=mlp_small", "--epochs=1"]
  assert cli.main([*train, "--runs=0:6"]) == 0
  evaluated = ("--dataset=digits", "--source=checkpoints", "--model=mlp_small")
  assert _score(runs, tmp_path / "recorded", outcome, "--dataset=digits") == 0
  assert _score(runs, tmp_path / "evaluated", outcome, *evaluated) == 0
  for table, order in (("examples", "example"), ("cscores", "example")):
    recorded, found = (_rows(tmp_path / of, table, order) for of in ("recorded", "evaluated"))
    for name, column in recorded.items():
      np.testing.assert_allclose(_floats(found[name]), _floats(column), rtol=1e-5, atol=1e-5)
  bits = [_manifest(tmp_path / of)["rows"]["runs"] for of in ("recorded", "evaluated")]
  assert bits == [6, 6]


def test_runs_without_margins_are_scored_from_checkpoints(tmp_path):
  write_digits_experiment(tmp_path / "runs", range(3))
  flags = ("--dataset=digits", "--source=checkpoints", "--model=mlp")
  assert _score(tmp_path / "runs", tmp_path / "scores", "margin", *flags) == 0
  assert _manifest(tmp_path / "scores")["runs_used"] == 3
  means = _floats(_rows(tmp_path / "scores", "examples", "example")["mean_in"])
  assert np.isfinite(means).sum() > 1000


def test_one_run_leaves_deviations_null_and_two_of_a_side_do_not(tmp_path, outcomes):
  write_experiment(tmp_path / "runs", outcomes[:2])
  assert _score(tmp_path / "runs", tmp_path / "scores", "margin") == 0
  rows = _rows(tmp_path / "scores", "examples", "example")
  for runs_in, runs_out, mean_in, sd_in, score, se in zip(
    *(
      rows[name]
      for name in ("runs_in", "runs_out", "mean_in", "sd_in", "memorization", "memorization_se")
    ),
    strict=True,
  ):
    assert (mean_in is None) == (runs_in == 0)
    assert (sd_in is None) == (runs_in < 2)
    assert (score is None) == (runs_in == 0 or runs_out == 0)
    assert se is None


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (("--outcome=probability", "--min_influence=2"), "--min_influence=2.0: scores lie between -1"),
    (("--outcome=margin", "--min_memorization=nan"), "--min_memorization=nan: it must be finite"),
    (("--outcome=margin", "--min_influence=inf"), "--min_influence=inf: it must be finite"),
    (("--outcome=loss",), "argument --outcome: invalid choice: 'loss'"),
  ],
)
def test_unusable_flags_are_refused_in_one_line(experiment, tmp_path, capsys, flags, message):
  command = ["score", f"--experiment={experiment}", f"--scores={tmp_path / 'scores'}", *flags]
  assert cli.main(command) == 2
  assert message in capsys.readouterr().err
  assert not (tmp_path / "scores").exists()


def test_thresholds_of_margins_may_exceed_one(experiment, tmp_path):
  flags = ("--min_influence=3.5", "--min_memorization=2")
  assert _score(experiment, tmp_path, "margin", *flags) == 0
  assert all(pair[0] >= 3.5 and pair[2] >= 2 for pair in _found_pairs(tmp_path).values())


def test_recorded_margins_are_not_looked_at_where_bits_are_scored(tmp_path, outcomes):
  for name, recorded in (("with", outcomes), ("without", map(_without_margins, outcomes))):
    write_experiment(tmp_path / name, list(recorded))
    assert _score(tmp_path / name, tmp_path / f"scores-{name}", "correct") == 0
  assert _contents(tmp_path / "scores-with") == _contents(tmp_path / "scores-without")
