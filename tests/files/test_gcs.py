"""gs:// over real HTTP: the emulator behind a proxy that makes faults."""

import asyncio
import gc
import itertools
import multiprocessing
import os
import posixpath
import re
from concurrent.futures import ThreadPoolExecutor

import apache_beam as beam
import pytest
from apache_beam.metrics.metric import MetricsFilter
from google.api_core.retry import retry_unary_async

import files
from beam_pipelines import cli
from beam_pipelines.launch.command import beam_options
from beam_pipelines.storage.runs.experiment import RunKey, list_runs
from files import FileInfo, gcs, remote, retry, systems
from files.read_ahead import map_ahead
from tests.helpers.gcs import BUCKET, emulated_gcs
from tests.helpers.proxy import Fault

CONTENT = os.urandom(300_000) + b"."

OPERATIONS = {
  "read": (lambda path: files.read_bytes(path) == CONTENT, True),
  "read in chunks": (lambda path: b"".join(files.read_chunks(path, 70_000)) == CONTENT, True),
  "read with others": (lambda path: _read_with_others(path) == CONTENT, True),
  "size": (files.size, len(CONTENT)),
  "exists": (files.exists, True),
  "list": (lambda path: files.list_files(posixpath.dirname(path))[0].size, len(CONTENT)),
  "write": (lambda path: files.write_bytes(path, CONTENT), None),
  "move": (lambda path: files.move([(path, f"{path}-moved")]), None),
  "delete": (lambda path: files.delete([path]), None),
}
FAULTS = {
  "503": {"kind": "status", "status": 503},
  "429": {"kind": "status", "status": 429},
  "500": {"kind": "status", "status": 500},
  "502": {"kind": "status", "status": 502},
  "504": {"kind": "status", "status": 504},
  "408": {"kind": "status", "status": 408},
  "reset": {"kind": "reset"},
  "answer lost": {"kind": "lose"},
}


def _read_with_others(path):
  ((_, content),) = files.read_many([path])
  if isinstance(content, OSError):
    raise content
  return content


@pytest.fixture(scope="module")
def proxy():
  with pytest.MonkeyPatch.context() as patch, emulated_gcs(patch) as proxy:
    yield proxy


@pytest.fixture
def change_policy(monkeypatch):
  """Changes constants of `retry` and `gcs`, for connections that are made from now on."""

  def change(**constants):
    for name, value in constants.items():
      monkeypatch.setattr(gcs if hasattr(gcs, name) else retry, name, value)
    systems.forget()

  yield change
  systems.forget()


@pytest.fixture
def quick(change_policy):
  """Waits as usual, but a hundred times shorter."""
  change_policy(FIRST_WAIT=retry.FIRST_WAIT / 100, LONGEST_WAIT=retry.LONGEST_WAIT / 100)


@pytest.fixture
def path(proxy, request):
  """The path of an object with `CONTENT`."""
  proxy.plan()
  path = f"gs://{BUCKET}/{re.sub(r'[^a-z0-9]', '-', request.node.name)}/object"
  files.write_bytes(path, CONTENT)
  return path


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_is_retried_and_counted(proxy, path, operation, fault):
  do, expected = OPERATIONS[operation]
  proxy.plan(Fault(**FAULTS[fault], times=2))
  before = files.retry_count()
  assert do(path) == expected
  assert files.retry_count() == before + 2
  proxy.plan()
  after = {info.name: info.size for info in files.list_files(posixpath.dirname(path))}
  name = {"move": "object-moved", "delete": None}.get(operation, "object")
  assert after == ({name: len(CONTENT)} if name else {})
  assert name is None or files.read_bytes(f"{posixpath.dirname(path)}/{name}") == CONTENT


@pytest.mark.usefixtures("quick")
def test_reading_goes_on_where_the_connection_was_cut(proxy, path):
  proxy.plan(Fault("cut", "GET /download", times=3))
  before = files.retry_count()
  assert files.read_bytes(path) == CONTENT
  assert files.retry_count() == before + 3
  assert len(proxy.requests("GET /download")) == 4


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", ["lose", "cut"])
def test_an_upload_whose_answer_was_lost_is_sent_again(proxy, path, fault):
  content = CONTENT[::-1]
  proxy.plan(Fault(fault, "POST /upload"))
  before = files.retry_count()
  files.write_bytes(path, content)
  assert files.retry_count() == before + 1
  assert files.read_bytes(path) == content


