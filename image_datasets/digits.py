"""`digits`: the 1,797 real 8×8 digits that come with scikit-learn."""

import numpy as np

from image_datasets.checks import checked_dataset
from image_datasets.dataset import ImageDataset

_TEST_STRIDE = 5


def load() -> ImageDataset:
  """Returns the digits, 1,437 for training and 360 for testing; needs no files.

  The split is fixed, without a random generator: sorted by label (stably), every fifth image
  is a test image, so each class gives a fifth of itself. Within a split the images keep
  scikit-learn's order. Pixels are 0 … 16.
  """
  from sklearn.datasets import load_digits  # its import alone takes longer than the loading

  bunch = load_digits()
  images, labels = bunch.images.astype(np.uint8), bunch.target
  is_test = np.zeros(len(labels), dtype=bool)
  is_test[np.argsort(labels, kind="stable")[::_TEST_STRIDE]] = True
  return checked_dataset(
    "digits",
    train=(images[~is_test], labels[~is_test]),
    test=(images[is_test], labels[is_test]),
    num_classes=10,
    pixel_max=16.0,
  )
