import re
import shutil

import apache_beam as beam
import numpy as np
import pytest

import files
from beam_pipelines import cli, verify
from beam_pipelines.storage.runs.experiment import Skipped
from beam_pipelines.storage.runs.run_place import RunKey
from beam_pipelines.transforms.match_outcomes import MatchOutcomes, RunMatches
from models.precision import PRECISIONS
from tests.helpers.checkpoints import write_broken_digits_runs, write_digits_experiment
from tests.helpers.outcomes import make_outcomes, write_experiment


def _verify(experiment, *flags):
  command = ["verify", f"--experiment={experiment}", "--dataset=digits", "--model=mlp"]
  return cli.main([*command, *flags])


def _rows(out):
  """Ratio, run and matches of each line of the table, and its total."""
  lines = (line.split() for line in out.partition("\n\n")[0].splitlines()[1:])
  return {tuple(line[:-4]): line[-4:-1] for line in lines}


def _flip(experiment, run, split, count):
  """Flips recorded bits of a run and shuffles its arrays, whose order means nothing."""
  path = experiment / "0.7" / str(run) / "aux_arrays.npz"
  with np.load(path) as archive:
    arrays = dict(archive)
  arrays[f"correctness_{split}"][:count] ^= True
  order = np.random.default_rng(0).permutation(len(arrays[f"index_{split}"]))
  for name in (f"correctness_{split}", f"index_{split}"):
    arrays[name] = arrays[name][order]
  np.savez(path, **arrays)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  experiment = tmp_path_factory.mktemp("written") / "runs"
  return experiment, write_digits_experiment(experiment, range(5))


@pytest.fixture
def experiment(written, tmp_path):
  return shutil.copytree(written[0], tmp_path / "runs")


def test_everything_matches(experiment, written, capsys):
  assert _verify(experiment) == 0
  captured = capsys.readouterr()
  rows = _rows(captured.out)
  sizes = [outcome.unpack()[0].sum() for outcome in written[1]]
  for run, size in enumerate(sizes):
    removed = 1437 - size
    assert rows["0.7", str(run)] == [f"{size:,}/{size:,}", f"{removed}/{removed}", "360/360"]
  total, removed = sum(sizes), 5 * 1437 - sum(sizes)
  assert rows["total",] == [f"{total:,}/{total:,}", f"{removed:,}/{removed:,}", "1,800/1,800"]
  assert captured.out.endswith(
    "\nverified 5 runs: 8,985 of 8,985 predictions are the recorded ones\n"
  )
  assert captured.err == ""


@pytest.mark.parametrize(
  "flags",
  [
    ("--direct_num_workers=4", "--direct_running_mode=multi_threading"),
    ("--batch_size=100", "--xla"),
  ],
)
def test_the_report_does_not_depend_on_how_it_is_made(experiment, flags, capsys):
  _flip(experiment, 3, "train", 2)
  status = _verify(experiment)
  report = capsys.readouterr().out
  assert _verify(experiment, *flags) == status
  assert capsys.readouterr().out == report


def test_altered_bits_are_found_where_they_are(experiment, written, capsys):
  for split, count in (("train", 7), ("removed", 11), ("test", 13)):
    _flip(experiment, 2, split, count)
  _flip(experiment, 4, "test", 1)
  assert _verify(experiment) == 1
  out = capsys.readouterr().out
  sizes = [outcome.unpack()[0].sum() for outcome in written[1]]
  rows = _rows(out)
  assert rows["0.7", "2"] == [
    f"{sizes[2] - 7:,}/{sizes[2]:,}",
    f"{1426 - sizes[2]}/{1437 - sizes[2]}",
    "347/360",
  ]
  assert rows["0.7", "4"][2] == "359/360"
  assert rows["0.7", "3"][2] == "360/360"
  assert rows["total",][2] == "1,786/1,800"
  assert "8,953 of 8,985 predictions are the recorded ones\n" in out
  assert "2 of 5 runs differ, 1 by more than 0.1000%:\n  0.7/2: 31 of 1,797" in out
  assert "\n  0.7/4: 1 of 1,797 predictions (0.0556%)\n" in out


