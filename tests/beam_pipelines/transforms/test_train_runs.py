import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

import files
from beam_pipelines.storage.runs import aux_arrays
from beam_pipelines.storage.runs.experiment import list_runs
from beam_pipelines.transforms.train_runs import _FinishedRun, _write_run
from tests.helpers.outcomes import make_outcomes

INDEX, DATA = "ckpt-1.index", "ckpt-1.data-00000-of-00001"


@pytest.fixture
def finished(tmp_path):
  (outcome,) = make_outcomes(0.5, [7])
  local = tmp_path / "local"
  local.mkdir()
  (local / INDEX).write_bytes(b"index")
  (local / DATA).write_bytes(b"data" * 100_000)
  return _FinishedRun(outcome, 0.25, local / "ckpt-1")


def _contents(directory):
  return {
    str(path.relative_to(directory)): path.read_bytes()
    for path in directory.rglob("*")
    if path.is_file()
  }


def _expected(finished):
  return {
    f"0.5/7/checkpoints/{INDEX}": b"index",
    f"0.5/7/checkpoints/{DATA}": b"data" * 100_000,
    "0.5/7/aux_arrays.npz": aux_arrays.encode(finished.outcome, finished.training_loss),
  }


def test_what_was_left_half_written_is_replaced(tmp_path, finished):
  checkpoints = tmp_path / "runs" / "0.5" / "7" / "checkpoints"
  checkpoints.mkdir(parents=True)
  (checkpoints / "ckpt-9.index").write_bytes(b"of another training")
  (checkpoints / INDEX).write_bytes(b"of another training")
  (checkpoints / f"{INDEX}.{'0' * 32}.tmp").write_bytes(b"ind")
  _write_run(str(tmp_path / "runs"), finished)
  assert _contents(tmp_path / "runs") == _expected(finished)


def test_a_complete_run_is_left_alone(tmp_path, finished):
  _write_run(str(tmp_path), finished)
  modified = {path: path.stat().st_mtime_ns for path in (tmp_path / "0.5").rglob("*")}
  _write_run(str(tmp_path), finished)
  assert {path: path.stat().st_mtime_ns for path in (tmp_path / "0.5").rglob("*")} == modified


@pytest.mark.parametrize("writes_before", [0, 1, 2])
def test_whoever_comes_second_finds_the_run_complete(
  tmp_path, finished, writes_before, monkeypatch
):
  """Another process completes the run, and takes away what is unfinished, in the midst of ours."""
  write_bytes, written = files.write_bytes, []

  def write(path, content):
    if len(written) == writes_before:
      monkeypatch.setattr(files, "write_bytes", write_bytes)
      _write_run(str(tmp_path / "runs"), finished)
      raise FileNotFoundError(path)  # as if our temporary file was among what was taken away
    written.append(path)
    write_bytes(path, content)

  monkeypatch.setattr(files, "write_bytes", write)
  _write_run(str(tmp_path / "runs"), finished)
  assert len(written) == writes_before
  assert _contents(tmp_path / "runs") == _expected(finished)


def test_what_cannot_be_written_is_an_error(tmp_path, finished):
  (tmp_path / "runs").write_bytes(b"a file")
  with pytest.raises(NotADirectoryError):
    _write_run(str(tmp_path / "runs"), finished)


def test_many_writers_of_one_run_leave_it_complete_from_the_first_on(tmp_path, finished):
  for attempt in range(20):
    experiment = tmp_path / f"runs-{attempt}"
    stale = experiment / "0.5" / "7" / "checkpoints" / "ckpt-9.index"
    stale.parent.mkdir(parents=True)
    stale.touch()
    done = threading.Event()

    def watch(experiment=experiment, done=done):
      while not done.is_set():
        if any(run.complete for run in list_runs(str(experiment)).runs):
          # A listing takes time: what was listed before `aux_arrays.npz` may be gone by then.
          (run,) = list_runs(str(experiment)).runs
          assert run.complete
          assert run.checkpoint_names == ("ckpt-1",)

    with ThreadPoolExecutor(9) as pool:
      watching = pool.submit(watch)
      writing = [pool.submit(_write_run, str(experiment), finished) for _ in range(8)]
      wait(writing)
      done.set()
      for write in writing:
        write.result()
      watching.result()
    assert _contents(experiment) == _expected(finished)
