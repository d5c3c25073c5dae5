import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from beam_pipelines import cli, compare
from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.scores import published
from beam_pipelines.storage.scores.index import index_parts
from beam_pipelines.storage.scores.manifest import read_manifest
from beam_pipelines.storage.scores.publication import publish
from beam_pipelines.storage.scores.tables import make_table
from image_datasets import load_dataset
from tests.helpers.outcomes import NUM_TRAIN, make_outcomes, write_experiment, write_few_digits
from tests.helpers.scores import make_manifest, make_ratio, stage_tables, vouch_for

DATA = Path(__file__).parents[1] / "data" / "published"
PAIRS = DATA / "cifar100_high_infl_pairs_infl0.15_mem0.25.npz"
CIFAR10 = DATA / "cifar10-cscores-first-500.npz"
CIFAR100 = DATA / "cifar100-cscores-first-500.npz"


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
  """Scores of generated outcomes of the real digits: more runs at ratio 0.7."""
  return _score(tmp_path_factory.mktemp("compare"), {0.3: 12, 0.7: 40})


def _score(directory, runs):
  digits = load_dataset("digits")
  sizes = {"num_train": len(digits.train), "num_test": len(digits.test)}
  for ratio, count in runs.items():
    write_experiment(directory / "runs", make_outcomes(ratio, range(count), **sizes))
  flags = [f"--experiment={directory / 'runs'}", f"--scores={directory / 'scores'}"]
  assert cli.main(["score", *flags, "--dataset=digits", "--min_influence=0.5", "--dense"]) == 0
  return directory / "scores"


def _compare(capsys, a, b, *flags):
  capsys.readouterr()
  status = cli.main(["compare", str(a), str(b), *flags])
  captured = capsys.readouterr()
  if status == 0:
    assert captured.err == ""
    return captured.out
  assert status == 2
  assert captured.out == ""
  assert captured.err.startswith("heldout compare: error: ")
  assert captured.err.count("\n") == 1
  return captured.err


def _summary(out):
  """The rows of the summary: by kind, one dict of columns."""
  lines = out.split("\n\n")[1].splitlines()
  header = lines[0].replace("in A", "in_A").replace("in B", "in_B").replace("in both", "in_both")
  names = header.replace("mean |A-B|", "mean").split()
  rows = (line.split() for line in lines[1:])
  return {kind: dict(zip(names, cells, strict=True)) for kind, *cells in rows}


def _differences(out, kind):
  (block,) = [
    block for block in out.split("\n\n") if block.startswith(f"largest differences in {kind}")
  ]
  return [line.split() for line in block.splitlines()[1:]]


def _changed(path, source, **changes):
  with np.load(source) as archive:
    arrays = dict(archive)
  for name, change in changes.items():
    arrays[name] = change(arrays[name])
  np.savez(path, **arrays)
  return path


def test_a_published_file_agrees_with_itself(capsys):
  out = _compare(capsys, PAIRS, PAIRS)
  lines = out.splitlines()
  what = "memorization of 964 examples, influence of 1,015 pairs (964 training, 888 test examples)"
  assert lines[:2] == [f"A  {PAIRS}: {what}", f"B  {PAIRS}: {what}"]
  perfect = {"Jaccard": "1.0000", "undefined": "0", "Pearson": "1.0000", "Spearman": "1.0000"}
  assert _summary(out) == {
    "memorization": {"in_A": "964", "in_B": "964", "in_both": "964", **perfect, "mean": "0"},
    "influence": {"in_A": "1,015", "in_B": "1,015", "in_both": "1,015", **perfect, "mean": "0"},
  }
  assert "largest differences" not in out


def test_cscores_are_matched_by_example(tmp_path, capsys):
  def change(scores):
    changed = scores.copy()
    changed[7], changed[100], changed[3] = scores[7] - 0.5, scores[100] + 0.25, np.nan
    return changed

  other = _changed(tmp_path / "x.npz", CIFAR10, scores=change)
  out = _compare(capsys, CIFAR10, other, "--largest=5")
  with np.load(CIFAR10) as archive:
    labels, scores = archive["labels"], archive["scores"]
  defined = np.arange(500) != 3
  pearson = np.corrcoef(scores[defined], change(scores)[defined])[0, 1]
  row = _summary(out)["C-score"]
  assert (row["in_both"], row["undefined"]) == ("500", "1")
  assert row["Pearson"] == f"{pearson:.4f}"
  assert row["mean"] == f"{0.75 / 499:.3g}"
  assert _differences(out, "C-score") == [
    ["example", "label", "A", "B", "A-B"],
    ["7", str(labels[7]), f"{scores[7]:.4f}", f"{scores[7] - 0.5:.4f}", "0.5"],
    ["100", str(labels[100]), f"{scores[100]:.4f}", f"{scores[100] + 0.25:.4f}", "-0.25"],
  ]


