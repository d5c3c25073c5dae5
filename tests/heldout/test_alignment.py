import numpy as np
import pytest

import heldout
from image_datasets.checks import checked_dataset
from image_datasets.registry import load_dataset
from tests.helpers.outcomes import (
  NUM_TEST,
  NUM_TRAIN,
  make_outcomes,
  write_experiment,
  write_few_digits,
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
  directory = tmp_path_factory.mktemp("align")
  write_experiment(directory / "runs", make_outcomes(0.7, range(40)))
  return directory


@pytest.fixture(scope="module")
def dataset(directory):
  """A few digits, of which number 5 is copied to 9 and 20, there with another label."""
  write_few_digits(directory / "digits.npz")
  arrays = dict(np.load(directory / "digits.npz"))
  arrays["train__image"][[9, 20]] = arrays["train__image"][5]
  arrays["train__label"][[5, 9, 20]] = [3, 3, 4]
  np.savez(directory / "digits.npz", **arrays)
  return load_dataset(f"npz:{directory}/digits.npz")


@pytest.fixture(scope="module")
def scores(directory, dataset):
  flags = {"dataset": dataset.spec, "min_influence": 0, "min_memorization": -1}
  return heldout.score(directory / "runs", directory / "scores", **flags)


def _pairs(split, order):
  return [(split.images[place], int(split.labels[place])) for place in order]


def test_scores_follow_the_images(scores, dataset):
  order = np.random.default_rng(0).permutation(NUM_TRAIN)
  order = np.r_[order[~np.isin(order, [5, 9])], 5, 9]  # of copies, the first is the first
  aligned = heldout.align(scores, _pairs(dataset.train, order))
  assert aligned.examples.tolist() == order.tolist()
  for table, columns in (
    ("examples", ("memorization", "memorization_se", "consistency", "runs_in", "correct_out")),
    ("cscores", ("cscore", "cscore_se")),
    ("train_influence", ("pairs", "largest_influence")),
  ):
    expected = scores.columns(table)
    for column in columns:
      assert np.array_equal(aligned[column], expected[column][order], equal_nan=True), column
      assert aligned[column].dtype == expected[column].dtype
  assert aligned.ambiguous == ((NUM_TRAIN - 2, NUM_TRAIN - 1),)
  assert repr(aligned).startswith(f"<Aligned {NUM_TRAIN} examples, matched by pixels: runs_in, ")


def test_test_examples_too(scores, dataset):
  order = np.arange(NUM_TEST)[::-1]
  aligned = heldout.align(scores, _pairs(dataset.test, order), split="test")
  expected = scores.columns("test_influence")["pairs"]
  assert aligned["pairs"].tolist() == expected[order].tolist()
  with pytest.raises(
    KeyError, match="there is no column 'cscore': choose one of pairs, largest_inf"
  ):
    aligned.easy_first()


def test_copies_are_told_apart_by_their_labels(scores, dataset):
  aligned = heldout.align(scores, _pairs(dataset.train, [20, 9, 5, 0]))
  assert aligned.examples.tolist() == [20, 5, 9, 0]
  assert aligned.ambiguous == ((1, 2),)
  without_labels = heldout.align(scores, dataset.train.images[[20, 9, 5, 0]])
  assert without_labels.examples.tolist() == [5, 9, 20, 0]
  assert without_labels.ambiguous == ((0, 1, 2),)


def test_labels_are_asserted(scores, dataset):
  images, labels = dataset.train.images[:4], (dataset.train.labels[:4] + 1) % 10
  with pytest.raises(heldout.UsageError) as caught:
    heldout.align(scores, (images, labels))
  assert str(caught.value) == (
    "labels disagree: training example 0 of the array of 4 images is of class "
    f"{labels[0]}, and of class {dataset.train.labels[0]} in {scores.path}, where it is example 0; "
    "4 of 4 differ: compare the numbers of the classes, and the order"
  )


def test_examples_that_were_not_scored_are_an_error_or_undefined(scores, dataset):
  images = np.concatenate([dataset.train.images[3:5], 255 - dataset.train.images[:1]])
  with pytest.raises(
    heldout.UsageError, match="1 of 3 examples of the array of 3 images are not am"
  ):
    heldout.align(scores, images)
  aligned = heldout.align(scores, images, missing="nan")
  assert aligned.examples.tolist() == [3, 4, -1]
  cscore = scores.columns("cscores")["cscore"]
  assert np.array_equal(aligned["cscore"], [cscore[3], cscore[4], np.nan], equal_nan=True)
  assert np.isnan(aligned["runs_in"]).tolist() == [False, False, True]
  assert aligned.easy_first()[-1] == 2
  assert 2 not in aligned.top(3)


def test_orders_are_by_score(scores, dataset):
  aligned = heldout.align(scores, dataset)
  cscore, memorization = aligned["cscore"], aligned["memorization"]
  assert np.array_equal(aligned.easy_first(), np.lexsort((np.arange(NUM_TRAIN), -cscore)))
  assert np.array_equal(aligned.top(5), np.lexsort((np.arange(NUM_TRAIN), -memorization))[:5])
  low, middle, high = aligned.bands([0.3, 0.6])
  assert np.array_equal(low, np.flatnonzero(cscore < 0.3))
  assert np.array_equal(middle, np.flatnonzero((cscore >= 0.3) & (cscore < 0.6)))
  assert len(low) + len(middle) + len(high) == NUM_TRAIN


@pytest.fixture(scope="module")
def named(directory, dataset):
  """The same images shuffled and named, as TFDS does with CIFAR, and their order."""
  order = np.random.default_rng(1).permutation(NUM_TRAIN)
  shuffled = checked_dataset(
    "shuffled",
    train=(dataset.train.images[order], dataset.train.labels[order]),
    test=(dataset.test.images, dataset.test.labels),
    num_classes=10,
    train_ids=[f"train_{place}" for place in order],
    test_ids=[f"test_{place:05}" for place in range(NUM_TEST)],
  )
  return shuffled, order


def test_numbered_ids_are_places_in_the_original_order(scores, named):
  shuffled, order = named
  aligned = heldout.align(scores, shuffled, match="id")
  assert (aligned.matched_by, aligned.ambiguous) == ("id", ())
  assert aligned.examples.tolist() == order.tolist()
  assert heldout.align(scores, shuffled).matched_by == "pixels"


def test_by_index_only_labels_are_compared(scores, dataset, named):
  shuffled, _ = named
  assert heldout.align(scores, dataset, match="index").examples.tolist() == list(range(NUM_TRAIN))
  with pytest.raises(
    heldout.UsageError, match="labels disagree: training example 0 of shuffled is"
  ):
    heldout.align(scores, shuffled, match="index")


def test_what_cannot_be_matched_is_one_line(scores, directory):
  names = ["a.png", "b.png"]
  with pytest.raises(
    heldout.UsageError, match="cannot be matched by ids or pixels, which must be k"
  ):
    heldout.align(scores, names)
  with pytest.raises(heldout.UsageError, match="match='hash': choose one of index, id, pixels"):
    heldout.align(scores, names, match="hash")
  unlabelled = heldout.score(directory / "runs", directory / "unlabelled")
  with pytest.raises(heldout.UsageError, match="unlabelled has no index of its train examples: sc"):
    heldout.align(unlabelled, names)