@pytest.mark.parametrize(
  ("tolerance", "status"),
  [("0", 1), ("0.05%", 1), ("0.1%", 0), ("0.00056", 0)],
)
def test_tolerance_is_the_share_of_a_run_that_may_differ(experiment, tolerance, status, capsys):
  _flip(experiment, 1, "removed", 1)
  assert _verify(experiment, f"--tolerance={tolerance}") == status
  assert f"1 of 5 runs differ, {status} by more than" in capsys.readouterr().out


@pytest.mark.parametrize(("flipped", "status"), [(10, 0), (40, 1)])
def test_lower_precision_has_a_larger_tolerance(experiment, flipped, status, capsys):
  _flip(experiment, 2, "train", flipped)  # of 1,797: 0.56% and 2.2%
  assert _verify(experiment, "--precision=bfloat16") == status
  assert f" {status} by more than 1.0000%:" in capsys.readouterr().out
  assert _verify(experiment, "--precision=bfloat16", "--tolerance=0.1%") == 1


def test_every_precision_has_a_tolerance():
  assert set(verify._TOLERANCES) == set(PRECISIONS)


def test_broken_runs_are_listed_and_do_not_disturb(experiment, written, capsys):
  assert _verify(experiment) == 0
  report = capsys.readouterr().out
  reasons = write_broken_digits_runs(experiment, written[1][0], first_run=10)
  write_experiment(experiment, make_outcomes(0.7, [99]))
  shutil.copytree(experiment / "0.7" / "0", experiment / "0.70" / "0")
  assert _verify(experiment) == 0
  out = capsys.readouterr().out
  assert out.startswith(report)
  listed = dict(re.findall(r"^  (/[^:]*): (.*)$", out.removeprefix(report), re.MULTILINE))
  assert f"\nnot verified: {len(listed)}\n" in out
  assert listed.pop(str(experiment / "0.70" / "0")).startswith("is the same run as ")
  assert listed.pop(str(experiment / "0.7" / "99")) == (
    "has no checkpoint: there is no checkpoints/ckpt-<epoch>.index; "
    "is of 37 training and 11 test examples, not 1,437 and 360"
  )
  no_file = "has no aux_arrays.npz: the run is not complete"
  assert no_file in listed.values()
  assert set(listed) == set(reasons)
  for path, reason in reasons.items():
    assert reason in listed[path]


def test_one_of_several_checkpoints_can_be_chosen(experiment, capsys):
  for run in range(5):
    checkpoints = experiment / "0.7" / str(run) / "checkpoints"
    for part in ("index", "data-00000-of-00001"):  # of epoch 12, another run's
      other = experiment / "0.7" / str((run + 1) % 5) / "checkpoints" / f"ckpt-3.{part}"
      shutil.copy(other, checkpoints / f"ckpt-12.{part}")
  assert _verify(experiment) == 2
  assert (
    "has 2 checkpoints, not one: ckpt-3, ckpt-12; --checkpoint=latest or --checkpoint=EPOCH chooses"
    in capsys.readouterr().err
  )
  assert _verify(experiment, "--checkpoint=3") == 0
  assert _verify(experiment, "--checkpoint=latest") == 1
  capsys.readouterr()
  assert _verify(experiment, "--checkpoint=4") == 2
  assert "has no checkpoint of epoch 4: there is ckpt-3, ckpt-12" in capsys.readouterr().err


def test_long_lists_are_cut(experiment, capsys):
  write_experiment(experiment, make_outcomes(0.7, range(50, 75)))
  assert _verify(experiment) == 0
  out = capsys.readouterr().out
  assert "\nnot verified: 25\n" in out
  assert out.count("has no checkpoint") == 20
  assert out.endswith("  … and 5 more\n")


class _Losing(beam.PTransform):
  """Matches all runs but the last."""

  def expand(self, outcomes):
    return outcomes | MatchOutcomes() | beam.Filter(lambda matches: matches.key.run != 4)