def test_pairs_are_matched_by_both_examples(tmp_path, capsys):
  half = {name: lambda array: array[:500] for name in ("tr_idx", "tt_idx", "infl", "mem")}
  other = _changed(tmp_path / "x.npz", PAIRS, **half)
  with np.load(other) as archive:
    influence = archive["infl"].copy()
    train, test = archive["tr_idx"], archive["tt_idx"]
  influence[9] += 0.125
  other = _changed(other, other, infl=lambda _: influence)
  out = _compare(capsys, other, PAIRS)
  row = _summary(out)["influence"]
  assert [row[name] for name in ("in_A", "in_B", "in_both")] == ["500", "1,015", "500"]
  assert row["Jaccard"] == f"{500 / 1015:.4f}"
  header, *rows = _differences(out, "influence")
  assert header == ["training", "test", "label", "A", "B", "A-B"]
  values = [f"{influence[9]:.4f}", f"{influence[9] - 0.125:.4f}", "0.125"]
  assert rows == [[str(train[9]), str(test[9]), "-", *values]]


@pytest.mark.parametrize("format_name", published.FORMATS)
def test_scores_equal_their_export(scores, tmp_path, format_name, capsys):
  output = tmp_path / "x.npz"
  flags = [f"--scores={scores}", f"--format={format_name}", f"--output={output}"]
  assert cli.main(["export", *flags, "--dataset=digits"]) == 0
  out = _compare(capsys, scores, output)
  assert out.startswith(f"A  {scores} at ratio 0.7: C-score of 1,437 examples, memorization of ")
  table = _summary(out)
  assert list(table) == (["C-score"] if format_name == "cscores" else ["memorization", "influence"])
  for row in table.values():
    assert row["in_both"] == min(row["in_A"], row["in_B"], key=_integer) != "0"
    assert (row["Pearson"], row["Spearman"], row["mean"]) == ("1.0000", "1.0000", "0")
  assert "largest differences" not in out


def _integer(text):
  return int(text.replace(",", ""))


def test_scores_directories_are_compared_in_every_kind(scores, tmp_path, capsys):
  other = _score(tmp_path, {0.3: 30, 0.7: 10})
  out = _compare(capsys, scores, other, "--ratio=0.7", "--largest=3")
  table = _summary(out)
  assert list(table) == ["C-score", "memorization", "influence"]
  assert 0.5 < float(table["memorization"]["Pearson"]) < 1
  assert 0 < float(table["influence"]["Jaccard"]) < 1
  for kind in table:
    differences = [abs(float(row[-1])) for row in _differences(out, kind)[1:]]
    assert len(differences) == 3
    assert differences == sorted(differences, reverse=True)
  assert "largest differences" not in _compare(capsys, scores, other, "--ratio=0.7", "--largest=0")
  error = _compare(capsys, scores, other)
  assert "A has the most runs at ratio 0.7, B at 0.3: choose with --ratio" in error


def test_labels_must_agree(capsys):
  with np.load(CIFAR10) as ten, np.load(CIFAR100) as hundred:
    first = np.flatnonzero(ten["labels"] != hundred["labels"])[0]
    classes = ten["labels"][first], hundred["labels"][first]
  assert (
    f"labels disagree: training example {first} is of class {classes[0]} in A, {classes[1]} in B; "
    "compare scores of the same data in the same order"
  ) in _compare(capsys, CIFAR10, CIFAR100)


def _write_matrix(path, test_label, examples=3):
  """Writes an influence matrix of training examples and one test example."""
  np.savez(
    path,
    tr_labels=np.ones(examples, int),
    tt_labels=np.array([test_label]),
    tr_mem=np.linspace(0, 1, examples),
    tr_classidx_1=np.arange(examples),
    tt_classidx_1=np.array([0]),
    infl_matrix_class1=np.linspace(0, 1, examples)[:, np.newaxis],
  )
  return path


