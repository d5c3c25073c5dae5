from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from beam_pipelines.storage.scores.index import index_parts
from beam_pipelines.storage.scores.pairing import check_dataset
from files.errors import UsageError
from tests.helpers.scores import make_manifest, make_ratio

MANIFEST = make_manifest(ratios=[make_ratio(0.5)], examples=(3, 2))
TRAIN, TEST = np.array([7, 8, 9]), np.array([8, 7])


def _tables(train=TRAIN, test=TEST, pairs=((0, 1), (1, 0))):
  train = [None if label < 0 else int(label) for label in train]
  test = [None if label < 0 else int(label) for label in test]
  labels = pa.array(train, pa.int64())
  left, right = zip(*pairs, strict=True)
  return {
    "examples": pa.table({"subset_ratio": [0.5] * 3, "example": [0, 1, 2], "label": labels}),
    "cscores": pa.table({"example": [0, 1, 2], "label": labels}),
    "influence": pa.table(
      {
        "subset_ratio": [0.5] * len(pairs),
        "train_example": left,
        "test_example": right,
        "train_label": pa.array([train[example] for example in left], pa.int64()),
        "test_label": pa.array([test[example] for example in right], pa.int64()),
      }
    ),
    "runs": pa.table({"anything": [1]}),
  }


def _split(labels, ids=None, pixels=None):
  arrays = [None if values is None else np.array(values) for values in (labels, ids, pixels)]
  return SimpleNamespace(labels=arrays[0], ids=arrays[1], pixel_hashes=arrays[2])


def _check(tables, train=TRAIN, test=TEST, **of_train):
  dataset = SimpleNamespace(
    spec="digits", train=_split(train, **of_train), test=_split(test), class_names="0123456789"
  )
  check_dataset("d", MANIFEST, tables, dataset)


def _index(**of_train):
  """The table `index` of equal labels."""
  dataset = SimpleNamespace(
    train=_split([1, 1, 1], **of_train), test=_split([1, 1]), class_names="ab"
  )
  return {"index": pa.concat_tables(rows for _, rows in index_parts(dataset))}


@pytest.mark.parametrize("train", [TRAIN, [-1, -1, -1], [-1, 8, -1]])
def test_the_data_set_that_was_scored_passes(train):
  _check(_tables(train))
  _check({})


@pytest.mark.parametrize(("train", "test"), [(TRAIN[:2], TEST), (TRAIN, [8]), (TEST, TRAIN)])
def test_sizes_come_first_and_need_no_labels(train, test):
  with pytest.raises(UsageError) as caught:
    _check(_tables([-1] * 3, [-1] * 2), train, test)
  assert str(caught.value) == (
    "d holds scores of 3 training and 2 test examples, the data set digits has "
    f"{len(train)} training and {len(test)} test examples: give the data set that was scored"
  )


@pytest.mark.parametrize(
  ("train", "test", "message"),
  [
    ([7, 8, 0], TEST, "d: training example 2 is of class 9 in table examples, of class 0 in the "),
    (TRAIN, [8, 0], "d: test example 1 is of class 7 in table influence, of class 0 in the data "),
  ],
)
def test_a_label_that_differs_is_named(train, test, message):
  with pytest.raises(UsageError) as caught:
    _check(_tables(), train, test)
  assert str(caught.value).startswith(message)
  assert "set digits, and 1 of " in str(caught.value)
  assert str(caught.value).endswith(" labels differ: give the data set that was scored")


def test_only_known_labels_are_compared():
  with pytest.raises(UsageError, match="and 1 of 1 labels differ"):
    _check(_tables([-1, 8, -1], [-1, -1]), [7, 0, 9])


def test_tables_must_have_every_example_before_labels_are_looked_at():
  tables = _tables()
  tables["cscores"] = tables["cscores"].slice(1)
  with pytest.raises(UsageError, match=r"^d: table cscores should have each of 3"):
    _check(tables, [0, 0, 0])
  with pytest.raises(UsageError, match=r"^d: table influence at ratio 0\.5 should have pairs"):
    _check(_tables(test=[8, 7, 7], pairs=((0, 2),)))


@pytest.mark.parametrize("known", [{}, {"ids": ["a", "b", "c"]}, {"pixels": [b"x", b"x", b"y"]}])
@pytest.mark.parametrize("given", [{}, {"ids": ["a", "b", "c"]}, {"pixels": [b"x", b"x", b"y"]}])
def test_ids_and_pixels_are_compared_where_both_are_known(known, given):
  _check(_index(**known), **given)


@pytest.mark.parametrize(
  ("of_train", "message"),
  [
    ({"ids": ["a", "c", "b"], "pixels": [b"x", b"y", b"x"]}, "has another id in the data set"),
    ({"pixels": [b"x", b"y", b"x"]}, "has other pixels in the data set"),
  ],
)
def test_the_same_examples_in_another_order_are_told(of_train, message):
  with pytest.raises(UsageError) as caught:
    _check(_index(ids=["a", "b", "c"], pixels=[b"x", b"x", b"y"]), **of_train)
  assert str(caught.value) == (
    f"d: training example 1 {message} digits, as have 2 of 3, which has the same examples in "
    "another order: give the data set that was scored"
  )


def test_other_examples_are_told():
  with pytest.raises(UsageError) as caught:
    _check(_index(pixels=[b"x", b"x", b"y"]), pixels=[b"x", b"z", b"y"])
  assert str(caught.value) == (
    "d: training example 1 has other pixels in the data set digits, as have 1 of 3: give the data "
    "set that was scored"
  )
