import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import files
from beam_pipelines.cli import main
from files.tfrecord import read_records
from image_datasets.record_index import read_record_index
from tests.helpers import image_trees
from tests.helpers.gcs import BUCKET, emulated_gcs
from tests.helpers.image_trees import CMYK, GREY, PNG, SYNSETS, TEXTS

PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  """Both trees and their index, as ImageNet's come."""
  directory = tmp_path_factory.mktemp("source")
  image_trees.write_tree(directory / "train", image_trees.train_files())
  image_trees.write_tree(directory / "validation", image_trees.validation_files())
  image_trees.write_index(directory / "index.npz")
  return directory


def _build(source, output, split, *flags, index="index.npz"):
  arguments = [f"--images={source}/{split}", f"--split={split}", f"--output={output}", *flags]
  return main(["build-tfrecords", *arguments, *([f"--index={source}/{index}"] if index else [])])


def _examples(output, split, shards):
  """Reads examples with TensorFlow's protocol buffers: features by index."""
  found = {}
  for shard in range(shards):
    for record in read_records(f"{output}/{split}-{shard:05d}-of-{shards:05d}"):
      features = tf.train.Example.FromString(record.content).features.feature
      found[features["index"].int64_list.value[0]] = {
        name: (feature.bytes_list.value or feature.int64_list.value)[0]
        for name, feature in features.items()
      }
  return found


def _contents(directory):
  return {path.name: path.read_bytes() for path in directory.iterdir() if "info" not in path.name}


def test_every_example_carries_what_the_index_and_the_tree_say(source, tmp_path, capsys):
  synsets = tmp_path / "synsets.txt"
  lines = [f"{synset} {text}" for synset, text in zip(SYNSETS, TEXTS, strict=True)]
  synsets.write_text("\n".join(lines))
  assert _build(source, tmp_path, "train", "--shards=5", f"--synsets={synsets}") == 0
  examples = _examples(tmp_path, "train", 5)
  with np.load(source / "index.npz") as index:
    names, labels = index["tr_filenames"], index["tr_labels"]
  assert sorted(examples) == list(range(24))
  for i, example in examples.items():
    name, label = names[i].decode(), labels[i]
    original = image_trees.train_files()[f"{SYNSETS[label]}/{name}"]
    image = tf.image.decode_image(example["image/encoded"]).numpy()
    assert example == {
      "image/encoded": example["image/encoded"],
      "image/height": image.shape[0],
      "image/width": image.shape[1],
      "image/colorspace": b"RGB",
      "image/channels": 3,
      "image/format": b"JPEG",
      "image/filename": name.encode(),
      "image/class/label": label + 1,
      "image/class/synset": SYNSETS[label].encode(),
      "image/class/text": TEXTS[label].encode(),
      "index": i,
    }
    assert image.shape[2] == 3
    assert (example["image/encoded"] == original) == (name not in (GREY, CMYK, PNG))
    assert example["image/encoded"].startswith(b"\xff\xd8")
  output = capsys.readouterr().out
  assert "wrote 24 examples" in output
  assert "converted to RGB JPEG: 1 × CMYK JPEG, 1 × PNG, 1 × grey JPEG" in output
  assert "left out" not in output


def test_the_terminal_shows_what_was_done_and_nothing_else(source, tmp_path):
  command = [sys.executable, "-m", "beam_pipelines.cli", "build-tfrecords", "--split=train"]
  command += [f"--images={source}/train", f"--output={tmp_path}", f"--index={source}/index.npz"]
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  assert done.stderr == ""
  assert "wrote 24 examples" in done.stdout


def test_shards_are_the_same_whatever_works_on_them(source, tmp_path):
  assert _build(source, tmp_path / "one", "train", "--shards=5") == 0
  assert _build(source, tmp_path / "two", "train", "--shards=5", *PROCESSES) == 0
  assert _build(source, tmp_path / "two", "train", "--shards=5") == 0  # over what is there
  one = _contents(tmp_path / "one")
  assert one == _contents(tmp_path / "two")
  assert sorted(one) == [
    *(f"train-{shard:05d}-of-00005" for shard in range(5)),
    "train-index.npz",
    "train-left-out.csv",
  ]


