"""Scores of TFDS's MNIST find every image of the original files, which have another order."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

import heldout
from tests.helpers.mnist import original_mnist
from tests.helpers.outcomes import make_outcomes, write_experiment


@pytest.fixture(scope="module")
def idx(tmp_path_factory):
  return heldout.load_dataset(original_mnist(tmp_path_factory.mktemp("npm")))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory, idx):
  """MNIST as TFDS prepares it: it shuffles by a hash of its keys, the places in the files."""
  directory = tmp_path_factory.mktemp("tfds")
  tfds.dataset_builders.store_as_tfds_dataset(
    name="mnist",
    version="3.0.1",
    features=tfds.features.FeaturesDict(
      {
        "image": tfds.features.Image(shape=(28, 28, 1)),
        "label": tfds.features.ClassLabel(num_classes=10),
      }
    ),
    split_datasets={
      name: [
        (number, {"image": image, "label": int(label)})
        for number, (image, label) in enumerate(zip(split.images, split.labels, strict=True))
      ]
      for name, split in (("train", idx.train), ("test", idx.test))
    },
    data_dir=directory,
    download_config=tfds.download.DownloadConfig(num_shards=1),
  )
  return directory


@pytest.fixture(scope="module")
def scores(tmp_path_factory, data_dir):
  directory = tmp_path_factory.mktemp("scores")
  outcomes = make_outcomes(0.7, range(8), num_train=60_000, num_test=10_000)
  write_experiment(directory / "runs", outcomes)
  return heldout.score(
    directory / "runs", directory / "scores", dataset="tfds:mnist", data_dir=data_dir
  )


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_image_is_found(scores, idx, data_dir, split):
  original = getattr(idx, split)
  aligned = heldout.align(scores, (original.images[..., 0], original.labels), split=split)
  assert aligned.matched_by == "pixels"
  assert np.array_equal(np.sort(aligned.examples), np.arange(len(original)))
  assert not np.array_equal(aligned.examples, np.arange(len(original)))
  theirs = getattr(heldout.load_dataset("tfds:mnist", data_dir=str(data_dir)), split)
  assert np.array_equal(theirs.images[aligned.examples], original.images)
  assert np.array_equal(theirs.labels[aligned.examples], original.labels)
  copies = {image.tobytes() for image in original.images}
  assert len(original) - len(copies) == sum(len(alike) - 1 for alike in aligned.ambiguous)


def test_scores_are_those_of_the_images(scores, idx):
  aligned = heldout.align(scores, idx)
  table = scores.columns("examples", 0.7)
  assert np.array_equal(aligned["memorization"], table["memorization"][aligned.examples], True)
  cscore = scores.columns("cscores")["cscore"][aligned.examples[aligned.easy_first()]]
  defined = cscore[~np.isnan(cscore)]
  assert np.array_equal(defined, np.sort(defined)[::-1])
  assert np.isnan(cscore[len(defined) :]).all()
