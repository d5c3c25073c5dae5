import io

import numpy as np
import pytest
from PIL import Image

from beam_pipelines import cli
from tests.helpers.outcomes import (
  NUM_TEST,
  NUM_TRAIN,
  make_outcomes,
  write_experiment,
  write_few_digits,
)

RATIO = 0.7


@pytest.fixture(scope="module")
def outcomes():
  return make_outcomes(0.3, range(4)) + make_outcomes(RATIO, range(40))


@pytest.fixture(scope="module")
def directory(tmp_path_factory, outcomes):
  """Scores of selected pairs, and with `--dense` beside them."""
  directory = tmp_path_factory.mktemp("explain")
  write_experiment(directory / "runs", outcomes)
  spec = write_few_digits(directory / "digits.npz")
  for name, *flags in (("selected", "--pairs=all"), ("dense", "--dense")):
    flags += [f"--experiment={directory}/runs", f"--dataset={spec}"]
    assert cli.main(["score", *flags, f"--scores={directory}/{name}"]) == 0
  return directory


def _explain(directory, name, *flags):
  places = [f"--scores={directory}/{name}", f"--dataset=npz:{directory}/digits.npz"]
  return cli.main(["explain", *places, *flags])


def _brute_force(outcomes, train, test):
  """Influence and its Agresti-Caffo standard error, run by run."""
  runs = [outcome.unpack() for outcome in outcomes if outcome.key.subset_ratio == RATIO]
  sides = [
    [bool(c[test]) for saw, _, c in runs if bool(saw[train]) is side] for side in (True, False)
  ]
  adjusted = [((sum(side) + 1) / (len(side) + 2), len(side) + 2) for side in sides]
  error = sum(p * (1 - p) / n for p, n in adjusted) ** 0.5
  return sum(sides[0]) / len(sides[0]) - sum(sides[1]) / len(sides[1]), error


def _rows(out):
  return [line.split() for line in out.splitlines()[2:]]


@pytest.mark.parametrize("side", ["train", "test"])
def test_the_strongest_of_all_pairs_with_their_errors(directory, outcomes, side, capsys):
  capsys.readouterr()
  assert _explain(directory, "dense", f"--{side}_example=3", "--count=5") == 0
  out = capsys.readouterr().out
  others = NUM_TEST if side == "train" else NUM_TRAIN
  pairs = [(3, other) if side == "train" else (other, 3) for other in range(others)]
  truth = [_brute_force(outcomes, *pair) for pair in pairs]
  strongest = sorted(range(others), key=lambda other: (-abs(np.float32(truth[other][0])), other))
  rows = _rows(out)
  assert [int(row[0]) for row in rows] == strongest[:5]
  for row in rows:
    influence, error = truth[int(row[0])]
    assert row[2:4] == [f"{influence:.3f}", f"{error:.3f}"]
  other = {"train": "test", "test": "training"}[side]
  assert f"from the dense influence, {others} {other} examples, at ratio 0.7, the larg" in out
  assert ", the largest absolute influence first\n" in out
  assert ("memorization" in out.splitlines()[0]) == (side == "train")


def test_without_a_dense_matrix_it_is_the_selected_pairs(directory, outcomes, capsys):
  capsys.readouterr()
  assert _explain(directory, "selected", "--test_example=0") == 0
  out = capsys.readouterr().out
  assert "from the selected pairs, " in out
  rows = _rows(out)
  assert rows
  for row in rows:
    influence, error = _brute_force(outcomes, int(row[0]), 0)
    assert row[2:4] == [f"{influence:.3f}", f"{error:.3f}"]
    assert influence >= 0.15
    assert float(row[4]) >= 0.25
  assert [float(row[2]) for row in rows] == sorted((float(row[2]) for row in rows), reverse=True)


def test_no_selected_pair_is_said(directory, capsys):
  capsys.readouterr()
  assert _explain(directory, "selected", "--test_example=0", "--ratio=0.3") == 0
  assert "of this example, at ratio 0.3" in capsys.readouterr().out


def test_a_picture_shows_them(directory, tmp_path, capsys):
  output = tmp_path / "3.png"
  assert _explain(directory, "dense", "--test_example=3", f"--output={output}") == 0
  assert capsys.readouterr().out.endswith(f"\npicture: {output}\n")
  picture = Image.open(io.BytesIO(output.read_bytes()))
  assert picture.format == "PNG"
  assert len(picture.convert("L").getcolors(256)) > 16  # digits have 17 levels
  again = tmp_path / "again.png"
  assert _explain(directory, "dense", "--test_example=3", f"--output={again}") == 0
  assert again.read_bytes() == output.read_bytes()


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--test_example=11"], "holds scores of 11 test examples, and none of 11"),
    (["--train_example=-1"], "holds scores of 37 training examples, and none of -1"),
    ([], "one of the arguments --test_example --train_example is required"),
    (["--test_example=1", "--train_example=1"], "not allowed with argument"),
    (["--test_example=1", "--count=0"], "--count=0: at least one example is shown"),
    (["--test_example=1", "--ratio=0.5"], "holds scores at 0.3, 0.7; choose one of them"),
    (["--test_example=1", "--dataset=digits"], "the data set digits has 1,437 training and 360"),
  ],
)  # fmt: skip
def test_what_cannot_be_explained_is_one_line(directory, flags, message, capsys):
  capsys.readouterr()
  assert _explain(directory, "selected", *flags) == 2
  captured = capsys.readouterr()
  assert message in captured.err
  assert captured.err.count("\n") == 1
