"""Scores of which a file was lost or changed: every reader says so, or gives what was right.

What a single part or chunk may suffer is tried in `storage/scores`; here every reader meets all.
"""

import contextlib
import io
import shutil
import typing

import numpy as np
import pytest

import heldout
from beam_pipelines import cli
from tests.helpers.outcomes import make_outcomes, write_experiment, write_few_digits

RATIO = 0.7
SCORE_FORMATS = (
  *("cscores", "high_influence_pairs", "influence_matrix", "infl_mem"),
  *("memorization_csv", "memorization_npy", "influence_csv", "influence_npy"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  """Scores, `dense` and `selected`, those of `other` runs of the same sizes, and their data set."""
  place = tmp_path_factory.mktemp("changed")
  spec = write_few_digits(place / "digits.npz")
  for seed, name in enumerate(("dense", "other", "selected")):
    runs = place / ("other runs" if name == "other" else "runs")
    outcomes = make_outcomes(0.3, range(2), seed) + make_outcomes(RATIO, range(6), seed)
    if name != "selected":
      write_experiment(runs, outcomes)
    flags = {"dense": name != "selected", "min_influence": -1, "min_memorization": -1}
    heldout.score(runs, place / name, dataset=spec, correctness=True, **flags)
  return place


def _lose(path, *_):
  path.unlink()


def _copy_over(path, scores, _):
  """Puts another file of the same table in its place, if there is one."""
  table = scores / path.relative_to(scores).parts[0]
  alike = [other for other in sorted(table.rglob(f"*{path.suffix}")) if other.is_file()]
  of_its_kind = [other for other in alike if other.suffix == path.suffix and other != path]
  if of_its_kind:
    path.write_bytes(of_its_kind[0].read_bytes())


def _append(path, *_):
  path.write_bytes(path.read_bytes() + bytes(8))


def _flip(path, *_):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


def _replace(path, scores, others):
  shutil.copyfile(others / path.relative_to(scores), path)


DAMAGES = (_lose, _copy_over, _append, _flip, _replace)


def _files(scores):
  """Yields files of each kind: the manifest, one of each table, all of the main ratio's matrix."""
  yield scores / "manifest.json"
  for table in typing.get_args(heldout.TableName):
    yield max((scores / table).iterdir())
  for path in sorted((scores / "influence.zarr").rglob("*")):
    if path.is_file() and "ratio-0.3" not in path.parts:
      yield path


def _run(*arguments):
  """Returns what a command prints; raises the one line that it fails with."""
  out, err = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    status = cli.main([str(argument) for argument in arguments])
  if status == 0:
    return out.getvalue()
  assert (status, out.getvalue()) == (2, "")
  line = err.getvalue()
  assert line.startswith(f"heldout {arguments[0]}: error: ")
  assert line.count("\n") == 1
  raise heldout.UsageError(line)


def _command(name, *flags, writes=True):
  def read(place, scores):
    output = place / "output"
    output.unlink(missing_ok=True)
    places = [f"--scores={scores}", f"--dataset=npz:{place}/digits.npz"]
    try:
      said = _run(name, *places, *flags, *([f"--output={output}"] if writes else []))
    except heldout.UsageError:
      assert not output.exists()
      raise
    return said, writes and output.read_bytes()

  return read


def _table(name):
  return lambda place, scores: heldout.read_scores(scores).table(name)


def _columns(place, scores):
  return repr(heldout.read_scores(scores).columns("examples", RATIO))


def _align(place, scores):
  with np.load(place / "digits.npz") as arrays:
    images = arrays["train__image"]
  aligned = heldout.align(heldout.read_scores(scores), images)
  return {name: column.tobytes() for name, column in aligned.columns.items()}


READERS = {
  "report": _command("report"),
  **{name: _command("export", f"--format={name}") for name in SCORE_FORMATS},
  "compare A": lambda place, scores: _run("compare", scores, place / "other"),
  "compare B": lambda place, scores: _run("compare", place / "other", scores),
  "explain --train_example": _command("explain", "--train_example=3", writes=False),
  "explain --test_example": _command("explain", "--test_example=3", writes=False),
  "explain, selected": _command("explain", "--test_example=3", writes=False),
  "align": _align,
  "columns": _columns,
  "dense": lambda place, scores: heldout.read_scores(scores).dense()[:].tobytes(),
  "main_ratio": lambda place, scores: heldout.read_scores(scores).main_ratio,
  **{f"table {name}": _table(name) for name in typing.get_args(heldout.TableName)},
}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_says_what_is_wrong_or_is_right(place, tmp_path, reader):
  """All meet all files, and all damages; each file and damage meet in several readers."""
  number, read = list(READERS).index(reader), READERS[reader]
  sound = place / ("selected" if reader == "explain, selected" else "dense")
  scores = tmp_path / "scores"
  shutil.copytree(sound, scores)
  right = read(place, scores)
  messages = []
  for count, path in enumerate(list(_files(scores)), start=number):
    name = path.relative_to(scores)
    DAMAGES[count % len(DAMAGES)](path, scores, place / "other")
    try:
      assert read(place, scores) == right, name
    except heldout.UsageError as error:
      messages.append(str(error).rstrip())
    path.write_bytes((sound / name).read_bytes())
  assert messages
  assert not any("\n" in message for message in messages)
  assert read(place, scores) == right


@pytest.mark.parametrize("damage", DAMAGES)
def test_nothing_is_appended_to_changed_outcomes(place, tmp_path, damage):
  scores = tmp_path / "scores"
  shutil.copytree(place / "selected", scores)
  for table in ("outcomes", "index"):
    path = max((scores / table).iterdir())
    sound = path.read_bytes()
    damage(path, scores, place / "other")
    if not path.exists() or path.read_bytes() != sound:
      places = [f"--experiment={place}/runs", f"--scores={scores}"]
      with pytest.raises(heldout.UsageError, match=f"/{table}/"):
        _run("score", *places, "--append", f"--dataset=npz:{place}/digits.npz")
    path.write_bytes(sound)
