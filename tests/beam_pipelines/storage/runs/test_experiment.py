import os

import pytest

from beam_pipelines.storage.runs.experiment import Skipped, list_runs, require_runs
from beam_pipelines.storage.runs.run_place import RunKey
from files.errors import UsageError


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
  _touch(tmp_path, "training.json", "0.7/notes.txt", "0.7/best/notes", "README/x", "logs/3/events")
  listing = list_runs(str(tmp_path))
  assert (listing.runs, listing.skipped) == ((), ())


@pytest.mark.parametrize("file", ["aux_arrays.npz", "checkpoints/ckpt-1.index"])
@pytest.mark.parametrize(
  ("place", "reason"),
  [
    ("0/1", "'0' is not a subset ratio in (0, 1)"),
    ("1.5/1", "'1.5' is not a subset ratio in (0, 1)"),
    ("nan/1", "'nan' is not a subset ratio in (0, 1)"),
    ("seven/1", "'seven' is not a subset ratio in (0, 1)"),
    ("seven/eight", "'seven' is not a subset ratio in (0, 1)"),
    (
      "1.0/1",
      "'1.0' is not a subset ratio in (0, 1): "
      "a run that saw all examples tells nothing of what it would be without them",
    ),
    ("70/1", "'70' is not a subset ratio in (0, 1): name the directory 0.7"),
    ("5%/1", "'5%' is not a subset ratio in (0, 1): name the directory 0.05"),
    ("ratio_0.7/1", "'ratio_0.7' is not a subset ratio in (0, 1): name the directory 0.7"),
    (
      "run_7/1",
      "'run_7' is not a subset ratio in (0, 1): "
      "runs lie in a directory of their ratio, such as 0.7/7",
    ),
    ("0.7_1/1", "'0.7_1' is not a subset ratio in (0, 1)"),
    (" 0.7/1", "' 0.7' is not a subset ratio in (0, 1): name the directory 0.7"),
    ("٠.٧/1", "'٠.٧' is not a subset ratio in (0, 1)"),
    ("0.7/run_7", "'run_7' is not a run id: name the directory by a number, such as 7"),
    ("0.7/best", "'best' is not a run id: name the directory by a number, such as 0"),
    ("0.7/-1", "'-1' is not a run id: name the directory by a number, such as 1"),
    ("0.7/٣", "'٣' is not a run id: name the directory by a number, such as 0"),
    (f"0.7/{2**63}", f"run id {2**63} is too large: the largest is {2**63 - 1}"),
    ("0.7/" + "9" * 200, f"run id {'9' * 200} is too large: the largest is {2**63 - 1}"),
    ("more/0.7/1", "is not in <subset ratio>/<run id>/ of the experiment"),
    ("0.7/3/old", "is not in <subset ratio>/<run id>/ of the experiment"),
    ("lone", "is not in <subset ratio>/<run id>/ of the experiment"),
  ],
)
def test_what_looks_like_a_run_and_is_none_is_skipped_with_a_reason(tmp_path, place, reason, file):
  _touch(tmp_path, "0.7/3/aux_arrays.npz", f"{place}/{file}", f"{place}/notes")
  listing = list_runs(str(tmp_path))
  assert [run.key for run in listing.runs] == [RunKey(0.7, 3)]
  assert listing.skipped == (Skipped(f"{tmp_path}/{place}", reason),)


@pytest.mark.parametrize(
  ("name", "shown"), [(b"run\n7", "run\\n7"), (b"run_\xff", "run_\\udcff"), (b"\x1b7", "\\x1b7")]
)
def test_names_that_no_line_or_table_can_hold_are_spelled_out(tmp_path, name, shown):
  (tmp_path / "0.7" / os.fsdecode(name)).mkdir(parents=True)
  (tmp_path / "0.7" / os.fsdecode(name) / "aux_arrays.npz").touch()
  (skipped,) = list_runs(str(tmp_path)).skipped
  assert skipped.path == f"{tmp_path}/0.7/{shown}"
  assert skipped.reason.isprintable()


def test_the_largest_run_id_is_taken(tmp_path):
  _touch(tmp_path, f"0.7/{2**63 - 1}/aux_arrays.npz")
  assert list_runs(str(tmp_path)).runs[0].key == RunKey(0.7, 2**63 - 1)


@pytest.mark.parametrize(
  ("names", "chosen"),
  [
    (["0.7/5/aux_arrays.npz", "0.70/5/aux_arrays.npz", "0.7/05/aux_arrays.npz"], "0.7/5"),
    (["0.70/5/aux_arrays.npz", "0.7/05/aux_arrays.npz"], "0.7/05"),
    (["0.7/5/notes", "0.70/5/notes", "0.7/05/aux_arrays.npz"], "0.7/05"),
    (["0.7/5/notes", "0.70/5/notes"], "0.7/5"),
  ],
)
def test_of_two_directories_of_a_run_the_complete_and_plainly_named_one_is_taken(
  tmp_path, names, chosen
):
  _touch(tmp_path, *names)
  listing = list_runs(str(tmp_path))
  assert [run.path for run in listing.runs] == [f"{tmp_path}/{chosen}"]
  directories = {f"{tmp_path}/{'/'.join(name.split('/')[:2])}" for name in names}
  assert {entry.path for entry in listing.skipped} == directories - {f"{tmp_path}/{chosen}"}
  assert {entry.reason for entry in listing.skipped} == {f"is the same run as {tmp_path}/{chosen}"}


