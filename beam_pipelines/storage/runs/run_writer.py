"""Run directories written as their files come, several files at once, `aux_arrays.npz` last."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import files
from beam_pipelines.storage.runs.archive import RunFile
from beam_pipelines.storage.runs.experiment import RunDirectory
from beam_pipelines.storage.runs.run_place import AUX_ARRAYS, LARGEST_AUX_BYTES, RunKey
from beam_pipelines.storage.runs.tar_stream import ArchiveError

_CONCURRENT_WRITES = 8
_WHOLE_BYTES = 1 << 24
_PIECE_BYTES = 1 << 20


@dataclasses.dataclass
class _OpenRun:
  """The run whose files are coming."""

  key: RunKey
  path: str
  sizes: dict[str, int]
  aux: bytes | None = None
  writes: list[Future[None]] = dataclasses.field(default_factory=list)


class RunWriter:
  """Writes the files of runs into an experiment; a context manager.

  A file of a complete run is left alone if it is there with the same size. `aux_arrays.npz` is held
  back until a file of another run comes and the run's other files are written; should a run that
  was complete get another file after all, its `aux_arrays.npz` is taken away until that is written.
  So at any moment, and after any interruption, a run that has it has all of its files so far.

  Files of up to 16 MiB are held in memory, eight at most; larger ones are passed on in pieces.

  Args:
    experiment: the directory of run directories.
    there: the runs that it holds.

  Attributes:
    written: the runs that were completed.
    kept: those of which every file was there.
    incomplete: those that have come without `aux_arrays.npz`.
  """

  def __init__(self, experiment: str, there: Iterable[RunDirectory]):
    self.written: set[RunKey] = set()
    self.kept: set[RunKey] = set()
    self.incomplete: set[RunKey] = set()
    self._experiment = experiment
    self._complete = {
      run.key: {file.name: file.size for file in run.files} for run in there if run.complete
    }
    self._run: _OpenRun | None = None
    self._finishing: deque[Future[None]] = deque()
    self._pool = ThreadPoolExecutor(_CONCURRENT_WRITES)
    self._free = threading.Semaphore(_CONCURRENT_WRITES)

  def __enter__(self) -> RunWriter:
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    """Completes the last run, unless there was an error: then it stays incomplete."""
    with self._pool:
      if error is None:
        self._finish()
        self._wait()

  def write(self, file: RunFile) -> None:
    """Takes a file, which is written by and by.

    Raises:
      ArchiveError: it is too large for a recorded outcome.
      OSError: this file or an earlier one cannot be written.
    """
    while self._finishing and self._finishing[0].done():
      self._finishing.popleft().result()
    run = self._open(file.key)
    if run.key in self._complete:
      if run.sizes.get(file.name) == file.size:
        return
      self._take_back(run)
    run.sizes[file.name] = file.size
    path = files.join(run.path, file.name)
    if file.name == AUX_ARRAYS:
      if file.size > LARGEST_AUX_BYTES:
        raise ArchiveError(f"{path} would have {file.size:,} bytes: that is no recorded outcome")
      run.aux = file.content.read()
    elif file.size <= _WHOLE_BYTES:
      run.writes.append(self._submit(files.write_bytes, path, file.content.read()))
    else:
      with files.create(path) as target:
        shutil.copyfileobj(file.content, target, _PIECE_BYTES)

  def _open(self, key: RunKey) -> _OpenRun:
    if self._run is None or self._run.key != key:
      self._finish()
      self._run = _OpenRun(key, key.directory(self._experiment), self._complete.get(key, {}))
    return self._run

  def _finish(self) -> None:
    run, self._run = self._run, None
    if run is None:
      return
    if run.key in self._complete:
      self.kept |= {run.key} - self.written
    elif run.aux is None:
      self.incomplete.add(run.key)
      for write in run.writes:
        write.result()
    else:
      self.incomplete.discard(run.key)
      self._complete[run.key] = run.sizes
      self.written.add(run.key)
      path = files.join(run.path, AUX_ARRAYS)
      self._finishing.append(self._submit(_complete, run.writes, path, run.aux))

  def _take_back(self, run: _OpenRun) -> None:
    self._wait()
    path = files.join(run.path, AUX_ARRAYS)
    run.aux = files.read_bytes(path)
    files.delete([path])
    self.kept.discard(run.key)
    del self._complete[run.key]

  def _wait(self) -> None:
    while self._finishing:
      self._finishing.popleft().result()

  def _submit(self, write: Callable[..., None], *args: object) -> Future[None]:
    self._free.acquire()
    future = self._pool.submit(write, *args)
    future.add_done_callback(lambda _: self._free.release())
    return future


def _complete(writes: Iterable[Future[None]], path: str, aux: bytes) -> None:
  # The writes were submitted earlier and each has a thread: waiting for them in one is safe.
  for write in writes:
    write.result()
  files.write_bytes(path, aux)
