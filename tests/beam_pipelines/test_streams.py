"""From photographs in files to scores, by commands alone."""

import json

import numpy as np
import pytest

import files
from beam_pipelines.cli import main
from beam_pipelines.storage.runs import aux_arrays
from beam_pipelines.storage.runs.experiment import list_runs
from files.tfrecord import read_record
from image_datasets import streamed
from tests.helpers import image_trees
from tests.helpers.gcs import BUCKET, emulated_gcs


def _build(root, *flags):
  for split in ("train", "validation"):
    arguments = [f"--images={root}/{split}", f"--split={split}", f"--output={root}/records"]
    assert main(["build-tfrecords", *arguments, f"--index={root}/index.npz", *flags]) == 0


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  directory = tmp_path_factory.mktemp("source")
  image_trees.write_tree(directory / "train", image_trees.train_files())
  image_trees.write_tree(directory / "validation", image_trees.validation_files())
  image_trees.write_index(directory / "index.npz")
  _build(directory, "--shards=3")
  return directory


def _train(root, experiment, *flags):
  dataset = f"--dataset=tfrecord:{root}/records"
  return main(["train", f"--experiment={experiment}", dataset, "--batch_size=10", *flags])


SMALL = ("--image_size=16", "--model=mlp_small")


@pytest.fixture(scope="module")
def trained(source):
  experiment = source / "runs"
  assert _train(source, experiment, *SMALL, "--runs=0:7", "--resized_crop", "--flip") == 0
  return experiment


def _outcomes(experiment):
  return [aux_arrays.read(run) for run in list_runs(str(experiment)).runs]


RESNET50 = ("--model=resnet50", "--runs=0:2", "--ratios=0.5", "--epochs=1", "--learning_rate=0.01")


@pytest.fixture(scope="module")
def trained_resnet50(source):
  experiment = source / "resnet50"
  assert _train(source, experiment, *RESNET50, "--resized_crop", "--flip", "--check") == 0
  return experiment


def _score_resnet50(root, experiment, scores, capsys):
  """Verifies and scores two runs of ResNet-50, and checks that nothing is missing."""
  dataset = f"--dataset=tfrecord:{root}/records"
  arguments = [f"--experiment={experiment}", dataset, "--model=resnet50"]
  assert main(["verify", *arguments, "--check"]) == 0
  output = capsys.readouterr().out
  assert "all of its 33 images are sound" in output
  assert "verified 2 runs: 66 of 66 predictions are the recorded ones" in output
  assert main(["score", *arguments, f"--scores={scores}", "--source=checkpoints", "--dense"]) == 0
  manifest = json.loads(files.read_bytes(f"{scores}/manifest.json"))
  assert (manifest["examples"]["train"], manifest["examples"]["test"]) == (24, 9)
  assert (manifest["runs_used"], manifest["rows"]["examples"]) == (2, 24)
  return dataset


def test_resnet50_at_224_from_photographs_to_scores(source, trained_resnet50, tmp_path, capsys):
  _score_resnet50(source, trained_resnet50, tmp_path / "scores", capsys)


@pytest.mark.parametrize("resident", [1, 3, 7, None])
def test_verification_finds_what_training_has_recorded(source, trained, capsys, resident):
  flags = [f"--resident={resident}"] if resident else []
  dataset = f"--dataset=tfrecord:{source}/records"
  assert main(["verify", f"--experiment={trained}", dataset, *SMALL, *flags]) == 0
  assert "verified 7 runs: 231 of 231 predictions are the recorded ones" in capsys.readouterr().out


def test_runs_that_cannot_be_evaluated_leave_their_group_alone(source, trained, tmp_path, capsys):
  broken = tmp_path / "runs" / "0.7"
  broken.parent.mkdir()
  (broken).mkdir()
  for run in trained.glob("0.7/*"):
    target = broken / run.name
    (target / "checkpoints").mkdir(parents=True)
    for path in run.rglob("*.*"):
      (target / path.relative_to(run)).write_bytes(path.read_bytes())
  (broken / "3" / "checkpoints" / "ckpt-10.index").write_bytes(b"damaged")
  dataset = f"--dataset=tfrecord:{source}/records"
  arguments = [f"--experiment={tmp_path}/runs", dataset, *SMALL, "--resident=4"]
  assert main(["score", *arguments, f"--scores={tmp_path}/scores", "--source=checkpoints"]) == 0
  manifest = json.loads((tmp_path / "scores" / "manifest.json").read_text())
  assert (manifest["runs_used"], manifest["runs_skipped"]) == (6, 1)
  assert "0.7/3 checkpoints/ckpt-10: unreadable checkpoint" in capsys.readouterr().out


def test_workers_train_the_bits_of_one(source, trained, tmp_path):
  processes = ("--direct_num_workers=2", "--direct_running_mode=multi_threading")
  flags = ("--runs=0:3", "--resized_crop", "--flip", *processes)
  assert _train(source, tmp_path, *SMALL, *flags) == 0
  assert _outcomes(tmp_path) == _outcomes(trained)[:3]


def test_labels_and_pictures_come_from_the_stream(source, trained, tmp_path, capsys):
  dataset = [f"--dataset=tfrecord:{source}/records", "--image_size=16"]
  scores = f"--scores={tmp_path}/scores"
  assert main(["score", f"--experiment={trained}", scores, *dataset]) == 0
  assert main(["report", scores, *dataset, f"--output={tmp_path}/report.html"]) == 0
  page = (tmp_path / "report.html").read_text()
  assert "data:image/jpeg;base64," in page
  assert "n01443537" in page
  assert main(["inspect", f"--experiment={trained}", *dataset]) == 0