@pytest.mark.usefixtures("quick")
def test_an_upload_in_pieces_that_the_server_has_forgotten_starts_anew(proxy, path, monkeypatch):
  """The emulator forgets an upload that was finished; Google's servers may do so any time."""
  monkeypatch.setattr(gcs, "PIECE_BYTES", 1 << 18)
  proxy.plan(Fault("lose", "POST /upload.*upload_id", every=2))
  before = files.retry_count()
  files.write_bytes(path, CONTENT[::-1])
  assert files.retry_count() == before + 2  # the lost answer, and the lost upload
  assert files.read_bytes(path) == CONTENT[::-1]


def test_slow_answers_are_waited_for_and_hanging_ones_asked_for_again(proxy, path, change_policy):
  change_policy(TIMEOUT=0.5, FIRST_WAIT=0.01)
  before = files.retry_count()
  proxy.plan(Fault("stall", "GET /download", seconds=0.2))
  assert files.read_bytes(path) == CONTENT
  assert files.retry_count() == before
  proxy.plan(Fault("stall", "GET /download", seconds=1.0))
  assert files.read_bytes(path) == CONTENT
  assert files.retry_count() == before + 1


def test_waits_grow_to_a_limit_and_are_drawn_at_random(proxy, path, monkeypatch):
  waits = []
  sleep = asyncio.sleep

  def note(wait):
    waits.append(wait)
    return sleep(0)

  monkeypatch.setattr(retry_unary_async.asyncio, "sleep", note)
  proxy.plan(Fault("status", "GET /download", times=9))
  files.read_bytes(path)
  proxy.plan(Fault("status", "GET /download", times=9))
  files.read_bytes(path)
  first, second = waits[:9], waits[9:]
  limits = [1, 2, 4, 8, 16, 32, 32, 32, 32]
  for drawn in (first, second):
    assert all(0 <= wait <= limit for wait, limit in zip(drawn, limits, strict=True))
    assert sum(drawn) > 8  # of 79.5 expected: 10 standard deviations are not that far
  assert first != second


@pytest.mark.parametrize(
  ("operation", "request_pattern"),
  [
    (lambda: files.read_bytes(f"gs://{BUCKET}/missing"), "GET .*missing"),
    (lambda: files.size(f"gs://{BUCKET}/missing"), "GET .*missing"),
    (lambda: list(files.read_chunks(f"gs://{BUCKET}/missing", 10)), "GET .*missing"),
    (lambda: files.write_bytes("gs://nobucket/missing", b""), "POST .*nobucket"),
    (lambda: files.write_bytes("gs://nobucket/missing", b"\r"), "POST .*nobucket"),
    (lambda: files.list_files("gs://nobucket/missing"), "GET .*nobucket/o"),
    (
      lambda: files.move([(f"gs://{BUCKET}/missing", f"gs://{BUCKET}/x")]),
      "POST .*missing",
    ),
  ],
  ids=["read", "size", "read in chunks", "write", "write in pieces", "list", "move"],
)
def test_what_is_not_there_is_asked_for_once(proxy, operation, request_pattern):
  proxy.plan()
  before = files.retry_count()
  with pytest.raises(FileNotFoundError, match=r"No such file or directory: 'gs://\w+/missing"):
    operation()
  assert files.retry_count() == before
  assert len(proxy.requests(request_pattern)) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 412])
def test_a_refusal_is_asked_for_once(proxy, path, status):
  before = files.retry_count()
  for do, _ in (OPERATIONS[name] for name in ("read", "write", "list", "move", "delete")):
    proxy.plan(Fault("status", status=status))
    with pytest.raises(OSError, match=rf"^gs://{BUCKET}/.*{status}") as error:
      do(path)
    assert "\n" not in str(error.value)
    assert len(proxy.seen) == 1
  assert files.retry_count() == before


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_outage_that_lasts_is_an_error(proxy, path, operation, change_policy):
  change_policy(PATIENCE=0.5)
  do, _ = OPERATIONS[operation]
  proxy.plan(Fault("status", times=1_000))
  with pytest.raises(OSError, match=rf"^gs://{BUCKET}/") as error:
    do(path)
  assert "\n" not in str(error.value)
  assert len(proxy.seen) > 2