def test_labels_of_test_examples_must_agree_too(tmp_path, capsys):
  a, b = (_write_matrix(tmp_path / f"{label}.npz", label) for label in (1, 2))
  assert "labels disagree: test example 0 is of class 1 in A, 2 in B" in _compare(capsys, a, b)


def test_a_pair_of_two_classes_shows_both_labels(tmp_path, capsys):
  pairs = tmp_path / "pairs.npz"
  np.savez(pairs, tr_idx=np.array([1]), tt_idx=np.array([0]), infl=np.ones(1), mem=np.ones(1))
  out = _compare(capsys, _write_matrix(tmp_path / "x.npz", 2), pairs)
  assert _differences(out, "influence")[1] == ["1", "0", "1/2", "0.5000", "1.0000", "-0.5"]
  assert _differences(out, "memorization")[1] == ["1", "1", "0.5000", "1.0000", "-0.5"]
  assert _summary(out)["influence"]["Pearson"] == "-"  # one pair has no correlation


@pytest.fixture
def bare(tmp_path):
  """The published C-scores of CIFAR-10 as an array without a name."""
  with np.load(CIFAR10) as archive:
    np.save(tmp_path / "bare.npy", archive["scores"])
  return tmp_path / "bare.npy"


def test_a_bare_array_is_what_the_other_side_holds(bare, capsys):
  for sides in ((CIFAR10, bare), (bare, CIFAR10)):
    out = _compare(capsys, *sides)
    a, b = ("A", "B") if sides[1] == bare else ("B", "A")
    assert f"\n{b} does not say which score it holds: taken for C-score, as in {a}\n" in out
    assert f"{bare}: C-score of 500 examples" in out
    assert _summary(out)["C-score"]["mean"] == "0"
  memorization = bare.with_name("mem.npz")
  np.savez(memorization, memorization=np.linspace(-1, 1, 500))
  assert list(_summary(_compare(capsys, bare, memorization))) == ["memorization"]


def test_which_score_a_bare_array_holds_is_asked(scores, bare, capsys):
  for other in (scores, bare):
    assert (
      f"{bare} does not say which score it holds: give --kind=cscore or --kind=memorization"
      in (_compare(capsys, other, bare))
    )
  for kind, name in (("cscore", "C-score"), ("memorization", "memorization")):
    for other in (scores, bare):
      out = _compare(capsys, other, bare, f"--kind={kind}")
      assert list(_summary(out)) == [name]
      assert "taken for" not in out


def test_a_kind_is_refused_where_both_sides_say_theirs(capsys):
  assert "--kind: both sides say which scores they hold; leave it out" in (
    _compare(capsys, CIFAR10, CIFAR10, "--kind=cscore")
  )


def test_a_bare_array_must_be_scores_of_that_kind(tmp_path, capsys):
  np.save(tmp_path / "x.npy", np.array([0.5, -0.25]))
  path = tmp_path / "x.npy"
  assert f"{path} has -0.25 at example 1, which is no C-score: those lie in 0…1" in (
    _compare(capsys, path, CIFAR10)
  )
  np.save(tmp_path / "x.npy", np.array([1.5, -0.25]))
  assert "has 1.5 at example 0, which is no memorization: those lie in -1…1" in (
    _compare(capsys, path, path, "--kind=memorization")
  )


def _put(value, *places):
  def change(array):
    array[list(places)] = value
    return array

  return change


def test_undefined_scores_are_counted_and_in_no_mean(tmp_path, capsys):
  path = _changed(tmp_path / "x.npz", CIFAR10, scores=_put(np.nan, 3, 50, 499))
  out = _compare(capsys, CIFAR10, path)
  row = _summary(out)["C-score"]
  assert [row[name] for name in ("in_both", "undefined", "mean")] == ["500", "3", "0"]
  assert "largest differences" not in out


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_scores_are_refused(tmp_path, capsys, value):
  path = _changed(tmp_path / "x.npz", CIFAR10, scores=_put(value, 7))
  for sides in ((path, CIFAR10), (CIFAR10, path)):
    assert f"{path}: array scores has {value}, which is no score: undefined ones are NaN" in (
      _compare(capsys, *sides)
    )


