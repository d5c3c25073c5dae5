"""`heldout import-outcomes` of plain arrays."""

import json
import os
import zipfile

import numpy as np
import pytest

from beam_pipelines.storage.runs.experiment import list_runs
from tests.helpers.imports import (
  RUNS,
  array_flags,
  bits,
  import_outcomes,
  make_with_margins,
  manifest_of_pack,
  save_arrays,
  score,
)
from tests.helpers.layouts import (
  read_experiment,
  stack,
)
from tests.helpers.outcomes import (
  write_experiment,
)


@pytest.fixture
def outcomes():
  return make_with_margins()


@pytest.fixture
def arrays(tmp_path, outcomes):
  return save_arrays(tmp_path, outcomes)


def test_arrays_score_as_run_directories_do(tmp_path, outcomes, arrays, capsys):
  flags = array_flags(arrays, "masks", "correct", "test_correct")
  assert import_outcomes(tmp_path / "runs", *flags) == 0
  captured = capsys.readouterr()
  assert "importing 20 rows of arrays, 37 training examples and 11 test examples" in captured.out
  assert "at subset ratio 0.5 (the runs saw " in captured.out
  assert "imported 20 runs at subset ratio 0.5" in captured.out
  assert captured.err == ""
  write_experiment(tmp_path / "directories", outcomes)
  for name in ("runs", "directories"):
    assert score(tmp_path / name, tmp_path / f"scores-{name}", "--correctness") == 0
  manifests = [
    json.loads((tmp_path / f"scores-{name}" / "manifest.json").read_text())
    for name in ("runs", "directories")
  ]
  assert manifests[0]["parts"] == manifests[1]["parts"]


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", ">i4", ">f8", "float16"])
def test_numbers_of_any_kind_that_are_0_and_1_are_bits(tmp_path, outcomes, arrays, dtype):
  names = ("masks", "correct", "test_correct")
  for name in names:
    np.save(arrays[name], np.load(arrays[name]).astype(dtype))
  assert import_outcomes(tmp_path / "runs", *array_flags(arrays, *names)) == 0
  assert bits(read_experiment(tmp_path / "runs")) == bits(outcomes)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_hold_an_array_of_the_flag_s_name_or_only_one(tmp_path, outcomes, arrays, save):
  masks, correct, _ = stack(outcomes)
  save(tmp_path / "all.npz", masks=masks, correct=correct, other=np.arange(3))
  save(tmp_path / "one.npz", whatever=stack(outcomes)[2])
  flags = [f"--masks={tmp_path}/all.npz", f"--correct={tmp_path}/all.npz"]
  assert (
    import_outcomes(
      tmp_path / "runs", "--from=arrays", *flags, f"--test_correct={tmp_path}/one.npz"
    )
    == 0
  )
  assert bits(read_experiment(tmp_path / "runs")) == bits(outcomes)


@pytest.mark.parametrize("kind", ["logsumexp", "max"])
def test_bits_follow_from_margins(tmp_path, outcomes, arrays, kind, capsys):
  flags = [*array_flags(arrays, "masks", "margins", "test_margins"), f"--margin={kind}"]
  assert import_outcomes(tmp_path / "runs", *flags) == 0
  assert (
    "bits from the sign of the margin; a margin of 0 counts as wrong" in capsys.readouterr().out
  )
  assert read_experiment(tmp_path / "runs", with_margins=True) == outcomes
  pack = manifest_of_pack(tmp_path / "runs")
  assert pack["origin"]["margin"] == kind
  assert pack["recorded"] == ["train_correct", "test_correct", "train_margin", "test_margin"]


def test_a_margin_of_zero_is_wrong_and_a_tiny_one_keeps_its_sign(tmp_path, outcomes, arrays):
  margins = np.full((RUNS, 11), 1.0)
  margins[:, 0], margins[:, 1], margins[:, 2], margins[:, 3] = 0.0, 1e-300, -1e-300, -0.0
  np.save(arrays["test_margins"], margins)
  flags = [*array_flags(arrays, "masks", "test_margins"), "--margin=max"]
  assert import_outcomes(tmp_path / "runs", *flags) == 0
  for outcome in read_experiment(tmp_path / "runs", with_margins=True):
    assert outcome.unpack()[2][:4].tolist() == [False, True, False, False]
    assert (outcome.margins.test[1:3] * [1, -1] > 0).all()