def test_runs_that_the_runner_loses_are_an_error(experiment, monkeypatch, capsys):
  monkeypatch.setattr(verify, "MatchOutcomes", _Losing)
  assert _verify(experiment) == 2
  captured = capsys.readouterr()
  assert captured.out == ""
  assert captured.err == (
    "heldout verify: error: 1 of 5 runs were neither verified nor skipped, such as "
    f"{experiment}/0.7/4: the runner lost them, use another --runner\n"
  )


@pytest.mark.parametrize(
  ("damage", "problem"),
  [
    (lambda content: content[:-10], "Invalid JSON: "),
    (lambda content: b"", "Invalid JSON: "),
    (lambda content: b"[]", "Input should be "),
    (lambda content: content.replace(b'"same"', b'"some"'), "Field required"),
    (lambda content: content.replace(b'"run":', b'"run":"x","r":'), "Input should be "),
  ],
  ids=["cut short", "empty", "a list", "without a field", "of another type"],
)
def test_a_result_that_is_not_what_the_job_wrote_is_one_line(
  experiment, monkeypatch, capsys, damage, problem
):
  original, paths = verify._read, []

  def read(path, listed):
    paths.append(path)
    written = files.read_bytes(path)
    files.write_bytes(path, damage(written))
    assert files.read_bytes(path) != written
    return original(path, listed)

  monkeypatch.setattr(verify, "_read", read)
  assert _verify(experiment) == 2
  captured = capsys.readouterr()
  assert captured.out == ""
  assert captured.err.count("\n") == 1
  assert captured.err.startswith(
    f"heldout verify: error: {paths[0]} is not what the job wrote ({problem}"
  )
  assert captured.err.endswith("): verify again\n")


def test_the_result_is_read_as_it_was_written(tmp_path):
  path = str(tmp_path / "verified.json")
  matches = [RunMatches(RunKey(0.7, 2**63 - 1), (1, 2, 3), (3, 4, 5))]
  verify._write(path, matches, [Skipped("/r/0.7/3", 'has "quotes" and \u2192')])
  verified = verify._read(path, [Skipped("/r/0.7/1", "is listed")])
  assert verified.matches == matches
  assert verified.skipped == {"/r/0.7/1": "is listed", "/r/0.7/3": 'has "quotes" and \u2192'}


def test_nothing_to_compare_with_is_an_error(experiment, capsys):
  for path in experiment.glob("0.7/*/aux_arrays.npz"):
    with np.load(path) as archive:
      subset = archive["subsample_idx"]
    np.savez(path, subsample_idx=subset)
  assert _verify(experiment) == 2
  error = capsys.readouterr().err
  assert error == (
    f"heldout verify: error: no run can be verified; the first: {experiment}/0.7/0 "
    "aux_arrays.npz has no array index_train\n"
  )


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--experiment=/nowhere"], "/nowhere holds no runs"),
    (["--dataset=digts"], "unknown data set 'digts'"),
    (["--model=vgg"], "--model=vgg: unknown model 'vgg': choose one of"),
    (["--batch_size=0"], "--batch_size=0: 1 to 2147483647 images are in a batch"),
    (["--precision=int8"], "argument --precision: 'int8' is none of float32, bfloat16"),
    (["--checkpoint=last"], "'last' is no checkpoint: write latest, or an epoch"),
    (["--tolerance=few"], "'few' is no share: write one such as 0.1% or 0.001"),
    (["--tolerance=150%"], "'150%' is no share"),
    (["--tolerence=1%"], "did you mean --tolerance?"),
  ],
)
def test_bad_flags_are_one_line(experiment, flags, message, capsys):
  assert _verify(experiment, *flags) == 2
  error = capsys.readouterr().err
  assert message in error
  assert error.startswith("heldout verify: error: ")
  assert error.count("\n") == 1


def test_an_architecture_must_be_named(experiment, capsys):
  assert cli.main(["verify", f"--experiment={experiment}", "--dataset=digits"]) == 2
  assert "the following arguments are required: --model" in capsys.readouterr().err