def test_pairs_are_looked_up_in_the_demonstrations_influence(tmp_path, capsys):
  influence = np.round(np.random.default_rng(0).random((5, 4)), 3).astype(
    np.float32
  )  # test × train
  np.savez(tmp_path / "a.npz", memorization=np.zeros(4, np.float32), influence=influence)
  train, test = np.array([3, 0, 1]), np.array([4, 0, 9])
  pairs = {"infl": np.append(influence[test[:2], train[:2]], 0.5), "mem": np.zeros(3)}
  np.savez(tmp_path / "b.npz", tr_idx=train, tt_idx=test, **pairs)
  for sides in (("a", "b"), ("b", "a")):
    out = _compare(capsys, *(tmp_path / f"{side}.npz" for side in sides))
    assert "influence of 20 pairs (4 training, 5 test examples)" in out
    row = _summary(out)["influence"]
    assert [row[name] for name in ("in_both", "Jaccard", "mean")] == ["2", f"{2 / 21:.4f}", "0"]


def test_two_demonstrations_are_compared_pair_by_pair(tmp_path, monkeypatch, capsys):
  influence = np.random.default_rng(0).random((5, 4)).astype(np.float32)
  changed = influence.copy()
  changed[4, 1] -= 0.5
  memorization = np.linspace(0, 1, 4, dtype=np.float32)
  np.savez(tmp_path / "a.npz", memorization=memorization, influence=influence)
  np.savez(tmp_path / "b.npz", memorization=memorization, influence=changed)
  out = _compare(capsys, tmp_path / "a.npz", tmp_path / "b.npz")
  assert _summary(out)["influence"]["in_both"] == "20"
  (row,) = _differences(out, "influence")[1:]
  assert row[:2] == ["1", "4"]  # training, test example
  monkeypatch.setattr(compare, "_MOST_PAIRS", 19)
  out = _compare(capsys, tmp_path / "a.npz", tmp_path / "b.npz")
  assert "influence is left out: both sides hold more than 19 pairs; compare with selected" in out
  assert list(_summary(out)) == ["memorization"]


def _imagenet(path, names, scores, labels):
  np.savez(path, filenames=np.array(names), scores=np.array(scores), labels=np.array(labels))
  return path


def test_examples_are_matched_by_file_name(tmp_path, capsys):
  a = _imagenet(
    tmp_path / "a.npz", [b"n1_1.JPEG", b"n1_2.JPEG", b"n2_1.JPEG"], [0, 0.5, 1], [1, 1, 2]
  )
  b = _imagenet(tmp_path / "b.npz", ["n2/n2_1", "n3/n3_1", "n1/n1_1"], [0.75, 0.5, 0], [2, 3, 1])
  out = _compare(capsys, a, b)
  assert "\nmatched by file name; indices are those of A\n" in out
  assert _summary(out)["C-score"]["in_both"] == "2"
  assert _differences(out, "C-score")[1:] == [["2", "2", "1.0000", "0.7500", "0.25"]]


def test_influence_follows_file_names_of_both_sets(tmp_path, capsys):
  names = {"tr_filenames": np.array(["a", "b", "c"]), "tt_filenames": np.array(["x"])}
  moved = {"tr_filenames": np.array(["c", "a", "b"]), "tt_filenames": np.array(["x"])}
  with np.load(_write_matrix(tmp_path / "a.npz", 1)) as archive:
    arrays = dict(archive)
  np.savez(tmp_path / "a.npz", **arrays, **names)
  order = [2, 0, 1]
  matrix = arrays["infl_matrix_class1"][order]
  np.savez(
    tmp_path / "b.npz",
    **{**arrays, "infl_matrix_class1": matrix, "tr_mem": arrays["tr_mem"][order]},
    **moved,
  )
  for row in _summary(_compare(capsys, tmp_path / "a.npz", tmp_path / "b.npz")).values():
    assert (row["in_both"], row["Pearson"], row["mean"]) == ("3", "1.0000", "0")


def test_names_on_one_side_are_mentioned(tmp_path, capsys):
  a = _imagenet(tmp_path / "a.npz", ["x", "y"], [0, 0.5], [1, 1])
  np.savez(tmp_path / "b.npz", scores=np.array([0, 0.5]), labels=np.array([1, 1]))
  out = _compare(capsys, a, tmp_path / "b.npz")
  assert "\nA has file names, B has none: matched by index\n" in out
  assert _summary(out)["C-score"]["mean"] == "0"


