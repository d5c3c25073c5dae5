import io
import itertools
import threading

import pytest

import files
from beam_pipelines.storage.runs import run_writer
from beam_pipelines.storage.runs.archive import RunFile
from beam_pipelines.storage.runs.experiment import list_runs
from beam_pipelines.storage.runs.run_place import RunKey
from beam_pipelines.storage.runs.run_writer import RunWriter
from beam_pipelines.storage.runs.tar_stream import ArchiveError

A, B = RunKey(0.5, 1), RunKey(0.5, 2)
AUX, INDEX, DATA = "aux_arrays.npz", "checkpoints/ckpt-1.index", "checkpoints/ckpt-1.data"


def _file(key, name, content=None):
  content = f"{key} {name}".encode() if content is None else content
  return RunFile(key, name, len(content), io.BytesIO(content))


def _write(experiment, run_files):
  with RunWriter(str(experiment), list_runs(str(experiment)).runs) as writer:
    for file in run_files:
      writer.write(file)
  return writer


def _contents(directory):
  return {
    str(path.relative_to(directory)): path.read_bytes()
    for path in directory.rglob("*")
    if path.is_file()
  }


def _expected(*names_by_key):
  return {
    f"{key.subset_ratio}/{key.run}/{name}": f"{key} {name}".encode()
    for key, names in names_by_key
    for name in names
  }


@pytest.fixture
def order(monkeypatch):
  """The names of the files in the order in which they came into being or went away."""
  events = []
  lock = threading.Lock()

  def watch(function, mark):
    def watched(path, *rest):
      function(path, *rest)
      with lock:
        events.append(mark + (path if isinstance(path, str) else path[0]))

    return watched

  monkeypatch.setattr(files, "write_bytes", watch(files.write_bytes, ""))
  monkeypatch.setattr(files, "delete", watch(files.delete, "-"))
  return events


@pytest.mark.parametrize("names", itertools.permutations([AUX, INDEX, DATA]))
def test_aux_arrays_come_last_whatever_the_order(tmp_path, order, names):
  writer = _write(tmp_path, (_file(key, name) for key in (A, B) for name in names))
  assert _contents(tmp_path) == _expected((A, names), (B, names))
  assert (writer.written, writer.kept, writer.incomplete) == ({A, B}, set(), set())
  for key in (A, B):
    of_run = [path for path in order if path.startswith(key.directory(str(tmp_path)))]
    assert of_run[-1].endswith(AUX)
    assert len(of_run) == 3


@pytest.mark.parametrize(
  "entries",
  itertools.permutations([(A, AUX), (A, INDEX), (B, AUX), (B, INDEX)]),
)
def test_runs_may_lie_scattered_and_have_aux_arrays_only_while_all_else_is_there(
  tmp_path, order, entries
):
  writer = _write(tmp_path, itertools.starmap(_file, entries))
  assert _contents(tmp_path) == _expected((A, [AUX, INDEX]), (B, [AUX, INDEX]))
  assert writer.written == {A, B}
  for key in (A, B):
    has_aux = False
    for event in order:
      if key.directory(str(tmp_path)) in event:
        assert not (has_aux and event.endswith(INDEX))
        has_aux = event.endswith(AUX) and not event.startswith("-")
    assert has_aux


def test_complete_runs_are_not_written_again(tmp_path, order):
  names = [INDEX, AUX]
  _write(tmp_path, (_file(key, name) for key in (A, B) for name in names))
  order.clear()
  writer = _write(tmp_path, (_file(key, name) for key in (A, B) for name in names))
  assert order == []
  assert (writer.written, writer.kept) == (set(), {A, B})


def test_a_run_without_aux_arrays_is_written_again(tmp_path, order):
  _write(tmp_path, [_file(A, INDEX)])
  writer = _write(tmp_path, [_file(A, INDEX), _file(A, AUX)])
  assert order[1:] == [f"{tmp_path}/0.5/1/{INDEX}", f"{tmp_path}/0.5/1/{AUX}"]
  assert writer.written == {A}


@pytest.mark.parametrize("names", [(AUX, INDEX, DATA), (INDEX, DATA, AUX)])
@pytest.mark.parametrize("damage", [None, b"short"])
def test_a_file_that_is_missing_or_has_another_size_is_written(tmp_path, order, names, damage):
  _write(tmp_path, (_file(A, name) for name in names))
  damaged = tmp_path / "0.5/1" / DATA
  damaged.unlink() if damage is None else damaged.write_bytes(damage)
  order.clear()
  writer = _write(tmp_path, (_file(A, name) for name in names))
  run = f"{tmp_path}/0.5/1"
  assert order == [f"-{run}/{AUX}", f"{run}/{DATA}", f"{run}/{AUX}"]
  assert _contents(tmp_path) == _expected((A, names))
  assert (writer.written, writer.kept) == ({A}, set())


def test_runs_without_aux_arrays_are_named(tmp_path):
  writer = _write(tmp_path, [_file(A, INDEX), _file(B, INDEX), _file(B, AUX)])
  assert (writer.written, writer.incomplete) == ({B}, {A})


def test_after_an_error_the_run_at_hand_is_incomplete_and_the_others_are_not(tmp_path):
  def run_files():
    yield from (_file(A, AUX), _file(A, INDEX), _file(B, AUX), _file(B, INDEX))
    raise ZeroDivisionError

  with pytest.raises(ZeroDivisionError):
    _write(tmp_path, run_files())
  assert [(run.key, run.complete) for run in list_runs(str(tmp_path)).runs] == [
    (A, True),
    (B, False),
  ]


def test_what_cannot_be_written_is_an_error_and_its_run_incomplete(tmp_path):
  (tmp_path / "0.5/1").mkdir(parents=True)
  (tmp_path / "0.5/1/checkpoints").write_bytes(b"not a directory")
  with pytest.raises(OSError, match="checkpoints"):
    _write(tmp_path, [_file(A, INDEX), _file(A, AUX), _file(B, INDEX), _file(B, AUX)])
  assert [run.key for run in list_runs(str(tmp_path)).runs if run.complete] in ([], [B])


def test_large_files_are_passed_on_in_pieces(tmp_path, order, monkeypatch):
  monkeypatch.setattr(run_writer, "_WHOLE_BYTES", 1000)
  monkeypatch.setattr(run_writer, "_PIECE_BYTES", 300)
  large = bytes(range(256)) * 10
  _write(tmp_path, [_file(A, DATA, large), _file(A, INDEX), _file(A, AUX)])
  assert (tmp_path / "0.5/1" / DATA).read_bytes() == large
  assert [path.rpartition("/")[2] for path in order] == ["ckpt-1.index", AUX]


def test_aux_arrays_of_absurd_size_are_refused(tmp_path):
  file = RunFile(A, AUX, 1 << 30, io.BytesIO())
  with pytest.raises(ArchiveError, match=r"aux_arrays.npz would have 1,073,741,824 bytes"):
    _write(tmp_path, [file])