def test_another_number_of_shards_replaces_the_former(source, tmp_path):
  assert _build(source, tmp_path, "validation", "--shards=4") == 0
  assert _build(source, tmp_path, "validation", "--shards=2") == 0
  shards = sorted(path.name for path in tmp_path.glob("*-of-*"))
  assert shards == ["validation-00000-of-00002", "validation-00001-of-00002"]


def test_a_flat_validation_tree_has_the_classes_of_the_index(source, tmp_path):
  assert _build(source, tmp_path, "validation") == 0
  examples = _examples(tmp_path, "validation", 9)  # 128 files, but for so few images
  for example in examples.values():
    label = example["image/class/label"] - 1
    assert example["image/class/synset"] == SYNSETS[label].encode()
  index = read_record_index(f"{tmp_path}/validation-index.npz", "validation")
  assert index.class_names == SYNSETS
  for i, record in examples.items():
    path = f"{tmp_path}/{index.shard_names[index.shard[i]]}"
    content = files.read_range(path, index.offset[i], index.offset[i] + index.length[i])
    features = tf.train.Example.FromString(content).features.feature
    assert features["image/encoded"].bytes_list.value[0] == record["image/encoded"]


def test_what_is_left_out_is_listed_by_name_and_counted(source, tmp_path, capsys):
  tree = dict(image_trees.train_files())
  cut = "n01440764/n01440764_0.JPEG"
  tree[cut] = tree[cut][:-2000]
  tree["n01440764/mine.JPEG"] = tree.pop("n01443537/n01443537_0.JPEG")
  image_trees.write_tree(tmp_path / "train", tree)
  (tmp_path / "index.npz").write_bytes((source / "index.npz").read_bytes())
  assert _build(tmp_path, tmp_path / "out", "train", "--shards=2") == 0
  assert len(_examples(tmp_path / "out", "train", 2)) == 22
  with open(tmp_path / "out" / "train-left-out.csv", newline="") as file:
    rows = list(csv.DictReader(file))
  assert [row["path"] for row in rows] == ["n01440764/mine.JPEG", cut, "n01443537_0.JPEG"]
  assert [row["reason"].split(":")[0] for row in rows] == [
    "is not in the index",
    "cannot be decoded",
    "is in the index, and there is no such file",
  ]
  output = capsys.readouterr().out
  assert f"left out, as {tmp_path}/out/train-left-out.csv lists:\n" in output
  for what in ("files that the index lacks", "entries of the index without a file", "corrupt"):
    assert f"  {what}" in output
  note = json.loads((tmp_path / "out" / "train-info.json").read_text())
  assert (note["examples"], note["corrupt"], note["no_file"], note["not_in_index"]) == (22, 1, 1, 1)
  index = read_record_index(f"{tmp_path}/out/train-index.npz", "train")
  with np.load(source / "index.npz") as arrays:
    names = arrays["tr_filenames"].astype(str)
  missing = np.isin(names, ["n01440764_0.JPEG", "n01443537_0.JPEG"])
  np.testing.assert_array_equal(index.missing, np.flatnonzero(missing))


def test_any_folder_of_images_becomes_a_split_without_gaps(tmp_path, capsys):
  tree = dict(image_trees.train_files())
  tree["n01440764/n01440764_0.JPEG"] = tree["n01440764/n01440764_0.JPEG"][:-2000]
  tree["notes.txt"] = b"notes"
  image_trees.write_tree(tmp_path / "train", tree)
  image_trees.write_tree(tmp_path / "validation", {"n01484850/a.png": tree[f"n01484850/{PNG}"]})
  assert _build(tmp_path, tmp_path / "out", "train", "--shards=3", index=None) == 0
  assert _build(tmp_path, tmp_path / "out", "validation", index=None) == 0
  examples = _examples(tmp_path / "out", "train", 3)
  sound = sorted(tree.keys() - {"notes.txt", "n01440764/n01440764_0.JPEG"})
  names = [example["image/filename"].decode() for _, example in sorted(examples.items())]
  assert names == [path.rpartition("/")[2] for path in sound]
  index = read_record_index(f"{tmp_path}/out/train-index.npz", "train")
  assert index.file_names.tolist() == sound
  (example,) = _examples(tmp_path / "out", "validation", 1).values()
  assert example["image/class/label"] == 3  # as in training, although it is alone
  output = capsys.readouterr().out
  assert "  corrupt images: 1\n" in output
  assert "  files that are no images by their names: 1\n" in output


