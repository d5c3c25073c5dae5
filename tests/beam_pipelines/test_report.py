import json
import re
import shutil

import numpy as np
import pytest

from beam_pipelines import cli
from image_datasets import load_dataset
from tests.helpers.outcomes import make_outcomes, write_experiment


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
  """Scores of generated outcomes of the real digits."""
  return _score(tmp_path_factory.mktemp("report"), "--dataset=digits")


@pytest.fixture(scope="module")
def unlabelled_scores(tmp_path_factory):
  """The same, scored without a data set."""
  return _score(tmp_path_factory.mktemp("unlabelled"), "--pairs=all")


def _score(directory, *flags):
  digits = load_dataset("digits")
  sizes = {"num_train": len(digits.train), "num_test": len(digits.test)}
  outcomes = make_outcomes(0.3, range(10), **sizes) + make_outcomes(0.7, range(60), **sizes)
  write_experiment(directory / "runs", outcomes)
  places = [f"--experiment={directory / 'runs'}", f"--scores={directory / 'scores'}"]
  assert cli.main(["score", *places, *flags]) == 0
  return directory / "scores"


def _report(scores, output, dataset="digits"):
  return cli.main(["report", f"--scores={scores}", f"--dataset={dataset}", f"--output={output}"])


def test_writes_one_file_and_says_what_it_found(scores, tmp_path, capsys):
  output = tmp_path / "new" / "report.html"
  assert _report(scores, output) == 0
  assert [path.name for path in output.parent.iterdir()] == ["report.html"]
  document = output.read_text()
  assert document.startswith("<!doctype html>")
  assert len(re.findall(r'src="data:image/png', document)) > 100
  lines = capsys.readouterr().out.splitlines()
  assert lines[0] == f"report: {output}"
  assert [line.partition(":")[0] for line in lines[1:]] == ["memorization", "influence", "C-scores"]


def test_the_same_scores_give_the_same_report(scores, tmp_path):
  _report(scores, tmp_path / "a.html")
  _report(scores, tmp_path / "b.html")
  assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_scores_must_be_there(tmp_path, capsys):
  assert _report(tmp_path, tmp_path / "report.html") == 2
  assert "holds no manifest.json: run `heldout score` first" in capsys.readouterr().err


def _other_digits(path, train=slice(None), **changes):
  digits = load_dataset("digits")
  arrays = {
    "train__image": digits.train.images[train],
    "train__label": digits.train.labels[train],
    "test__image": digits.test.images,
    "test__label": digits.test.labels,
    "__num_classes": 10,
  }
  np.savez(path, **{**arrays, **changes})
  return f"npz:{path}"


def _refusal(capsys):
  captured = capsys.readouterr()
  assert captured.out == ""
  assert captured.err.startswith("heldout report: error: ")
  assert captured.err.count("\n") == 1
  return captured.err.removeprefix("heldout report: error: ").strip()


@pytest.mark.parametrize("labelled", [True, False])
def test_a_data_set_of_another_size_is_refused(
  scores, unlabelled_scores, tmp_path, labelled, capsys
):
  chosen = scores if labelled else unlabelled_scores
  spec = _other_digits(tmp_path / "other.npz", train=slice(100))
  capsys.readouterr()
  assert _report(chosen, tmp_path / "report.html", spec) == 2
  assert _refusal(capsys) == (
    f"{chosen} holds scores of 1,437 training and 360 test examples, the data set {spec} has 100 "
    "training and 360 test examples: give the data set that was scored"
  )
  assert not (tmp_path / "report.html").exists()


def test_a_larger_test_set_is_refused_too(unlabelled_scores, tmp_path, capsys):
  digits = load_dataset("digits")
  spec = _other_digits(
    tmp_path / "other.npz",
    test__image=np.concatenate([digits.test.images, digits.test.images[:1]]),
    test__label=np.concatenate([digits.test.labels, digits.test.labels[:1]]),
  )
  capsys.readouterr()
  assert _report(unlabelled_scores, tmp_path / "report.html", spec) == 2
  assert f"the data set {spec} has 1,437 training and 361 test examples" in _refusal(capsys)


def test_labels_that_differ_are_counted(scores, tmp_path, capsys):
  labels = load_dataset("digits").train.labels.copy()
  labels[[5, 900]] = (labels[[5, 900]] + 1) % 10
  spec = _other_digits(tmp_path / "other.npz", train__label=labels)
  assert _report(scores, tmp_path / "report.html", spec) == 2
  assert _refusal(capsys) == (
    f"{scores}: training example 5 is of class {(labels[5] - 1) % 10} in table examples, of class "
    f"{labels[5]} in the data set {spec}, and 2 of 1,437 labels differ: "
    "give the data set that was scored"
  )