def test_margins_of_one_side_alone_are_not_kept_beside_bits_of_the_other(
  tmp_path, outcomes, arrays
):
  flags = [*array_flags(arrays, "masks", "correct", "test_margins"), "--margin=max"]
  assert import_outcomes(tmp_path / "runs", *flags) == 0
  assert bits(read_experiment(tmp_path / "runs")) == bits(outcomes)
  pack = manifest_of_pack(tmp_path / "runs")
  assert pack["recorded"] == ["train_correct", "test_correct"]
  assert pack["missing"] == {
    "train_margin": "not of all outcomes",
    "test_margin": "not of all outcomes",
  }


@pytest.mark.parametrize(
  "flags", [[], ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]]
)
def test_parts_of_many_rows(tmp_path, outcomes, arrays, monkeypatch, flags):
  monkeypatch.setattr("beam_pipelines.storage.runs.packed_part._PART_BYTES", 400)
  monkeypatch.setattr("beam_pipelines.transforms.import_outcomes._READ_BYTES", 50)
  names = ("masks", "correct", "test_correct")
  assert import_outcomes(tmp_path / "runs", *array_flags(arrays, *names), *flags) == 0
  assert len(list_runs(str(tmp_path / "runs")).packed) > 3
  assert bits(read_experiment(tmp_path / "runs")) == bits(outcomes)


@pytest.mark.parametrize("change", ["masks", "margins"])
def test_signs_that_cannot_be_right_are_a_warning(tmp_path, outcomes, arrays, change, capsys):
  values = np.load(arrays[change])
  np.save(arrays[change], ~values if change == "masks" else -values)
  flags = [*array_flags(arrays, "masks", "margins"), "--margin=max"]
  rng = np.random.default_rng(0)
  masks, *_ = stack(outcomes)
  margins = np.where(masks, 1, rng.choice([-1.0, 1.0], masks.shape))
  np.save(arrays["margins"], margins * (-1 if change == "margins" else 1))
  assert import_outcomes(tmp_path / "runs", *flags) == 0
  assert "masks may be inverted, margins of the other sign" in capsys.readouterr().err


BAD_ROWS = {
  "mask": ("masks", lambda row: row.astype(int) * 2, "its mask holds values other than 0 and 1"),
  "all": ("masks", lambda row: np.ones_like(row), "its mask has all of the training examples"),
  "none": ("masks", lambda row: np.zeros_like(row), "its mask has none of the training examples"),
  "correct": ("correct", lambda row: row * 0.5, "its correctness on training examples holds value"),
  "test": ("test_correct", lambda row: row - 1.0, "its correctness on test examples holds values"),
  "nan": ("margins", lambda row: row * np.nan, "its margins of training examples are not all fini"),
  "inf": ("test_margins", lambda row: row * np.inf, "its margins of test examples are not all fin"),
  "sign": ("margins", lambda row: -row, "its margins contradict its correctness on "),
}


@pytest.mark.parametrize("bad", BAD_ROWS)
def test_a_bad_row_is_left_out_with_its_reason(tmp_path, outcomes, arrays, bad, capsys):
  name, change, reason = BAD_ROWS[bad]
  values = np.load(arrays[name])
  values = values.astype(np.float64) if values.dtype == bool else values
  values[3] = change(values[3])
  np.save(arrays[name], values)
  flags = [*array_flags(arrays, *arrays), "--margin=max"]
  assert import_outcomes(tmp_path / "runs", *flags) == 0
  assert f"left out 1 rows:\n  row 3 {reason}" in capsys.readouterr().out
  assert bits(read_experiment(tmp_path / "runs")) == bits(outcomes[:3] + outcomes[4:])


def _claim_examples(paths):
  """Makes the masks a file of hardly any bytes on the disk that has 120 GB of zeros."""
  with paths["masks"].open("wb") as file:
    described = {"descr": "|b1", "fortran_order": False, "shape": (RUNS, 6_000_000_000)}
    np.lib.format.write_array_header_1_0(file, described)
    file.truncate(file.tell() + RUNS * 6_000_000_000)


def _resave(name, change):
  return lambda paths: np.save(paths[name], change(np.load(paths[name])))


def _write_objects(paths):
  np.save(paths["masks"], np.array([[1, None]], object), allow_pickle=True)


def _write_header(shape, descr="|b1"):
  def write(paths):
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    magic = np.lib.format.magic(1, 0)
    paths["masks"].write_bytes(magic + len(header).to_bytes(2, "little") + header)

  return write


def _make_fifo(paths):
  paths["masks"].unlink()
  os.mkfifo(paths["masks"])


def _write_bomb(paths):
  paths["masks"].unlink()
  archive = paths["masks"].with_suffix(".npz")
  np.savez_compressed(archive, masks=np.zeros((40_000, 20_000), bool))
  paths["masks"] = archive


