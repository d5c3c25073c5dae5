"""`heldout import-outcomes` of LiRA's directories, and of lira-pytorch's."""

import math

import numpy as np
import pytest

from tests.helpers.imports import (
  RUNS,
  import_outcomes,
  make_with_margins,
  rows_of,
  score,
)
from tests.helpers.layouts import (
  read_experiment,
  stack,
  stack_margins,
  write_lira,
  write_lira_pytorch,
)
from tests.helpers.outcomes import (
  NUM_TRAIN,
  write_few_digits,
)


@pytest.fixture
def outcomes():
  return make_with_margins()


def _labels(outcomes):
  return np.random.default_rng(1).integers(0, 10, outcomes[0].num_train)


def test_a_lira_directory_imports_and_scores(tmp_path, outcomes, capsys):
  labels = _labels(outcomes)
  logits = write_lira(tmp_path / "exp", outcomes, labels)
  assert import_outcomes(tmp_path / "runs", "--from=lira", f"--source={tmp_path}/exp") == 0
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
  assert score(tmp_path / "runs", tmp_path / "scores", f"--dataset={spec}") == 0
  memorization = [
    row[0] for row in rows_of(tmp_path / "scores", "examples", "memorization, example")
  ]
  in_ = (correct & masks).sum(axis=0) / masks.sum(axis=0)
  out_ = (correct & ~masks).sum(axis=0) / (~masks).sum(axis=0)
  np.testing.assert_allclose(sorted(memorization), sorted(in_ - out_))
  assert rows_of(tmp_path / "scores", "influence") == []
  assert "no outcomes on test examples are recorded" in capsys.readouterr().err


def test_models_of_lira_are_rows_by_their_number_and_unfinished_ones_are_left_out(
  tmp_path, outcomes, capsys
):
  write_lira(tmp_path / "exp", outcomes, _labels(outcomes), logits=False)
  for kind in (tmp_path / "exp" / "experiment-3_20" / "scores").iterdir():
    kind.unlink()
  assert import_outcomes(tmp_path / "runs", "--from=lira", f"--source={tmp_path}/exp") == 0
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
  assert import_outcomes(tmp_path / "runs", "--from=lira", f"--source={tmp_path}/exp") == 0
  read = read_experiment(tmp_path / "runs")
  assert [each.train_correct for each in read] == [each.train_correct for each in outcomes]


@pytest.mark.parametrize("with_labels", [False, True])
def test_lira_pytorch(tmp_path, outcomes, with_labels):
  labels = _labels(outcomes)
  write_lira_pytorch(tmp_path / "exp", outcomes, labels)
  np.save(tmp_path / "labels.npy", labels)
  flags = [f"--labels={tmp_path}/labels.npy"] if with_labels else []
  assert import_outcomes(tmp_path / "runs", "--from=lira", f"--source={tmp_path}/exp", *flags) == 0
  read = read_experiment(tmp_path / "runs")
  assert [each.train_correct for each in read] == [each.train_correct for each in outcomes]


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
  assert import_outcomes(tmp_path / "runs", "--from=lira", f"--source={tmp_path}/exp") == 2
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
  assert import_outcomes(tmp_path / "runs", "--from=lira", f"--source={tmp_path}/exp") == 0
  out = capsys.readouterr().out
  assert "left out 1 rows:\n  row 5 " in out
  assert reason in out


def _claim(path, dtype, shape):
  """Writes a sparse file that says, and has, as many bytes as an array of this shape."""
  with open(path, "wb") as file:
    described = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
    file.truncate(file.tell() + math.prod(shape) * np.dtype(dtype).itemsize)


def test_more_examples_than_memory_takes_are_refused_before_they_are_read(
  tmp_path, outcomes, capsys
):
  write_lira(tmp_path / "exp", outcomes, _labels(outcomes), logits=False)
  keep = min((tmp_path / "exp").glob("*/keep.npy"))
  _claim(keep, "|b1", (6_000_000_000,))
  assert import_outcomes(tmp_path / "runs", "--from=lira", f"--source={tmp_path}/exp") == 2
  error = capsys.readouterr().err
  assert f"{keep} is of 6,000,000,000 examples: 1 to 268,435,456 can be imported" in error
  assert error.count("\n") == 1


def test_a_model_of_another_size_is_left_out_before_it_is_read(tmp_path, outcomes, capsys):
  """Which of its files it is: none of them fits in memory."""
  write_lira(tmp_path / "exp", outcomes, _labels(outcomes), logits=False)
  models = [tmp_path / "exp" / f"experiment-{number}_20" for number in (3, 4)]
  _claim(models[0] / "keep.npy", "|b1", (1 << 36,))
  _claim(max((models[1] / "scores").iterdir()), "<f4", (1 << 34, 1))
  assert import_outcomes(tmp_path / "runs", "--from=lira", f"--source={tmp_path}/exp") == 0
  out = capsys.readouterr().out
  assert "left out 2 rows:" in out
  assert "keep.npy has shape (68719476736,), the first has (37,)" in out
  assert "has shape (17179869184, 1): scores are (n, augmentations)" in out


def test_logits_are_judged_in_blocks_of_bytes(tmp_path, outcomes, monkeypatch):
  labels = _labels(outcomes)
  write_lira(tmp_path / "exp", outcomes, labels)
  flags = ["--from=lira", f"--source={tmp_path}/exp"]
  assert import_outcomes(tmp_path / "whole", *flags) == 0
  monkeypatch.setattr("beam_pipelines.storage.layouts.lira._BLOCK_BYTES", 8 * 2 * 10 * 5 + 1)
  assert import_outcomes(tmp_path / "blocks", *flags) == 0
  options = {"with_margins": True}
  assert read_experiment(tmp_path / "blocks", **options) == (
    read_experiment(tmp_path / "whole", **options)
  )


@pytest.mark.parametrize("kind", ["logits", "scores"])
def test_more_augmentations_than_memory_takes_are_left_out(tmp_path, outcomes, kind, capsys):
  write_lira(tmp_path / "exp", outcomes, _labels(outcomes), logits=kind == "logits")
  path = tmp_path / "exp" / "experiment-3_20" / kind / "0000000100.npy"
  shape = (1 << 30,) if kind == "scores" else (1, 1 << 27, 10)
  _claim(path, "<f8", (NUM_TRAIN, *shape))
  assert import_outcomes(tmp_path / "runs", "--from=lira", f"--source={tmp_path}/exp") == 0
  out = capsys.readouterr().out
  assert f"  row 3 {path} has {math.prod(shape):,} numbers for each example, more than the " in out


def test_more_labels_than_memory_takes_are_refused(tmp_path, outcomes, capsys):
  write_lira(tmp_path / "exp", outcomes, _labels(outcomes))
  _claim(tmp_path / "exp" / "y_train.npy", "<i8", (1 << 36,))
  assert import_outcomes(tmp_path / "runs", "--from=lira", f"--source={tmp_path}/exp") == 2
  error = capsys.readouterr().err
  assert "y_train.npy has 68,719,476,736 labels: at most 268,435,456 can be imported" in error
  assert error.count("\n") == 1