def test_the_index_that_is_written_gives_the_same_data_set(tmp_path):
  image_trees.write_tree(tmp_path / "train", image_trees.train_files())
  assert _build(tmp_path, tmp_path / "one", "train", "--shards=3", index=None) == 0
  index = "one/train-index.npz"
  assert _build(tmp_path, tmp_path / "two", "train", "--shards=3", index=index) == 0
  assert _contents(tmp_path / "one") == _contents(tmp_path / "two")


def test_it_works_on_a_bucket(tmp_path):
  with pytest.MonkeyPatch.context() as patch, emulated_gcs(patch):
    root = f"gs://{BUCKET}/imagenet"
    for path, content in image_trees.train_files().items():
      files.write_bytes(f"{root}/train/{path}", content)
    image_trees.write_index(tmp_path / "index.npz")
    files.write_bytes(f"{root}/index.npz", (tmp_path / "index.npz").read_bytes())
    assert _build(root, f"{root}/records", "train", "--shards=5") == 0
    there = {info.name for info in files.list_files(f"{root}/records")}
    remote = {name: files.read_bytes(f"{root}/records/{name}") for name in there if "-of-" in name}
  image_trees.write_tree(tmp_path / "train", image_trees.train_files())
  assert _build(tmp_path, tmp_path / "records", "train", "--shards=5") == 0
  assert there == {path.name for path in (tmp_path / "records").iterdir()}
  for name, content in remote.items():
    assert (tmp_path / "records" / name).read_bytes() == content


def test_a_dry_run_writes_nothing(source, tmp_path, capsys):
  assert _build(source, tmp_path / "out", "train", "--dry_run") == 0
  assert "would write 24 images of" in capsys.readouterr().out
  assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
  ("flags", "changes", "message"),
  [
    (["--shards=0"], {}, "--shards=0: 24 images go into 1 to 24 files"),
    (["--shards=25"], {}, "--shards=25: 24 images go into 1 to 24 files"),
    ([], {"tr_labels": np.arange(24) % 3}, "labels of the index disagree with the folders"),
    ([], {"tr_filenames": np.array(["a"] * 24)}, "the index has a more than once"),
    (["--synsets={tmp}/short.txt"], {}, "short.txt: names no class n01443537: write `n01443537"),
  ],
)
def test_bad_input_is_a_line_and_writes_nothing(source, tmp_path, capsys, flags, changes, message):
  (tmp_path / "short.txt").write_text(f"{SYNSETS[0]} tench")
  image_trees.write_index(tmp_path / "index.npz", **changes)
  (tmp_path / "train").symlink_to(source / "train")
  flags = [flag.format(tmp=tmp_path) for flag in flags]
  assert _build(tmp_path, tmp_path / "out", "train", *flags) == 2
  error = capsys.readouterr().err
  assert error.startswith("heldout build-tfrecords: error: ")
  assert message in error
  assert error.count("\n") == 1
  assert not (tmp_path / "out").exists()


def test_a_split_that_the_index_lacks_is_said(source, tmp_path, capsys):
  index = tmp_path / "index.npz"
  index.write_bytes(image_trees.encode_npz({"tt_filenames": ["a"], "tt_labels": [0]}))
  arguments = [f"--images={source}/train", "--split=train", f"--output={tmp_path}/out"]
  assert main(["build-tfrecords", *arguments, f"--index={index}"]) == 2
  assert "index.npz has no names of the train split" in capsys.readouterr().err