def test_a_spec_that_says_it_all_is_that_of_flags(source, trained, tmp_path, capsys):
  spec = f"--dataset=tfrecord:{source}/records,size=16"
  assert main(["train", f"--experiment={trained}", spec, "--model=mlp_small", "--batch_size=10",
               "--runs=0:7", "--resized_crop", "--flip"]) == 0  # fmt: skip
  assert "7 complete, 0 to train" in capsys.readouterr().out


def test_resnet50_at_224_on_a_bucket(source, trained_resnet50, tmp_path, capsys):
  with pytest.MonkeyPatch.context() as patch, emulated_gcs(patch):
    root = f"gs://{BUCKET}/imagenet"
    for path in source.rglob("*"):
      name = path.relative_to(source).as_posix()
      if path.is_file() and name.startswith(("train/", "validation/", "index")):
        files.write_bytes(f"{root}/{name}", path.read_bytes())
    _build(root, "--shards=3")
    assert _train(root, f"{root}/runs", *RESNET50, "--resized_crop", "--flip") == 0
    assert _outcomes(f"{root}/runs") == _outcomes(trained_resnet50)
    dataset = _score_resnet50(root, f"{root}/runs", f"{root}/scores", capsys)
    arguments = [f"--scores={root}/scores", dataset]
    assert main(["report", *arguments, f"--output={tmp_path}/report.html"]) == 0
    assert "data:image/jpeg;base64," in (tmp_path / "report.html").read_text()
    explain = ["explain", *arguments, "--test_example=3", "--count=4"]
    assert main([*explain, f"--output={root}/3.png"]) == 0
    assert files.read_bytes(f"{root}/3.png").startswith(b"\x89PNG")


def test_reports_and_explanations_read_only_the_images_that_they_show(
  source, trained, tmp_path, monkeypatch
):
  dataset = [f"--dataset=tfrecord:{source}/records", "--image_size=16"]
  scores = f"--scores={tmp_path}/scores"
  assert main(["score", f"--experiment={trained}", scores, *dataset, "--dense"]) == 0
  read = []

  def note(path, offset, length):
    read.append((path, offset))
    return read_record(path, offset, length)

  def refuse(path):
    raise AssertionError(path)

  monkeypatch.setattr(streamed, "read_record", note)
  monkeypatch.setattr(streamed, "read_records", refuse)
  explain = ["explain", scores, *dataset, "--train_example=3"]
  assert main([*explain, "--count=4"]) == 0
  assert not read
  assert main([*explain, "--count=4", f"--output={tmp_path}/3.png"]) == 0
  assert len(set(read)) == len(read) == 5
  read.clear()
  assert main(["report", scores, *dataset, f"--output={tmp_path}/report.html"]) == 0
  shown = (tmp_path / "report.html").read_text().count("data:image/jpeg;base64,")
  assert 0 < len(set(read)) <= shown


@pytest.mark.parametrize(
  ("command", "flags", "message"),
  [
    ("train", ["--crop=4"], "--crop=4: the images of {spec} have many sizes: use --resized_crop"),
    ("train", ["--stack=2"], "--stack=2: {spec} is streamed, to one run at a time"),
    ("train", ["--label_feature=y"], "has no feature y, only image/channels, "),
    ("verify", ["--resident=0"], "--resident=0: at least one checkpoint is in a pass"),
  ],
)
def test_what_does_not_go_together_is_a_line(source, trained, capsys, command, flags, message):
  spec = f"tfrecord:{source}/records,size=16"
  arguments = [f"--experiment={trained}", f"--dataset={spec}", "--model=mlp_small", *flags]
  assert main([command, *arguments, *(["--runs=0:1"] if command == "train" else [])]) == 2
  error = capsys.readouterr().err
  assert error.splitlines()[-1].startswith(f"heldout {command}: error: ")
  assert message.format(spec=spec) in error


@pytest.mark.parametrize(
  ("command", "flags", "message"),
  [
    ("train", ["--resized_crop", "--runs=0:1"], "--resized_crop: the images of digits are all 8×8"),
    ("train", ["--first_label=0", "--runs=0:1"], "--first_label needs a tfrecord: data set, not"),
    ("verify", ["--resident=2", "--model=mlp"], "--resident=2: digits is held in memory"),
  ],
)
def test_flags_of_streams_are_refused_elsewhere(trained, capsys, command, flags, message):
  assert main([command, f"--experiment={trained}", "--dataset=digits", *flags]) == 2
  assert message in capsys.readouterr().err


def test_images_that_are_not_sound_are_found_before_anything_is_trained(tmp_path, capsys):
  tree = image_trees.train_files()
  image_trees.write_tree(tmp_path / "train", tree)
  image_trees.write_tree(tmp_path / "validation", image_trees.validation_files())
  image_trees.write_index(tmp_path / "index.npz")
  cut = tmp_path / "train" / "n01440764" / "n01440764_0.JPEG"
  cut.write_bytes(cut.read_bytes()[:-2000])
  _build(tmp_path, "--shards=1")
  assert _train(tmp_path, tmp_path / "runs", *SMALL, "--runs=0:1") == 2
  error = capsys.readouterr().err
  assert f"{tmp_path}/records: of 24 train examples, these are in no file: " in error
  assert "n01440764_0.JPEG: build it again with their images" in error
  cut.write_bytes(tree["n01440764/n01440764_0.JPEG"])
  _build(tmp_path, "--shards=1")
  shard = tmp_path / "records" / "train-00000-of-00001"
  content = np.frombuffer(shard.read_bytes(), np.uint8).copy()
  content[len(content) // 2] ^= 1
  shard.write_bytes(content.tobytes())
  assert _train(tmp_path, tmp_path / "runs", *SMALL, "--runs=0:1", "--check") == 2
  assert "train-00000-of-00001: the record at byte " in capsys.readouterr().err
  assert not (tmp_path / "runs").exists()
