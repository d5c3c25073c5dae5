"""Labels of the examples, as the score tables show them."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Labels:
  """Classes of the examples.

  Attributes:
    train: integers [num_train], or None if scored without a data set.
    test: integers [num_test], or None.
  """

  train: np.ndarray | None
  test: np.ndarray | None

  def of_train(self, examples: np.ndarray) -> np.ndarray | None:
    """Returns the labels of these training examples."""
    return None if self.train is None else self.train[examples]

  def of_test(self, examples: np.ndarray) -> np.ndarray | None:
    """Returns the labels of these test examples."""
    return None if self.test is None else self.test[examples]
