import numpy as np
import pytest
from sklearn.datasets import load_digits


@pytest.fixture(scope="session")
def real_digits():
  """A hundred real digits of scikit-learn's: uint8 [100, 8, 8] and int64 [100]."""
  bunch = load_digits()
  return bunch.images[:100].astype(np.uint8), bunch.target[:100]
