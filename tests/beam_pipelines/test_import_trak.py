"""`heldout import-outcomes` of TRAK's files."""

import dataclasses

import pytest

from tests.helpers.imports import (
  import_outcomes,
  make_with_margins,
  manifest_of_pack,
)
from tests.helpers.layouts import (
  read_experiment,
  write_trak,
)


@pytest.fixture
def outcomes():
  return make_with_margins()


def test_trak(tmp_path, outcomes):
  write_trak(tmp_path / "trak", outcomes)
  assert import_outcomes(tmp_path / "runs", "--from=trak", f"--source={tmp_path}/trak") == 0
  expected = [dataclasses.replace(each, train_correct=b"", train_margin=b"") for each in outcomes]
  assert read_experiment(tmp_path / "runs", with_margins=True) == expected
  assert manifest_of_pack(tmp_path / "runs")["origin"]["margin"] == "logsumexp"
