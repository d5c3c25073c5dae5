import numpy as np
import pytest

from reports.columns import ReportError
from reports.labels import labels_of


def test_labels_come_from_the_data_set(digits):
  found = labels_of(np.array([7, 0, 3]), digits.train, "examples")
  assert found.tolist() == digits.train.labels[[7, 0, 3]].tolist()


def test_no_rows(digits):
  assert labels_of(np.empty(0), digits.train, "examples").size == 0


@pytest.mark.parametrize("example", [400, -1])
def test_index_outside_the_data_set(digits, example):
  message = rf"cscores: example {example} is not among the data set's 400 examples: report with"
  with pytest.raises(ReportError, match=message):
    labels_of(np.array([399, example]), digits.train, "cscores")