def test_a_write_that_fails_leaves_what_was_there(proxy, path):
  proxy.plan(Fault("status", "POST /upload", status=403))
  with pytest.raises(OSError, match="HTTP status 403"):
    files.write_bytes(path, b"other")
  proxy.plan()
  assert files.list_files(posixpath.dirname(path), unfinished=True) == [
    FileInfo("object", len(CONTENT))
  ]
  assert files.read_bytes(path) == CONTENT


def test_a_write_needs_no_temporary_object(proxy, path):
  proxy.plan()
  files.write_bytes(path, CONTENT)
  assert [request.split()[0] for request in proxy.seen] == ["POST"]


def test_a_large_file_is_written_in_pieces(proxy, path):
  pieces = [os.urandom(1 << 20) for _ in range(20)]
  proxy.plan()
  with files.create(path) as file:
    for piece in pieces:
      file.write(piece)
  assert len(proxy.requests("POST /upload.*upload_id")) == 2
  proxy.plan()
  assert files.read_bytes(path) == b"".join(pieces)
  assert len(proxy.requests("GET /download")) == 2


@pytest.mark.parametrize("fault", [[], [Fault("reset", "DELETE /upload")]])
def test_a_large_file_that_fails_half_way_is_not_there(proxy, path, fault):
  def pieces():
    yield bytes(20 << 20)
    raise ZeroDivisionError

  def write():
    with files.create(f"{path}-large") as file:
      file.writelines(pieces())

  proxy.plan(*fault)
  with pytest.raises(ZeroDivisionError):
    write()
  gc.collect()  # abandoned writers may not go on
  assert not files.exists(f"{path}-large")
  assert len(proxy.requests("POST /upload.*upload_id")) == 1


def test_runs_are_listed_in_one_request(proxy):
  keys = [RunKey(ratio, run) for ratio in (0.1, 0.7) for run in range(10)]
  experiment = f"gs://{BUCKET}/listed"
  for key, name in itertools.product(keys, ("aux_arrays.npz", "checkpoints/ckpt-1.index")):
    files.write_bytes(files.join(key.directory(experiment), name), b"x")
  proxy.plan()
  listing = list_runs(experiment)
  assert [run.key for run in listing.runs] == keys
  assert all(run.complete for run in listing.runs)
  assert len(proxy.seen) == 1


def test_many_files_are_moved_and_deleted_at_the_same_time(proxy):
  directory = f"gs://{BUCKET}/many"
  for name in range(20):
    files.write_bytes(f"{directory}/{name}", b"%d" % name)
  proxy.plan(Fault("stall", times=100, seconds=0.3))
  files.move((f"{directory}/{name}", f"{directory}/moved/{name}") for name in range(20))
  assert proxy.most_at_once >= 5
  proxy.plan(Fault("stall", "DELETE", times=100, seconds=0.3))
  assert len(files.list_files(directory)) == 20
  files.delete(f"{directory}/moved/{name}" for name in range(40))  # half of which are not there
  assert proxy.most_at_once >= 5
  assert files.list_files(directory) == []


def test_chunks_are_read_at_the_same_time(proxy, path):
  proxy.plan(Fault("stall", "GET /download", times=100, seconds=0.3))
  assert b"".join(files.read_chunks(path, 50_000)) == CONTENT
  assert proxy.most_at_once >= 3


def test_many_files_are_read_at_the_same_time_and_in_order(proxy):
  contents = {f"gs://{BUCKET}/read/{number}": b"%d" % number for number in range(100)}
  for path, content in contents.items():
    files.write_bytes(path, content)
  proxy.plan(Fault("stall", "GET /download", times=1_000, seconds=0.2))
  assert list(files.read_many(iter(contents))) == list(contents.items())
  assert proxy.most_at_once >= 5
  assert len(proxy.seen) == 100


@pytest.mark.usefixtures("quick")
def test_what_is_wrong_with_one_of_many_files_concerns_it_alone(proxy, path):
  paths = [f"{path}-missing", path, f"{path}-refused", path]
  proxy.plan(
    Fault("status", "refused", status=403),
    Fault("cut", "object.alt"),
    Fault("status", "object.alt", times=3),
  )
  before = files.retry_count()
  (_, absent), (_, first), (_, refused), (_, second) = files.read_many(paths)
  assert first == second == CONTENT
  assert isinstance(absent, FileNotFoundError)
  assert absent.filename == f"{path}-missing"
  assert str(refused) == f"{path}-refused: HTTP status 403"
  assert files.retry_count() == before + 4
  assert list(files.read_many([])) == []


