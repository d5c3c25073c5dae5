"""Outcomes in other tools' layouts, and back."""

import dataclasses
import json

import numpy as np
import pytest

from beam_pipelines import cli
from tests.helpers.layouts import (
  phi,
  read_experiment,
  stack,
  stack_margins,
  write_lira,
  write_trak,
)
from tests.helpers.outcomes import NUM_TRAIN, add_margins, make_outcomes, write_experiment
from tests.helpers.packs import without_test, without_train, write_pack

RUNS = 12


def _export(experiment, layout, directory, *flags):
  paths = [f"--experiment={experiment}", f"--format={layout}", f"--output={directory}"]
  return cli.main(["export", *paths, *flags])


def _import(experiment, layout, directory, *flags):
  source = [f"--experiment={experiment}", f"--from={layout}", f"--source={directory}"]
  if layout == "dattri":
    source.append(f"--num_train={NUM_TRAIN}")
  return cli.main(["import-outcomes", *source, *flags])


def _same_sizes(outcomes):
  """The outcomes, but for subsets of 18 examples, which dattri needs."""
  rng = np.random.default_rng(2)
  changed = []
  for outcome in outcomes:
    in_subset = np.zeros(NUM_TRAIN, bool)
    in_subset[rng.permutation(NUM_TRAIN)[:18]] = True
    packed = np.packbits(in_subset, bitorder="little").tobytes()
    changed.append(dataclasses.replace(outcome, in_subset=packed))
  return changed


@pytest.fixture
def outcomes():
  return _same_sizes(make_outcomes(0.5, range(RUNS)))


LOST = {"lira": without_test, "datamodels": list, "trak": list, "dattri": without_train}


def _bits(outcomes):
  return [(each.in_subset, each.train_correct, each.test_correct) for each in outcomes]


@pytest.mark.parametrize("layout", LOST)
def test_bits_come_back_from_every_layout(tmp_path, outcomes, layout, capsys):
  write_pack(tmp_path / "runs", outcomes[:7])
  write_experiment(tmp_path / "runs", outcomes[7:])
  assert _export(tmp_path / "runs", layout, tmp_path / layout) == 0
  captured = capsys.readouterr()
  assert captured.out == f"{layout}: 12 runs at ratio 0.5, into {tmp_path / layout}\n"
  assert "not all runs record margins: +1 stands for right, -1 for wrong" in captured.err
  assert _import(tmp_path / "back", layout, tmp_path / layout) == 0
  assert _bits(read_experiment(tmp_path / "back")) == _bits(LOST[layout](outcomes))
  (manifest,) = (tmp_path / "back").glob("0.5/packed/*/manifest.json")
  assert json.loads(manifest.read_text())["margin"] is None


@pytest.mark.parametrize("layout", LOST)
def test_margins_and_the_bits_that_they_do_not_tell_come_back(tmp_path, outcomes, layout):
  outcomes = add_margins(outcomes)
  # An example may be right with a probability below 1/2: then its margin is negative.
  first = outcomes[0]
  flipped = np.where(first.unpack()[2], -0.25, first.margins.test).astype("<f4")
  outcomes[0] = dataclasses.replace(first, test_margin=flipped.tobytes())
  write_experiment(tmp_path / "runs", outcomes)
  assert _export(tmp_path / "runs", layout, tmp_path / layout) == 0
  assert _import(tmp_path / "back", layout, tmp_path / layout) == 0
  expected = LOST[layout](outcomes)
  if layout == "dattri":
    expected = outcomes  # which has correctness on training examples beside, without margins
  assert _bits(read_experiment(tmp_path / "back")) == _bits(expected)
  if layout == "dattri":
    return
  margins = [
    stack_margins(each)
    for each in (read_experiment(tmp_path / "back", with_margins=True), outcomes)
  ]
  if layout == "datamodels":
    margins[1] = [side.astype(np.float16) for side in margins[1]]
  np.testing.assert_array_equal(margins[0][0], margins[1][0])
  if layout != "lira":
    np.testing.assert_array_equal(margins[0][1], margins[1][1])


def test_what_trak_reads(tmp_path, outcomes):
  outcomes = add_margins(outcomes)
  write_experiment(tmp_path / "runs", outcomes)
  assert _export(tmp_path / "runs", "trak", tmp_path / "trak") == 0
  write_trak(tmp_path / "expected", outcomes)
  for name in ("mask", "val_margins"):
    written, expected = (np.load(tmp_path / of / f"{name}.npy") for of in ("trak", "expected"))
    assert written.dtype == expected.dtype
    np.testing.assert_array_equal(written, expected)


