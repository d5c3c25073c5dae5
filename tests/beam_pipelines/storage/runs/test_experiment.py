import pytest

from beam_pipelines.storage.runs.experiment import RunKey, Skipped, list_runs


def _touch(directory, *names):
  for name in names:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"xx")


def test_lists_runs_sorted_by_ratio_and_id(tmp_path):
  _touch(
    tmp_path, "0.7/10/aux_arrays.npz", "0.7/9/aux_arrays.npz", "0.1/3/checkpoints/ckpt-5.index"
  )
  listing = list_runs(str(tmp_path))
  assert [run.key for run in listing.runs] == [RunKey(0.1, 3), RunKey(0.7, 9), RunKey(0.7, 10)]
  assert [run.complete for run in listing.runs] == [False, True, True]
  assert listing.runs[0].path == f"{tmp_path}/0.1/3"
  assert listing.skipped == ()


def test_knows_checkpoints_and_sizes(tmp_path):
  _touch(
    tmp_path / "0.5/0",
    "aux_arrays.npz",
    "checkpoints/ckpt-10.index",
    "checkpoints/ckpt-10.data-00000-of-00001",
    "checkpoints/ckpt-9.index",
  )
  (run,) = list_runs(str(tmp_path)).runs
  assert run.checkpoint_names == ("ckpt-10", "ckpt-9")
  assert run.bytes == 8


def test_other_files_are_left_alone(tmp_path):
  _touch(tmp_path, "training.json", "0.7/notes.txt", "0.7/best/aux_arrays.npz", "README/x")
  listing = list_runs(str(tmp_path))
  assert (listing.runs, listing.skipped) == ((), ())


@pytest.mark.parametrize("name", ["1.0", "0", "1.5", "nan", "seven", "-0.5"])
def test_a_directory_that_is_no_ratio_is_skipped_with_a_reason(tmp_path, name):
  _touch(tmp_path, f"{name}/1/aux_arrays.npz")
  listing = list_runs(str(tmp_path))
  assert listing.runs == ()
  assert listing.skipped == (
    Skipped(f"{tmp_path}/{name}/1", f"'{name}' is not a subset ratio in (0, 1)"),
  )


def test_a_second_directory_of_the_same_run_is_skipped(tmp_path):
  _touch(tmp_path, "0.7/5/aux_arrays.npz", "0.70/5/aux_arrays.npz", "0.7/05/aux_arrays.npz")
  listing = list_runs(str(tmp_path))
  assert [run.path for run in listing.runs] == [f"{tmp_path}/0.7/05"]
  assert [entry.path for entry in listing.skipped] == [f"{tmp_path}/0.7/5", f"{tmp_path}/0.70/5"]
  assert {entry.reason for entry in listing.skipped} == {f"is the same run as {tmp_path}/0.7/05"}


def test_the_directory_of_a_run(tmp_path):
  assert RunKey(0.7, 123).directory("gs://bucket/exp") == "gs://bucket/exp/0.7/123"
