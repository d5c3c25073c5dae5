"""What goes wrong where scores are matched with examples: `--order`, `--match`, `explain`."""

import shutil

import numpy as np
import pytest

from beam_pipelines import cli
from beam_pipelines.storage.scores.manifest import write_stub
from tests.helpers.outcomes import (
  NUM_TEST,
  NUM_TRAIN,
  make_outcomes,
  write_experiment,
  write_few_digits,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  """Scores with an index of a few digits, `scores`, without one, `bare`, and other data sets."""
  root = tmp_path_factory.mktemp("matches")
  write_few_digits(root / "digits.npz")
  write_experiment(root / "runs", make_outcomes(0.7, range(12)))
  arrays = dict(np.load(root / "digits.npz"))
  images, labels = "train__image", "train__label"
  changed = {
    "relabelled": {labels: (arrays[labels] + 1) % 10},
    "shorter": {images: arrays[images][:30], labels: arrays[labels][:30]},
    "others": {images: 16 - arrays[images]},
    "doubled": {name: arrays[name][[0, 0, *range(2, 37)]] for name in (images, labels)},
  }
  for name, change in changed.items():
    np.savez(root / f"{name}.npz", **arrays | change)
  score = ["score", f"--experiment={root}/runs"]
  assert cli.main([*score, f"--scores={root}/bare"]) == 0
  for name in ("digits", "others"):
    scores = root / ("scores" if name == "digits" else name)
    assert cli.main([*score, f"--scores={scores}", f"--dataset=npz:{root}/{name}.npz"]) == 0
  for name in ("incomplete", "damaged", "lost"):
    shutil.copytree(root / "scores", root / name)
  write_stub(str(root / "incomplete"), "runs", "job")
  part = min((root / "damaged" / "index").glob("*.parquet"))
  content = bytearray(part.read_bytes())
  content[len(content) // 2] ^= 1
  part.write_bytes(content)
  min((root / "lost" / "index").glob("*.parquet")).unlink()
  return root


EXPORT = "export --scores={root}/%s --format=cscores --output={root}/new"
EXPLAIN = "explain --scores={root}/%s --dataset=npz:{root}/%s.npz --output={root}/new"
CASES = {
  "order of others": (
    EXPORT % "scores" + " --order=npz:{root}/others.npz",
    "{root}/scores cannot be put into the order of npz:{root}/others.npz: 37 of 37 examples",
  ),
  "order of fewer": (
    EXPORT % "scores" + " --order=npz:{root}/shorter.npz",
    "shorter.npz: 7 of 37 examples are not in it, its train example 30 is not there: give the",
  ),
  "order of other labels": (
    EXPORT % "scores" + " --order=npz:{root}/relabelled.npz",
    "labels disagree: training example 0 of {root}/scores is of class 7, and of class 8 in",
  ),
  "order of doubles": (
    EXPORT % "scores" + " --order=npz:{root}/doubled.npz",
    "doubled.npz: 1 of 37 examples",
  ),
  "order of unknown": (
    EXPORT % "scores" + " --order=digitz",
    "unknown data set 'digitz' (did you mean digits?)",
  ),
  "order without index": (
    EXPORT % "bare" + " --order=npz:{root}/digits.npz",
    "{root}/bare has no index of its train examples: score again with the data set",
  ),
  "order, incomplete": (
    EXPORT % "incomplete" + " --order=npz:{root}/digits.npz",
    "{root}/incomplete is incomplete: run `heldout score` again",
  ),
  "order, damaged": (
    EXPORT % "damaged" + " --order=npz:{root}/digits.npz",
    "is not the file that manifest.json names: it was changed or damaged; score again, or put",
  ),
  "order, lost": (
    EXPORT % "lost" + " --order=npz:{root}/digits.npz",
    "{root}/lost/index/test-from-00000000.parquet is missing: score again, or put it back",
  ),
  "match without index": (
    "compare {root}/scores {root}/bare --match=pixels",
    "B ({root}/bare) and A ({root}/scores) cannot be matched by pixels, which must be known",
  ),
  "match by no ids": (
    "compare {root}/scores {root}/scores --match=id",
    "cannot be matched by ids, which must be known of both: score with the data set, or match",
  ),
  "match of others": (
    "compare {root}/scores {root}/others --match=pixels",
    "A and B have nothing in common",
  ),
  "match by nothing": (
    "compare {root}/scores {root}/scores --match=colour",
    "argument --match: invalid choice: 'colour'",
  ),
  "match, incomplete": (
    "compare {root}/scores {root}/incomplete --match=pixels",
    "{root}/incomplete is incomplete: run `heldout score` again",
  ),
  "match, damaged": (
    "compare {root}/scores {root}/damaged --match=pixels",
    "is not the file that manifest.json names",
  ),
  "explain beyond": (
    EXPLAIN % ("scores", "digits") + f" --test_example={NUM_TEST}",
    "{root}/scores holds scores of 11 test examples, and none of 11",
  ),
  "explain train beyond": (
    EXPLAIN % ("scores", "digits") + f" --train_example={NUM_TRAIN}",
    "{root}/scores holds scores of 37 training examples, and none of 37",
  ),
  "explain below": (
    EXPLAIN % ("scores", "digits") + " --test_example=-1",
    "{root}/scores holds scores of 11 test examples, and none of -1",
  ),
  "explain nothing": (
    EXPLAIN % ("scores", "digits"),
    "one of the arguments --test_example --train_example is required",
  ),
  "explain both": (
    EXPLAIN % ("scores", "digits") + " --test_example=1 --train_example=1",
    "argument --train_example: not allowed with argument --test_example",
  ),
  "explain none": (
    EXPLAIN % ("scores", "digits") + " --test_example=1 --count=0",
    "--count=0: at least one example is shown",
  ),
  "explain no ratio": (
    EXPLAIN % ("scores", "digits") + " --test_example=1 --ratio=0.5",
    "--ratio=0.5: {root}/scores holds scores at 0.7; choose one of them",
  ),
  "explain fewer": (
    EXPLAIN % ("scores", "shorter") + " --test_example=1",
    "shorter.npz has 30 training and 11 test examples: give the data set that was scored",
  ),
  "explain other labels": (
    EXPLAIN % ("scores", "relabelled") + " --test_example=1",
    "training example 0 is of class 7 in table examples, of class 8 in the data set",
  ),
  "explain others": (
    EXPLAIN % ("scores", "others") + " --test_example=1",
    "training example 0 has other pixels in the data set npz:{root}/others.npz, as have 37 of 37",
  ),
  "explain, incomplete": (
    EXPLAIN % ("incomplete", "digits") + " --test_example=1",
    "{root}/incomplete is incomplete: run `heldout score` again",
  ),
  "explain, damaged": (
    EXPLAIN % ("damaged", "digits") + " --test_example=1",
    "is not the file that manifest.json names",
  ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_matched_is_one_line(root, name, capsys):
  line, message = CASES[name]
  command, *flags = line.format(root=root).split()
  assert cli.main([command, *flags]) == 2
  error = capsys.readouterr().err
  assert error.startswith(f"heldout {command}: error: ")
  assert error.count("\n") == 1
  assert message.format(root=root) in error
  assert not (root / "new").exists()
