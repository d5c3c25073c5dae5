"""The labels of the score tables against those of the data set."""

import numpy as np

from reports.columns import UNKNOWN_LABEL, ReportError
from reports.pictures import LabeledImages


def check_labels(
  examples: np.ndarray, labels: np.ndarray, dataset_split: LabeledImages, where: str
) -> np.ndarray:
  """Returns the data set's labels of `examples`.

  Args:
    examples: int `[rows]`, example indices.
    labels: int `[rows]`, the table's labels, `UNKNOWN_LABEL` where it has none.
    dataset_split: the split that the indices point into.
    where: table and column of the indices, for messages.

  Raises:
    ReportError: an index lies outside the split, or a known label differs from the data set's,
      so the scores are not of this data set.
  """
  examples = examples.astype(np.int64)
  size = len(dataset_split.labels)
  outside = np.flatnonzero((examples < 0) | (examples >= size))
  if outside.size:
    raise ReportError(
      f"{where}: example {examples[outside[0]]} is not among the data set's {size} examples: "
      "report with the data set that was scored"
    )
  found = dataset_split.labels[examples]
  different = np.flatnonzero((labels != UNKNOWN_LABEL) & (labels != found))
  if different.size:
    row = different[0]
    raise ReportError(
      f"{where}: example {examples[row]} has label {int(labels[row])}, but {int(found[row])} in "
      "the data set: report with the data set that was scored"
    )
  return found