def _write_archive(content):
  def write(paths):
    paths["masks"] = paths["masks"].with_suffix(".npz")
    if callable(content):
      content(paths["masks"])
    else:
      paths["masks"].write_bytes(content)

  return write


def _write_torch(paths):
  paths["masks"] = paths["masks"].with_suffix(".pt")
  with zipfile.ZipFile(paths["masks"], "w") as archive:
    archive.writestr("masks/data.pkl", b"\x80\x02N.")


BROKEN = {
  "objects": (_write_objects, "masks.npy is of Python objects"),
  "records": (_write_header("(3, 4)", "|V3"), "masks.npy is of raw or structured records"),
  "huge": (_write_header((2**40, 2**20)), "according to its header, bool of shape"),
  "beyond": (_write_header((2**70,)), "which NumPy cannot hold"),
  "no header": (lambda paths: paths["masks"].write_bytes(b"no array"), "is no array in NumPy's"),
  "cut": (
    lambda paths: paths["masks"].write_bytes(paths["masks"].read_bytes()[:-1]),
    "it was cut short, or is still being written",
  ),
  "fifo": (_make_fifo, "masks.npy: is a pipe, not a file"),
  "missing": (lambda paths: paths["masks"].unlink(), "masks.npy: there is no such file or bucket"),
  "bomb": (_write_bomb, "where all arrays together may have"),
  "no archive": (_write_archive(b"PK"), "cannot be read as npz"),
  "nothing of that name": (
    _write_archive(lambda path: np.savez(path, a=1, b=2)),
    "masks.npz holds a, b: the array must be called masks, or be the only one",
  ),
  "a number in an archive": (
    _write_archive(lambda path: np.savez(path, masks=1)),
    "masks.npz holds a single number",
  ),
  "torch": (_write_torch, "masks.pt is PyTorch's, which is not installed"),
  "a number": (_resave("masks", lambda array: array[0, 0]), "masks.npy is a single number"),
  "Fortran": (_resave("masks", np.asfortranarray), "masks.npy is in Fortran order"),
  "one dimension": (_resave("masks", lambda array: array[0]), "masks.npy has 1 dimensions"),
  "no runs": (_resave("masks", lambda array: array[:0]), "masks.npy holds no runs"),
  "no examples": (
    _resave("masks", lambda array: array[:, :0]),
    "masks.npy is of 0 examples a run: 1 to 268,435,456 can be imported",
  ),
  "a sparse file": (_claim_examples, "masks.npy is of 6,000,000,000 examples a run: 1 to 268,4"),
  "fewer runs": (_resave("correct", lambda array: array[1:]), "correct.npy has 19 rows and "),
  "transposed": (
    _resave("correct", lambda array: np.ascontiguousarray(array.T)),
    "20: it is transposed; each",
  ),
  "fewer examples": (
    _resave("correct", lambda array: array[:, 1:]),
    "correct.npy is of 36 examples and ",
  ),
  "other tests": (
    _resave("test_margins", lambda array: array[:, 1:]),
    "test_margins.npy is of 10 examples and ",
  ),
  "bits for margins": (
    _resave("margins", lambda array: array > 0),
    "margins.npy is bool: margins are floats",
  ),
  "square": (
    _resave("masks", lambda array: array[:, :RUNS]),
    "masks.npy is 20 × 20, and square matrices do not tell runs from examples",
  ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_arrays_are_one_line(tmp_path, arrays, broken, capsys):
  damage, reason = BROKEN[broken]
  damage(arrays)
  flags = [*array_flags(arrays, *arrays), "--margin=max", "--subset_ratio=0.5"]
  assert import_outcomes(tmp_path / "runs", *flags) == 2
  error = capsys.readouterr().err
  assert error.startswith("heldout import-outcomes: error: ")
  assert error.count("\n") == 1
  assert reason in error
  assert not (tmp_path / "runs").exists()


def test_square_masks_need_a_word(tmp_path, outcomes, arrays):
  masks, correct, _ = stack(outcomes)
  np.save(arrays["masks"], masks[:, :RUNS])
  np.save(arrays["correct"], correct[:, :RUNS])
  assert (
    import_outcomes(tmp_path / "runs", *array_flags(arrays, "masks", "correct"), "--runs_first")
    == 0
  )
  np.testing.assert_array_equal(stack(read_experiment(tmp_path / "runs"))[0], masks[:, :RUNS])
  (manifest,) = (tmp_path / "runs").glob("*/packed/*/manifest.json")
  assert json.loads(manifest.read_text())["origin"]["rows"] == "runs, as was said"
