import re

import numpy as np
import pytest

from image_datasets.errors import DatasetError
from image_datasets.file_index import FileIndex, read_file_index
from image_datasets.image_tree import NO_ENTRY, NO_FILE, NO_IMAGE, LeftOut, match_index, number_tree
from tests.helpers.image_trees import encode_npz, write_index

NAMES = ["n00000002_1", "n00000001_7", "n00000002_0"]
INDEX = FileIndex(np.array(NAMES), np.array([1, 0, 1]))
TREE = ["n00000001/n00000001_7.JPEG", "n00000002/n00000002_0.JPEG", "n00000002/n00000002_1.JPEG"]


@pytest.mark.parametrize("suffix", ["", ".JPEG", ".jpg"])
def test_files_are_known_by_name_with_or_without_suffix(suffix):
  index = INDEX._replace(names=np.array([name + suffix for name in NAMES]))
  tree = match_index("tree", TREE, index, index)
  assert tree.paths.tolist() == [TREE[2], TREE[0], TREE[1]]
  assert tree.examples.tolist() == [0, 1, 2]
  assert tree.labels.tolist() == [1, 0, 1]
  assert tree.folders == ("n00000001", "n00000002")
  assert not tree.left_out


def test_names_with_folders_are_known_by_path():
  index = FileIndex(np.array(["cat/1", "dog/1"]), np.array([0, 1]))
  tree = match_index("tree", ["dog/1.png", "cat/1.png"], index, None)
  assert tree.paths.tolist() == ["cat/1.png", "dog/1.png"]
  assert tree.folders == ("cat", "dog")


def test_what_is_on_one_side_only_is_left_out():
  tree = match_index("tree", [*TREE[:2], "n00000001/strange.JPEG"], INDEX, INDEX)
  assert tree.examples.tolist() == [1, 2]
  assert tree.num_examples == 3
  assert set(tree.left_out) == {
    LeftOut("n00000001/strange.JPEG", NO_ENTRY),
    LeftOut("n00000002_1", NO_FILE),
  }


def test_a_flat_tree_has_the_synsets_of_the_training_names():
  flat = FileIndex(np.array(["val_1", "val_2"]), np.array([1, 0]))
  tree = match_index("tree", ["val_2.JPEG", "val_1.JPEG"], flat, INDEX)
  assert tree.folders == ("n00000001", "n00000002")
  tree = match_index("tree", ["val_2.JPEG", "val_1.JPEG"], flat, None)
  assert tree.folders == ("0", "1")


@pytest.mark.parametrize(
  ("paths", "index", "message"),
  [
    (
      TREE,
      INDEX._replace(labels=np.array([1, 0, 0])),
      "1 labels of the index disagree with the folders: n00000002/n00000002_0.JPEG has label 0, "
      "and n00000002/n00000002_1.JPEG beside it 1",
    ),
    (
      ["a/n00000002_1.JPEG", TREE[0]],
      INDEX,
      "1 labels of the index disagree with the folders: a/n00000002_1.JPEG has label 1, which is "
      "that of n00000002",
    ),
    (
      [*TREE, "n00000001/n00000002_0.JPEG"],
      INDEX,
      "both n00000001/n00000002_0.JPEG and n00000002/n00000002_0.JPEG are n00000002_0",
    ),
    (TREE, INDEX._replace(names=np.array([NAMES[0], NAMES[1], NAMES[0]])), "more than once"),
    (["a/b.JPEG"], INDEX, "none of its 1 files is in the index"),
  ],
)
def test_what_contradicts_itself_is_refused(paths, index, message):
  with pytest.raises(DatasetError, match=f"^tree: .*{re.escape(message)}"):
    match_index("tree", paths, index, INDEX)


def test_a_tree_without_an_index_is_numbered_by_sorted_path():
  names = ["dog/b.png", "dog/a.JPG", "cat/deep/c.webp", "README", "dog/.DS_Store"]
  tree = number_tree("tree", names, None)
  assert tree.paths.tolist() == ["cat/deep/c.webp", "dog/a.JPG", "dog/b.png"]
  assert tree.labels.tolist() == [0, 1, 1]
  assert tree.folders == ("cat", "dog")
  assert tree.left_out == (LeftOut("README", NO_IMAGE), LeftOut("dog/.DS_Store", NO_IMAGE))


def test_classes_that_are_known_keep_their_numbers():
  tree = number_tree("tree", ["dog/a.png"], ["ant", "cat", "dog"])
  assert tree.labels.tolist() == [2]
  assert tree.folders == ("ant", "cat", "dog")


@pytest.mark.parametrize(
  ("names", "classes", "message"),
  [
    ([], None, "holds no images in folders"),
    (["cat/notes.txt"], None, "holds no images in folders"),
    (["a.png", "cat/b.png"], None, "a.png lies in no folder"),
    (["cow/a.png"], ["cat", "dog"], "cow is not among the 2 classes of the training split"),
  ],
)
def test_trees_that_say_no_classes_are_refused(names, classes, message):
  with pytest.raises(DatasetError, match=f"^tree: {message}"):
    number_tree("tree", names, classes)


def test_an_index_file_has_two_splits(tmp_path):
  arrays = write_index(tmp_path / "index.npz")
  splits = read_file_index(str(tmp_path / "index.npz"))
  assert list(splits) == ["train", "validation"]
  assert splits["train"].names.tolist() == np.char.decode(arrays["tr_filenames"]).tolist()
  np.testing.assert_array_equal(splits["validation"].labels, arrays["tt_labels"])


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"no archive", ".*: write it with numpy.savez, names as texts"),
    (encode_npz({"tr_filenames": np.array(["a"])}), "tr_filenames and tr_labels must be one name"),
    (
      encode_npz({"tt_filenames": np.array(["a"]), "tt_labels": np.array([-1])}),
      "tt_filenames are <U1 and tt_labels int64: give texts and integers from 0",
    ),
    (
      encode_npz({"tr_filenames": np.array([b"\xff"]), "tr_labels": np.array([0])}),
      "tr_filenames: .*; write them as texts, or in UTF-8",
    ),
    (
      encode_npz({"tr_filenames": np.array(["a"], object), "tr_labels": np.array([0])}),
      "array tr_filenames is of Python objects",
    ),
  ],
)
def test_index_files_are_read_with_suspicion(tmp_path, content, message):
  path = tmp_path / "index.npz"
  path.write_bytes(content)
  with pytest.raises(DatasetError, match=f"^{path}: {message}"):
    read_file_index(str(path))