def test_runs_behind_links_are_listed(tmp_path):
  _touch(tmp_path / "elsewhere", "7/aux_arrays.npz", "7/checkpoints/ckpt-1.index")
  _touch(tmp_path / "e", "0.7/1/aux_arrays.npz")
  (tmp_path / "e" / "0.7" / "7").symlink_to(tmp_path / "elsewhere" / "7")
  (tmp_path / "e" / "0.5").symlink_to("../elsewhere")
  (tmp_path / "e" / "0.7" / "2").mkdir()
  (tmp_path / "e" / "0.7" / "2" / "aux_arrays.npz").symlink_to("../1/aux_arrays.npz")
  listing = list_runs(str(tmp_path / "e"))
  keys = [RunKey(0.5, 7), RunKey(0.7, 1), RunKey(0.7, 2), RunKey(0.7, 7)]
  assert [run.key for run in listing.runs] == keys
  assert all(run.complete for run in listing.runs)
  assert listing.runs[3].checkpoint_names == ("ckpt-1",)
  assert listing.skipped == ()


def test_links_that_lead_to_nothing_or_round_in_a_circle_are_skipped(tmp_path):
  _touch(tmp_path, "0.7/1/aux_arrays.npz")
  (tmp_path / "0.7" / "2").symlink_to("/nowhere/2")
  (tmp_path / "0.7" / "3").symlink_to("3")
  (tmp_path / "0.7" / "4").symlink_to("../0.7")
  (tmp_path / "0.5").symlink_to("/nowhere")
  (tmp_path / "loop").symlink_to(".")
  (tmp_path / "0.7" / "1" / "loop").symlink_to("..")
  listing = list_runs(str(tmp_path))
  assert [run.key for run in listing.runs] == [RunKey(0.7, 1)]
  assert {entry.path.removeprefix(f"{tmp_path}/"): entry.reason for entry in listing.skipped} == {
    "0.5": "is a symbolic link to /nowhere, where there is nothing",
    "0.7/2": "is a symbolic link to /nowhere/2, where there is nothing",
    "0.7/3": "is a symbolic link that leads to itself",
    "0.7/4": f"is a symbolic link that leads back to {tmp_path}/0.7, which holds it",
    "loop": f"is a symbolic link that leads back to {tmp_path}, which holds it",
  }


@pytest.mark.parametrize(
  ("names", "below", "instead"),
  [
    ([], "", "there are no files, or no such directory"),
    (["training.json"], "", "'training.json' is no file of a run"),
    (["a/b", "c"], "", "'a/b' is no file of a run, like all others"),
    (
      ["70/3/aux_arrays.npz", "70/4/aux_arrays.npz"],
      "",
      "what looks like runs is none; the first: {root}/70/3 '70' is not a subset "
      "ratio in (0, 1): name the directory 0.7",
    ),
    (
      ["0.7/run_7/aux_arrays.npz"],
      "",
      "what looks like runs is none; the first: {root}/0.7/run_7 'run_7' is not a run "
      "id: name the directory by a number, such as 7",
    ),
    (
      ["cifar/0.7/12/aux_arrays.npz"],
      "",
      "{root}/cifar/0.7/12 is a run of {root}/cifar: give that as the experiment",
    ),
    (
      ["0.7/12/checkpoints/ckpt-1.index"],
      "0.7",
      "{root}/0.7/12 is a run of {root}: give that as the experiment",
    ),
    (
      ["0.7/12/aux_arrays.npz"],
      "0.7/12",
      "{root}/0.7/12 is a run of {root}: give that as the experiment",
    ),
  ],
)
def test_a_directory_without_runs_is_refused_with_what_is_there_instead(
  tmp_path, names, below, instead
):
  _touch(tmp_path, *names)
  path = f"{tmp_path}/{below}".rstrip("/")
  with pytest.raises(UsageError) as error:
    require_runs(path)
  reason = instead.format(root=tmp_path)
  assert (
    str(error.value) == f"{path} holds no runs: they lie in <subset ratio>/<run id>/, and {reason}"
  )


def test_a_directory_of_broken_links_is_refused_with_the_first(tmp_path):
  (tmp_path / "0.7").symlink_to("/nowhere")
  with pytest.raises(UsageError) as error:
    require_runs(str(tmp_path))
  assert str(error.value).endswith(
    f"and what looks like runs is none; the first: {tmp_path}/0.7 is a symbolic link to /nowhere, "
    "where there is nothing"
  )


def test_the_directory_of_a_run(tmp_path):
  assert RunKey(0.7, 123).directory("gs://bucket/exp") == "gs://bucket/exp/0.7/123"