def test_the_index_of_imagenet_is_compared_with_pairs(tmp_path, capsys):
  np.savez(
    tmp_path / "imagenet_index.npz",
    tr_filenames=np.array([b"n1_1.JPEG", b"n1_2.JPEG"]),
    tr_labels=np.array([0, 0]),
    tt_filenames=np.array([b"ILSVRC2012_val_00000293.JPEG"]),
    tt_labels=np.array([0]),
    tr_mem=np.array([0.25, 0.75]),
  )
  np.savez(tmp_path / "b.npz", tr_idx=[1], tt_idx=[0], infl=[0.5], mem=[0.75])
  out = _compare(capsys, tmp_path / "imagenet_index.npz", tmp_path / "b.npz")
  assert "imagenet_index.npz: memorization of 2 examples\n" in out
  assert _summary(out)["memorization"]["in_both"] == "1"
  assert _summary(out)["memorization"]["mean"] == "0"


def test_another_number_of_examples_is_mentioned(scores, bare, capsys):
  out = _compare(capsys, scores, bare, "--kind=cscore")
  note = "\nA has 1,437 training examples, B has 500: they may be of different data\n"
  assert note in out
  assert "different data" not in _compare(capsys, CIFAR10, bare)
  assert "different data" not in _compare(capsys, scores, PAIRS)  # which are a selection


def test_a_part_that_was_lost_is_refused(scores, tmp_path, capsys):
  shutil.copytree(scores, tmp_path / "scores")
  part = next((tmp_path / "scores" / "cscores").iterdir())
  part.unlink()
  assert f"{part} is missing: score again" in _compare(capsys, tmp_path / "scores", scores)
  vouch_for(tmp_path / "scores")  # nor is it if the manifest is as wrong
  assert f"{tmp_path}/scores: table cscores should have each of 1,437" in (
    _compare(capsys, tmp_path / "scores", scores)
  )


def test_sides_without_a_common_kind_are_refused(capsys):
  error = _compare(capsys, CIFAR10, PAIRS)
  assert "nothing to compare: A holds C-score, B holds memorization, influence" in error


def test_sides_without_a_common_row_are_refused(tmp_path, capsys):
  other = _changed(tmp_path / "x.npz", PAIRS, tr_idx=lambda train: train + 50_000)
  error = _compare(capsys, PAIRS, other)
  assert "A and B have nothing in common: no memorization and influence of the same" in error


def test_scores_without_pairs_still_compare_in_the_other_kinds(scores, tmp_path, capsys):
  experiment = read_manifest(str(scores)).experiment
  flags = [f"--experiment={experiment}", f"--scores={tmp_path / 'scores'}", "--min_influence=1"]
  assert cli.main(["score", *flags]) == 0
  capsys.readouterr()
  table = _summary(_compare(capsys, tmp_path / "scores", tmp_path / "scores"))
  assert table["memorization"]["Pearson"] == "1.0000"
  assert table["influence"] == {
    **dict.fromkeys(["in_A", "in_B", "in_both", "undefined"], "0"),
    **dict.fromkeys(["Jaccard", "Pearson", "Spearman", "mean"], "-"),
  }


@pytest.mark.parametrize(
  ("b", "flags", "message"),
  [
    ("missing.npz", [], "give a scores directory or a published .npz or .npy file"),
    (CIFAR10, ["--largest=-1"], "argument --largest: '-1' is no number of differences"),
    (CIFAR10, ["--ratio=0.5"], "--ratio=0.5: {scores} holds scores at 0.3, 0.7; choose one"),
    (CIFAR10, ["third"], "unknown argument third"),
    (
      Path(__file__),
      [],
      "is neither .npz nor .npy: give a scores directory or a published .npz or .npy file",
    ),
  ],
)
def test_what_cannot_be_compared_is_one_line(scores, b, flags, message, capsys):
  assert message.format(scores=scores) in _compare(capsys, scores, b, *flags)