def test_labels_of_test_examples_count_too(scores, tmp_path, capsys):
  labels = (load_dataset("digits").test.labels + 1) % 10
  spec = _other_digits(tmp_path / "other.npz", test__label=labels)
  assert _report(scores, tmp_path / "report.html", spec) == 2
  assert f"{scores}: test example " in (error := _refusal(capsys))
  assert "in table influence" in error


def test_the_same_images_in_another_order_are_refused(scores, tmp_path, capsys):
  digits = load_dataset("digits")
  order = np.arange(len(digits.train))
  twins = np.flatnonzero(digits.train.labels == 7)
  order[twins] = twins[::-1]
  spec = _other_digits(tmp_path / "other.npz", train=order)
  capsys.readouterr()
  assert _report(scores, tmp_path / "report.html", spec) == 2
  moved = 2 * (len(twins) // 2)
  assert _refusal(capsys) == (
    f"{scores}: training example {twins[0]} has other pixels in the data set {spec}, as have "
    f"{moved} of 1,437, which has the same examples in another order: give the data set that was "
    "scored"
  )


def test_scores_without_labels_take_those_of_the_data_set(unlabelled_scores, tmp_path):
  assert _report(unlabelled_scores, tmp_path / "report.html") == 0


def test_a_part_that_was_copied_is_refused(scores, tmp_path, capsys):
  copied = tmp_path / "scores"
  shutil.copytree(scores, copied)
  part = next((copied / "cscores").iterdir())
  shutil.copy(part, part.with_name("copy.parquet"))
  assert _report(copied, tmp_path / "report.html") == 2
  assert "cscores/copy.parquet is no part of these scores" in _refusal(capsys)


def test_standard_output_takes_the_document(scores, tmp_path, capsys):
  _report(scores, tmp_path / "report.html")
  capsys.readouterr()
  for output in ("-", "/dev/stdout"):
    assert _report(scores, output) == 0
    captured = capsys.readouterr()
    assert captured.out == (tmp_path / "report.html").read_text()
    assert captured.err.startswith("report: standard output\nmemorization: ")


def test_a_link_stays_a_link(scores, tmp_path, capsys):
  (tmp_path / "far").mkdir()
  (tmp_path / "link.html").symlink_to("far/report.html")
  assert _report(scores, tmp_path / "link.html") == 0
  assert (tmp_path / "link.html").is_symlink()
  assert (tmp_path / "far" / "report.html").read_text().startswith("<!doctype html>")
  assert capsys.readouterr().out.startswith(f"report: {tmp_path}/link.html\n")


def test_no_device_is_written_over(scores, capsys):
  assert _report(scores, "/dev/full") == 2
  assert _refusal(capsys) == "/dev/full is a device: give the path of a file"


def test_warnings_of_the_manifest_are_said(scores, tmp_path, capsys):
  warned = tmp_path / "scores"
  shutil.copytree(scores, warned)
  manifest = json.loads((warned / "manifest.json").read_text())
  manifest["warnings"] = ["runs 3 and 4 are the same", "ratio 0.7 has <subsets> of 30%"]
  (warned / "manifest.json").write_text(json.dumps(manifest))
  assert _report(warned, tmp_path / "report.html") == 0
  document = (tmp_path / "report.html").read_text()
  assert "ratio 0.7 has &lt;subsets&gt; of 30%" in document
  assert capsys.readouterr().out.splitlines()[1:3] == [
    "warning: runs 3 and 4 are the same",
    "warning: ratio 0.7 has <subsets> of 30%",
  ]


@pytest.mark.parametrize("channels", [2, 5])
def test_images_of_other_channels_are_drawn_with_a_warning(
  unlabelled_scores, tmp_path, channels, capsys
):
  digits = load_dataset("digits")
  images = {
    f"{name}__image": np.repeat(split.images, channels, axis=-1)
    for name, split in (("train", digits.train), ("test", digits.test))
  }
  spec = _other_digits(tmp_path / "deep.npz", **images, __data_scale=16)
  assert _report(unlabelled_scores, tmp_path / "report.html", spec) == 0
  said = f"images of shape (8, 8, {channels}) have {channels} channels: models see all, pictures"
  assert f"\nwarning: {spec}: {said}" in capsys.readouterr().out
  assert said in (tmp_path / "report.html").read_text()