def test_what_dattri_reads(tmp_path, outcomes):
  outcomes = add_margins(outcomes)
  write_experiment(tmp_path / "runs", outcomes)
  assert _export(tmp_path / "runs", "dattri", tmp_path / "dattri") == 0
  indices, targets = (
    np.load(tmp_path / "dattri" / f"{name}.npy") for name in ("indices", "target_values")
  )
  masks, *_ = stack(outcomes)
  assert indices.tolist() == [np.flatnonzero(mask).tolist() for mask in masks]
  losses = np.log1p(np.exp(-stack_margins(outcomes)[1].astype(float)))
  np.testing.assert_allclose(targets, -losses, rtol=1e-9)


def test_what_a_datamodels_store_holds(tmp_path, outcomes):
  outcomes = add_margins(outcomes)
  write_pack(tmp_path / "runs", outcomes)
  assert _export(tmp_path / "runs", "datamodels", tmp_path / "store") == 0
  opened = {
    name: np.load(tmp_path / "store" / f"{name}.npy", mmap_mode="r")
    for name in ("_completed", "masks", "margins")
  }
  assert opened["_completed"].tolist() == [True] * RUNS
  np.testing.assert_array_equal(opened["masks"], stack(outcomes)[0])
  assert opened["margins"].dtype == np.float16


def test_what_lira_reads(tmp_path, outcomes):
  outcomes = add_margins(outcomes)
  write_experiment(tmp_path / "runs", outcomes)
  assert _export(tmp_path / "runs", "lira", tmp_path / "exp") == 0
  for outcome in outcomes:
    model = tmp_path / "exp" / f"experiment-{outcome.key.run}_{RUNS}"
    np.testing.assert_array_equal(np.load(model / "keep.npy"), outcome.unpack()[0])
    (path,) = (model / "scores").iterdir()
    scores = np.load(path)
    assert scores.shape == (NUM_TRAIN, 1)
    np.testing.assert_array_equal(scores[:, 0], outcome.margins.train)


def test_lira_s_scores_are_margins_by_logsumexp(outcomes, tmp_path):
  labels = np.arange(NUM_TRAIN) % 10
  logits = write_lira(tmp_path / "exp", outcomes[:1], labels)[0]
  others = logits.copy()
  others[np.arange(NUM_TRAIN), :, labels] = -np.inf
  expected = logits[np.arange(NUM_TRAIN), :, labels] - np.logaddexp.reduce(others, axis=2)
  np.testing.assert_allclose(phi(logits[:, None], labels), expected, rtol=1e-6)


def test_float16_margins_keep_their_sign_and_stay_finite(tmp_path, outcomes):
  outcome = add_margins(outcomes)[0]
  extremes = np.zeros(11, "<f4")
  extremes[:4] = 1e-30, -1e-30, 1e30, -1e30
  margins = dataclasses.replace(outcome, test_margin=extremes.tobytes())
  write_experiment(tmp_path / "runs", [margins])
  assert _export(tmp_path / "runs", "datamodels", tmp_path / "store") == 0
  (written,) = np.load(tmp_path / "store" / "margins.npy")
  assert np.sign(written[:5]).tolist() == [1, -1, 1, -1, 0]
  assert np.isfinite(written).all()


def test_margins_of_another_kind_are_said(tmp_path, outcomes, capsys):
  write_experiment(tmp_path / "runs", add_margins(outcomes))
  assert _export(tmp_path / "runs", "datamodels", tmp_path / "store") == 0
  assert (
    "margins are by logsumexp, which are not those that datamodels is known for"
    in capsys.readouterr().err
  )
  assert json.loads((tmp_path / "store" / "heldout.json").read_text())["margin"] == "logsumexp"


def test_runs_that_cannot_be_used_are_left_out_with_the_reason(tmp_path, outcomes, capsys):
  write_experiment(tmp_path / "runs", outcomes)
  (tmp_path / "runs" / "0.5" / "3" / "aux_arrays.npz").write_bytes(b"PK")
  write_experiment(tmp_path / "runs", make_outcomes(0.5, [50], num_test=10))
  assert _export(tmp_path / "runs", "trak", tmp_path / "trak") == 0
  out = capsys.readouterr().out
  assert out.startswith("trak: 11 runs at ratio 0.5")
  assert f"left out 2 inputs:\n  {tmp_path}/runs/0.5/3 aux_arrays.npz cannot be read" in out
  assert f"  {tmp_path}/runs/0.5/50 is of 37 training and 10 test examples, not 37 and 11" in out
  assert len(np.load(tmp_path / "trak" / "mask.npy")) == 11