def test_two_sides_are_needed(capsys):
  assert cli.main(["compare", str(PAIRS)]) == 2
  assert "the following arguments are required: B" in capsys.readouterr().err


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory):
  """Scores of the same outcomes of the same digits, in another order, and that order."""
  directory = tmp_path_factory.mktemp("shuffled")
  write_few_digits(directory / "digits.npz")
  arrays = dict(np.load(directory / "digits.npz"))
  order = np.random.default_rng(3).permutation(NUM_TRAIN)
  for name in ("train__image", "train__label"):
    arrays[name] = arrays[name][order]
  for name in ("test__image", "test__label"):
    arrays[name] = arrays[name][::-1]
  np.savez(directory / "digits.npz", **arrays)
  outcomes = []
  for outcome in make_outcomes(0.7, range(40)):
    in_subset, train_correct, test_correct = outcome.unpack()
    outcomes.append(
      RunOutcome.pack(outcome.key, in_subset[order], train_correct[order], test_correct[::-1])
    )
  write_experiment(directory / "runs", outcomes)
  flags = [f"--experiment={directory}/runs", f"--dataset=npz:{directory}/digits.npz"]
  assert cli.main(["score", *flags, f"--scores={directory}/scores", "--min_influence=0"]) == 0
  return directory / "scores"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
  directory = tmp_path_factory.mktemp("original")
  spec = write_few_digits(directory / "digits.npz")
  write_experiment(directory / "runs", make_outcomes(0.7, range(40)))
  flags = [f"--experiment={directory}/runs", f"--dataset={spec}", "--min_influence=0"]
  assert cli.main(["score", *flags, f"--scores={directory}/scores"]) == 0
  return directory / "scores"


def test_examples_are_matched_by_pixels(original, shuffled, capsys):
  capsys.readouterr()
  assert cli.main(["compare", str(original), str(shuffled), "--match=pixels"]) == 0
  out = capsys.readouterr().out
  assert "matched by pixels; indices are those of A" in out
  for kind in ("C-score", "memorization", "influence"):
    (line,) = (line for line in out.splitlines() if line.startswith(f"{kind} "))
    assert line.split()[4] == "1.0000", line  # Jaccard
    assert line.split()[-1] == "0", line  # mean difference
  assert "largest differences" not in out


def test_another_order_is_refused_unless_it_is_meant(original, shuffled, capsys):
  capsys.readouterr()
  assert cli.main(["compare", str(original), str(shuffled)]) == 2
  assert re.fullmatch(
    r"heldout compare: error: training example \d+ is another image in A than in B, as are \d+ of "
    r"37: match them by pixels, or by index if this is meant\n",
    capsys.readouterr().err,
  )
  assert cli.main(["compare", str(original), str(shuffled), "--match=index"]) == 2
  assert "labels disagree" in capsys.readouterr().err
  assert cli.main(["compare", str(original), str(shuffled), "--match=id"]) == 2
  assert "cannot be matched by ids, which must be known of both" in capsys.readouterr().err


def test_numbered_ids_are_matched_with_the_original_order(tmp_path, capsys):
  labels, numbers = np.array([1, 0, 2, 1]), np.array([2, 0, 3, 1])
  train = SimpleNamespace(
    labels=labels, ids=np.array([f"train_{number}" for number in numbers]), pixel_hashes=None
  )
  test = SimpleNamespace(labels=labels[:0], ids=None, pixel_hashes=None)
  dataset = SimpleNamespace(train=train, test=test, class_names=["a", "b", "c"])
  undefined = {"memorization": np.full(4, np.nan), "memorization_se": None, "consistency": None}
  counts = dict.fromkeys(("runs_in", "runs_out", "correct_in", "correct_out"), 0)
  example = {"example": range(4), "label": labels}
  cscores = make_table("cscores", **example, ratios=1, cscore=numbers / 4, cscore_se=None)
  staging, parts = stage_tables(
    tmp_path,
    cscores=cscores,
    examples=make_table("examples", subset_ratio=0.5, **example, **counts, **undefined),
    index=[rows for _, rows in index_parts(dataset)],
  )
  publish(staging, make_manifest(parts, ratios=[make_ratio(0.5)], examples=(4, 0)))
  original = tmp_path / "published.npz"
  np.savez(original, scores=np.arange(4) / 4, labels=labels[np.argsort(numbers)])
  assert (
    "A is in another order than the original files: its train example 0 has the id train_2: "
    in (_compare(capsys, tmp_path, original))
  )
  out = _compare(capsys, tmp_path, original, "--match=id")
  assert "matched by id; indices are those of A" in out
  assert re.search(r"^C-score +4 +4 +4 +1\.0000 +0 +1\.0000 +1\.0000 +0$", out, re.M), out