def test_as_many_files_are_read_at_the_same_time_as_fit_into_memory(proxy, path, monkeypatch):
  monkeypatch.setattr(remote, "_GROUP_BYTES", 2 * len(CONTENT))
  proxy.plan(Fault("stall", "GET /download", times=100, seconds=0.05))
  reading = files.read_many([path] * 100)
  assert next(reading) == (path, CONTENT)
  for _ in range(24):
    next(reading)  # the first groups were made before it was known how large the files are
  proxy.plan(Fault("stall", "GET /download", times=100, seconds=0.05))
  assert [content for _, content in itertools.islice(reading, 20)] == [CONTENT] * 20
  assert proxy.most_at_once == 2
  reading.close()
  assert len(proxy.seen) <= 24  # what was not asked for is not read


def test_threads_share_connections_that_last(proxy, path):
  proxy.plan()
  with ThreadPoolExecutor(4) as pool:
    for _ in pool.map(files.read_bytes, [path] * 40):
      pass
  assert proxy.connections <= 4


def _read_in_all_ways(path):
  files.read_bytes(path)
  list(files.read_many([path] * 20))
  list(files.read_chunks(path, 100_000))
  for _, reading in map_ahead(files.read_bytes, [path] * 3, 2):
    reading.result()


@pytest.mark.usefixtures("quick")
def test_retries_are_a_metric_of_the_pipeline_whatever_thread_makes_them(proxy, path):
  proxy.plan(Fault("status", "GET /download", times=13, every=2))
  before = files.retry_count()
  pipeline = beam.Pipeline(options=beam_options([]))
  _ = pipeline | beam.Create([path]) | beam.Map(_read_in_all_ways)
  result = pipeline.run()
  (counter,) = result.metrics().query(MetricsFilter().with_name("gcs_retries"))["counters"]
  assert counter.key.metric.namespace == "heldout"
  assert counter.committed == files.retry_count() - before == 13


def _read_in_child(path, connection):
  connection.send(files.read_bytes(path) == CONTENT and files.list_files(path) == [])


def test_a_forked_process_makes_connections_of_its_own(proxy, path):
  fork = multiprocessing.get_context("fork")
  files.read_bytes(path)
  receiver, sender = fork.Pipe(duplex=False)
  child = fork.Process(target=_read_in_child, args=(path, sender))
  child.start()
  assert receiver.poll(30)
  assert receiver.recv()
  child.join(30)
  assert child.exitcode == 0
  assert files.read_bytes(path) == CONTENT


@pytest.mark.parametrize("content", [b"\r", b"x\n--==0==--\ny", b"\n\r\n", b"--==0==", b""])
def test_any_content_is_kept(path, content):
  files.write_bytes(path, content)
  assert files.read_bytes(path) == content
  with files.create(path) as file:
    file.write(content)
  assert files.read_bytes(path) == content


@pytest.mark.parametrize(
  ("command", "path"),
  [
    (["inspect", "--experiment=gs://nobucket/runs"], "gs://nobucket/runs:"),
    (["train", "--experiment=gs://nobucket/runs", "--dataset=digits", "--runs=0:1"], "gs://nobuck"),
    (["score", "--experiment=gs://nobucket/runs", "--scores=gs://nobucket/s"], "gs://nobucket/s"),
    (
      ["export", "--scores=gs://nobucket/s", "--format=cscores", "--output=x"],
      "gs://nobucket/s holds",
    ),
  ],
  ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_every_command_says_in_one_line_that_a_bucket_is_not_there(proxy, command, path, capsys):
  proxy.plan()
  assert cli.main(command) == 2
  error = capsys.readouterr().err
  assert error.startswith(f"heldout {command[0]}: error: {path}")
  assert error.count("\n") == 1


def test_a_bucket_itself_is_never_deleted_and_is_no_file(proxy):
  proxy.plan()
  with pytest.raises(IsADirectoryError):
    files.delete([f"gs://{BUCKET}"])
  for path in (f"gs://{BUCKET}", f"gs://{BUCKET}/"):
    assert not files.exists(path)
    with pytest.raises(OSError, match=f"gs://{BUCKET}"):
      files.read_bytes(path)
    with pytest.raises(OSError, match=f"gs://{BUCKET}"):
      files.write_bytes(path, b"")
