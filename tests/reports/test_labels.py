import numpy as np
import pytest

from reports.columns import UNKNOWN_LABEL, ReportError
from reports.labels import check_labels


def test_unknown_labels_come_from_the_data_set(digits):
  examples = np.array([7, 0, 3])
  labels = np.array([UNKNOWN_LABEL, digits.train.labels[0], UNKNOWN_LABEL])
  found = check_labels(examples, labels, digits.train, "examples")
  assert found.tolist() == digits.train.labels[[7, 0, 3]].tolist()


def test_no_rows(digits):
  assert check_labels(np.empty(0), np.empty(0), digits.train, "examples").size == 0


def test_index_outside_the_data_set(digits):
  message = r"cscores: example 400 is not among the data set's 400 examples: report with the data"
  with pytest.raises(ReportError, match=message):
    check_labels(np.array([399, 400]), np.array([-1, -1]), digits.train, "cscores")


def test_label_that_differs(digits):
  label = int(digits.train.labels[5])
  message = rf"examples: example 5 has label {label + 1}, but {label} in the data set"
  with pytest.raises(ReportError, match=message):
    check_labels(np.array([5]), np.array([label + 1]), digits.train, "examples")
