"""The labels of examples in the score tables: those of the data set."""

import numpy as np

from reports.columns import ReportError
from reports.pictures import Examples


def labels_of(examples: np.ndarray, dataset_split: Examples, where: str) -> np.ndarray:
  """Returns the data set's labels of `examples`, int `[rows]`.

  Args:
    examples: int `[rows]`, example indices.
    dataset_split: the split that the indices point into.
    where: table and column of the indices, for messages.

  Raises:
    ReportError: an index lies outside the split, so the scores are not of this data set.
  """
  examples = examples.astype(np.int64)
  size = len(dataset_split.labels)
  outside = np.flatnonzero((examples < 0) | (examples >= size))
  if outside.size:
    raise ReportError(
      f"{where}: example {examples[outside[0]]} is not among the data set's {size} examples: "
      "report with the data set that was scored"
    )
  return dataset_split.labels[examples]
