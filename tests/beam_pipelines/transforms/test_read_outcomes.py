import pytest

from beam_pipelines.storage.runs.experiment import list_runs
from beam_pipelines.storage.runs.judgement import SetSizes
from beam_pipelines.transforms.read_outcomes import ReadRecordedOutcomes
from tests.helpers.eager import run_eagerly
from tests.helpers.outcomes import NUM_TEST, NUM_TRAIN, make_outcomes, write_experiment


def _sorted(outcomes):
  return sorted(outcomes, key=lambda outcome: outcome.key)


def test_reads_good_runs_and_names_bad_ones(tmp_path):
  good = make_outcomes(0.5, range(4))
  write_experiment(tmp_path, good)
  (tmp_path / "0.5" / "4").mkdir()
  (tmp_path / "0.5" / "4" / "aux_arrays.npz").write_bytes(b"PK")
  (tmp_path / "0.5" / "5").mkdir()
  (tmp_path / "0.5" / "5" / "notes").write_bytes(b"")
  read = run_eagerly(ReadRecordedOutcomes(), list_runs(str(tmp_path)).runs)
  assert _sorted(read["outcomes"]) == good
  reasons = {entry.path: entry.reason for entry in read["skipped"]}
  assert set(reasons) == {f"{tmp_path}/0.5/4", f"{tmp_path}/0.5/5"}
  assert reasons[f"{tmp_path}/0.5/4"].startswith("aux_arrays.npz cannot be read as npz")
  assert reasons[f"{tmp_path}/0.5/5"] == "has no aux_arrays.npz: the run is not complete"


@pytest.mark.parametrize("sizes", [None, SetSizes(NUM_TRAIN, NUM_TEST)])
def test_sizes_are_those_of_the_data_set_or_of_most_runs(tmp_path, sizes):
  usual = make_outcomes(0.5, range(3))
  odd = make_outcomes(0.5, [3], num_train=40) + make_outcomes(0.7, [0], num_test=12)
  write_experiment(tmp_path, usual + odd)
  read = run_eagerly(ReadRecordedOutcomes(sizes), list_runs(str(tmp_path)).runs)
  assert _sorted(read["outcomes"]) == usual
  assert {(entry.path, entry.reason) for entry in read["skipped"]} == {
    (f"{tmp_path}/0.5/3", "is of 40 training and 11 test examples, not 37 and 11"),
    (f"{tmp_path}/0.7/0", "is of 37 training and 12 test examples, not 37 and 11"),
  }


def test_nothing_is_picked_from_a_tie_of_sizes(tmp_path):
  outcomes = make_outcomes(0.5, range(2)) + make_outcomes(0.5, [2, 3], num_train=40)
  write_experiment(tmp_path, outcomes + make_outcomes(0.5, [4], num_test=12))
  read = run_eagerly(ReadRecordedOutcomes(), list_runs(str(tmp_path)).runs)
  assert read["outcomes"] == []
  reasons = {entry.path: entry.reason for entry in read["skipped"]}
  assert len(reasons) == 5
  assert reasons[f"{tmp_path}/0.5/3"] == (
    "is of 40 training and 11 test examples, and as many runs are of 37 and 11: only the data set "
    "tells which is right; --dataset names it"
  )
  assert reasons[f"{tmp_path}/0.5/4"].startswith(
    "is of 37 training and 12 test examples, and more runs are of 37 and 11 or 40 and 11: "
  )
  read = run_eagerly(ReadRecordedOutcomes(SetSizes(40, 11)), list_runs(str(tmp_path)).runs)
  assert _sorted(read["outcomes"]) == outcomes[2:]
  assert len(read["skipped"]) == 3


def test_several_threads_read_the_same(tmp_path):
  outcomes = make_outcomes(0.5, range(40))
  write_experiment(tmp_path, outcomes)
  flags = ("--direct_num_workers=4", "--direct_running_mode=multi_threading")
  read = run_eagerly(ReadRecordedOutcomes(), list_runs(str(tmp_path)).runs, *flags)
  assert _sorted(read["outcomes"]) == outcomes