def _mixed_sizes(outcomes):
  return [*outcomes, *make_outcomes(0.5, [RUNS])]


REFUSED = {
  "no test outcomes": (without_test, ["trak"], "records no outcomes on test examples, of which"),
  "no train outcomes": (without_train, ["lira"], "records no outcomes on training examples, of"),
  "sizes": (_mixed_sizes, ["dattri"], "and dattri needs subsets of one size: choose another"),
  "no such ratio": (list, ["trak", "--ratio=0.7"], "holds no runs at ratio 0.7, but at 0.5"),
  "labels": (list, ["trak", "--dataset=digits"], "--dataset: --format=trak has no labels"),
  "both": (list, ["trak", "--scores=x"], "--format=trak needs --experiment, and no --scores"),
}


@pytest.mark.parametrize("refused", REFUSED)
def test_what_cannot_be_written_is_one_line(tmp_path, outcomes, refused, capsys):
  change, (layout, *flags), reason = REFUSED[refused]
  write_pack(tmp_path / "runs", change(outcomes))
  assert _export(tmp_path / "runs", layout, tmp_path / "out", *flags) == 2
  error = capsys.readouterr().err
  assert reason in error
  assert error.count("\n") == 1
  assert not list(tmp_path.glob("out/*.npy"))


def test_flags_and_places_that_do_not_go_with_the_format(tmp_path, outcomes, capsys):
  write_pack(tmp_path / "runs", outcomes)
  assert cli.main(["export", "--format=trak", f"--output={tmp_path}/trak"]) == 2
  assert "--format=trak needs --experiment" in capsys.readouterr().err
  assert _export(tmp_path / "runs", "trak", "-") == 2
  assert "--output: --format=trak is a directory of files" in capsys.readouterr().err
  assert _export(tmp_path / "runs", "cscores", tmp_path / "x.npz") == 2
  assert "--format=cscores needs --scores, and no --experiment" in capsys.readouterr().err
  assert _export(tmp_path / "runs", "trak", tmp_path / "runs") == 2
  assert "is there: choose a new directory" in capsys.readouterr().err


def test_a_damaged_note_is_one_line(tmp_path, outcomes, capsys):
  write_experiment(tmp_path / "runs", outcomes)
  assert _export(tmp_path / "runs", "trak", tmp_path / "trak") == 0
  (tmp_path / "trak" / "heldout.json").write_text('{"margin": "median"}')
  capsys.readouterr()
  assert _import(tmp_path / "back", "trak", tmp_path / "trak") == 2
  assert "heldout.json: 'median' is no kind of margins" in capsys.readouterr().err


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
  root = tmp_path_factory.mktemp("scores")
  write_experiment(root / "runs", make_outcomes(0.5, range(RUNS)))
  flags = ["--dense", "--pairs=all"]
  score = ["score", f"--experiment={root}/runs", f"--scores={root}/scores", *flags]
  assert cli.main(score) == 0
  return root / "scores"


def test_scores_as_csv_and_npy(scores, tmp_path, capsys):
  export = ["export", f"--scores={scores}"]
  for name in ("memorization", "influence"):
    for suffix in ("csv", "npy"):
      flags = [f"--format={name}_{suffix}", f"--output={tmp_path}/{name}.{suffix}"]
      assert cli.main([*export, *flags]) == 0
  table = np.genfromtxt(tmp_path / "memorization.csv", delimiter=",", names=True)
  assert table.dtype.names == ("example", "memorization")
  memorization = np.load(tmp_path / "memorization.npy")
  np.testing.assert_array_equal(table["memorization"], memorization)
  pairs = np.genfromtxt(tmp_path / "influence.csv", delimiter=",", names=True)
  assert pairs.dtype.names == ("train_example", "test_example", "influence", "memorization")
  train, test = pairs["train_example"].astype(int), pairs["test_example"].astype(int)
  influence = np.load(tmp_path / "influence.npy")
  assert influence.shape == (NUM_TRAIN, 11)
  np.testing.assert_allclose(influence[train, test], pairs["influence"], rtol=1e-6)
  np.testing.assert_array_equal(memorization[train], pairs["memorization"])
  capsys.readouterr()
  compare = ["compare", str(scores), f"{tmp_path}/memorization.npy", "--kind=memorization"]
  assert cli.main(compare) == 0
