"""`heldout import-outcomes` of dattri's files."""

import numpy as np
import pytest

from beam_pipelines.storage.layouts.sources import Source
from beam_pipelines.storage.runs.outcome import RunOutcome
from tests.helpers.imports import (
  import_outcomes,
  make_with_margins,
)
from tests.helpers.layouts import (
  read_experiment,
  stack_margins,
  write_dattri,
)
from tests.helpers.outcomes import (
  NUM_TRAIN,
)


@pytest.fixture
def outcomes():
  return make_with_margins()


def _of_equal_size(outcomes):
  """The outcomes, but for subsets of 18 of 37 examples."""
  rng = np.random.default_rng(2)
  changed = []
  for outcome in outcomes:
    _, *bits = outcome.unpack()
    in_subset = np.zeros(NUM_TRAIN, bool)
    in_subset[rng.permutation(NUM_TRAIN)[:18]] = True
    changed.append(RunOutcome.pack(outcome.key, in_subset, *bits, outcome.margins))
  return changed


def test_dattri_stores_minus_the_loss(tmp_path, outcomes):
  outcomes = _of_equal_size(outcomes)
  write_dattri(tmp_path / "dattri", outcomes)
  source = ["--from=dattri", f"--source={tmp_path}/dattri", f"--num_train={NUM_TRAIN}"]
  assert import_outcomes(tmp_path / "runs", *source) == 0
  read = read_experiment(tmp_path / "runs", with_margins=True)
  assert [each.in_subset for each in read] == [each.in_subset for each in outcomes]
  assert [each.test_correct for each in read] == [each.test_correct for each in outcomes]
  np.testing.assert_allclose(stack_margins(read)[1], stack_margins(outcomes)[1], rtol=1e-4)


@pytest.mark.parametrize("separator", ["\n", ", "])
def test_indices_may_be_dattri_s_text_files(tmp_path, outcomes, separator, capsys):
  outcomes = _of_equal_size(outcomes)
  write_dattri(tmp_path / "dattri", outcomes)
  indices = np.load(tmp_path / "dattri" / "indices.npy")
  (tmp_path / "dattri" / "indices.npy").unlink()
  (tmp_path / "dattri" / "metadata.yml").write_text("{}")  # which may cover some of them alone
  for row, index in enumerate(indices):
    path = tmp_path / "dattri" / str(row) / "indices.txt"
    path.parent.mkdir()
    path.write_text(separator.join(map(str, index)) + "\n")
  source = ["--from=dattri", f"--source={tmp_path}/dattri", f"--num_train={NUM_TRAIN}"]
  assert import_outcomes(tmp_path / "runs", *source) == 0
  read = read_experiment(tmp_path / "runs")
  assert [each.in_subset for each in read] == [each.in_subset for each in outcomes]
  path.write_text("1 2 3")
  assert import_outcomes(tmp_path / "runs", *source) == 2
  assert "has subsets of 3 to 18 examples: dattri needs one size" in capsys.readouterr().err
  path.write_text("one")
  assert import_outcomes(tmp_path / "runs", *source) == 2
  assert "19/indices.txt holds something else than indices" in capsys.readouterr().err


def test_the_sign_of_dattri_s_targets_is_checked(tmp_path, outcomes, capsys):
  write_dattri(tmp_path / "dattri", _of_equal_size(outcomes))
  path = tmp_path / "dattri" / "target_values.npy"
  np.save(path, -np.load(path))
  source = ["--from=dattri", f"--source={tmp_path}/dattri", f"--num_train={NUM_TRAIN}"]
  assert import_outcomes(tmp_path / "runs", *source) == 2
  assert (
    "none of 20 rows is a run; the first: row 0 has target values of the other sign: a "
    "log-probability is at most 0" in capsys.readouterr().err
  )
  assert not list((tmp_path / "runs").rglob("*.parquet"))
  assert import_outcomes(tmp_path / "runs", *source, "--target=loss") == 0
  np.save(path, stack_margins(outcomes)[1])
  assert import_outcomes(tmp_path / "margins", *source, "--target=margin") == 0
  read = read_experiment(tmp_path / "margins", with_margins=True)
  np.testing.assert_array_equal(stack_margins(read)[1], stack_margins(outcomes)[1])


def test_indices_of_dattri_are_checked(tmp_path, outcomes, capsys):
  write_dattri(tmp_path / "dattri", _of_equal_size(outcomes))
  path = tmp_path / "dattri" / "indices.npy"
  indices = np.load(path)
  indices[2, 0], indices[3, 0] = NUM_TRAIN, indices[3, 1]
  np.save(path, indices)
  source = ["--from=dattri", f"--source={tmp_path}/dattri", f"--num_train={NUM_TRAIN}"]
  assert import_outcomes(tmp_path / "runs", *source) == 0
  out = capsys.readouterr().out
  assert "  row 2 has indices that are not in 0…36\n  row 3 has an index twice\n" in out
  np.save(path, indices.astype(float))
  assert import_outcomes(tmp_path / "runs", *source) == 2
  assert "indices.npy is float64: indices of examples are integers" in capsys.readouterr().err


def test_no_number_of_examples_takes_all_memory(tmp_path, outcomes, capsys):
  write_dattri(tmp_path / "dattri", _of_equal_size(outcomes))
  flags = ["--from=dattri", f"--source={tmp_path}/dattri", "--num_train=1000000000000"]
  assert import_outcomes(tmp_path / "runs", *flags) == 2
  error = capsys.readouterr().err
  assert "is said to be of 1,000,000,000,000 training examples: 1 to 268,435,456 can be" in error
  assert error.count("\n") == 1


def test_masks_of_few_indices_are_made_a_few_at_a_time(tmp_path):
  """An index of 8 bytes becomes a mask of millions."""
  (tmp_path / "dattri").mkdir()
  np.save(tmp_path / "dattri" / "indices.npy", np.zeros((1000, 1), int))
  np.save(tmp_path / "dattri" / "target_values.npy", np.full((1000, 1), -0.5))
  source = Source("dattri", f"{tmp_path}/dattri", num_train=1 << 26)
  assert source.open().description.row_bytes == 1 << 26
