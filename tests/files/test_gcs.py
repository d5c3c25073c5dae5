"""gs:// over real HTTP: the emulator behind a proxy that makes faults."""

import gc
import itertools
import os
import posixpath
import re

import apache_beam as beam
import pytest
from apache_beam.metrics.metric import MetricsFilter
from google.api_core.retry import retry_unary

import files
from beam_pipelines import cli
from beam_pipelines.launch.command import beam_options
from beam_pipelines.storage.runs.experiment import RunKey, list_runs
from files import FileInfo, gcs
from tests.helpers.gcs import BUCKET, emulated_gcs
from tests.helpers.proxy import Fault

CONTENT = os.urandom(300_000)
# What the client does on the side, once, for its traces.
ABOUT_THE_BUCKET = rf"GET /storage/v1/b/{BUCKET}\?"

OPERATIONS = {
  "read": (lambda path: files.read_bytes(path) == CONTENT, True),
  "read in chunks": (lambda path: b"".join(files.read_chunks(path, 70_000)) == CONTENT, True),
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
  "reset": {"kind": "reset"},
  "answer lost": {"kind": "lose"},
}


@pytest.fixture(scope="module")
def proxy():
  with pytest.MonkeyPatch.context() as patch, emulated_gcs(patch) as proxy:
    yield proxy


@pytest.fixture
def change_policy(monkeypatch):
  """Changes constants of `gcs`, for clients that are made from now on."""

  def change(**constants):
    for name, value in constants.items():
      monkeypatch.setattr(gcs, name, value)
    monkeypatch.setattr(gcs, "_clients", gcs._Clients())

  return change


@pytest.fixture
def quick(change_policy):
  """Waits as usual, but a hundred times shorter."""
  change_policy(FIRST_WAIT=gcs.FIRST_WAIT / 100, LONGEST_WAIT=gcs.LONGEST_WAIT / 100)


@pytest.fixture
def path(proxy, request):
  """The path of an object with `CONTENT`."""
  proxy.plan()
  path = f"gs://{BUCKET}/{re.sub(r'[^a-z0-9]', '-', request.node.name)}/object"
  files.write_bytes(path, CONTENT)
  return path


def _main_requests(proxy):
  return [request for request in proxy.seen if not re.match(ABOUT_THE_BUCKET, request)]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_is_retried_and_counted(proxy, path, operation, fault):
  do, expected = OPERATIONS[operation]
  proxy.plan(Fault(**FAULTS[fault], requests=f"^(?!{ABOUT_THE_BUCKET})", times=2))
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
def test_an_upload_whose_answer_was_lost_is_made_whole(proxy, path):
  """The emulator then knows the upload no longer, as Google's servers may at any time."""
  content = CONTENT[::-1]
  proxy.plan(Fault("lose", "PUT /upload"))
  before = files.retry_count()
  files.write_bytes(path, content)
  assert files.retry_count() == before + 2  # the lost answer, and the lost upload
  assert files.read_bytes(path) == content


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
  monkeypatch.setattr(retry_unary.time, "sleep", waits.append)
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
    (lambda: files.list_files("gs://nobucket/missing"), "GET .*nobucket/o"),
    (
      lambda: files.move([(f"gs://{BUCKET}/x", f"gs://{BUCKET}/missing")]),
      "POST /batch",
    ),
  ],
  ids=["read", "size", "read in chunks", "write", "list", "move"],
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
  for do, _ in (OPERATIONS["read"], OPERATIONS["write"], OPERATIONS["list"]):
    proxy.plan(Fault("status", f"^(?!{ABOUT_THE_BUCKET})", status=status))
    with pytest.raises(OSError, match=rf"^gs://{BUCKET}/.*{status}") as error:
      do(path)
    assert "\n" not in str(error.value)
    assert len(_main_requests(proxy)) == 1
  assert files.retry_count() == before


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_outage_that_lasts_is_an_error(proxy, path, operation, change_policy):
  change_policy(PATIENCE=0.2)
  do, _ = OPERATIONS[operation]
  proxy.plan(Fault("status", times=1_000))
  with pytest.raises(OSError, match=rf"^gs://{BUCKET}/") as error:
    do(path)
  assert "\n" not in str(error.value)
  assert len(_main_requests(proxy)) > 2


def test_a_write_that_fails_leaves_what_was_there(proxy, path):
  proxy.plan(Fault("status", "PUT /upload", status=403))
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
  assert [request.split()[0] for request in _main_requests(proxy)] == ["POST", "PUT"]


def test_a_large_file_is_written_in_pieces(proxy, path):
  pieces = [os.urandom(1 << 20) for _ in range(20)]
  proxy.plan()
  with files.create(path) as file:
    for piece in pieces:
      file.write(piece)
  assert len(proxy.requests("PUT /upload")) == 2
  assert files.read_bytes(path) == b"".join(pieces)


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
  assert len(proxy.requests("PUT /upload")) == 1


def test_runs_are_listed_in_one_request(proxy):
  keys = [RunKey(ratio, run) for ratio in (0.1, 0.7) for run in range(10)]
  experiment = f"gs://{BUCKET}/listed"
  for key, name in itertools.product(keys, ("aux_arrays.npz", "checkpoints/ckpt-1.index")):
    files.write_bytes(files.join(key.directory(experiment), name), b"x")
  proxy.plan()
  listing = list_runs(experiment)
  assert [run.key for run in listing.runs] == keys
  assert all(run.complete for run in listing.runs)
  assert len(_main_requests(proxy)) == 1


def test_deleting_many_files_takes_one_request_per_hundred(proxy):
  directory = f"gs://{BUCKET}/deleted"
  for name in range(3):
    files.write_bytes(f"{directory}/{name}", b"")
  proxy.plan()
  files.delete([f"{directory}/{name}" for name in range(150)])
  assert len(_main_requests(proxy)) == 2
  assert files.list_files(directory) == []


def test_chunks_are_read_at_the_same_time(proxy, path):
  proxy.plan(Fault("stall", "GET /download", times=100, seconds=0.3))
  assert b"".join(files.read_chunks(path, 50_000)) == CONTENT
  assert proxy.most_at_once >= 3


def test_a_thread_keeps_its_connection(proxy, path):
  proxy.plan()
  for _ in range(5):
    files.read_bytes(path)
  assert proxy.connections <= 1


def test_retries_are_a_metric_of_the_pipeline(proxy, path):
  proxy.plan(Fault("status", "GET /download"))
  pipeline = beam.Pipeline(options=beam_options([]))
  _ = pipeline | beam.Create([path]) | beam.Map(files.read_bytes)
  result = pipeline.run()
  (counter,) = result.metrics().query(MetricsFilter().with_name("gcs_retries"))["counters"]
  assert counter.key.metric.namespace == "heldout"
  assert counter.committed == 1


@pytest.mark.parametrize(
  ("command", "path"),
  [
    (["inspect", "--experiment=gs://nobucket/runs"], "gs://nobucket/runs/"),
    (["train", "--experiment=gs://nobucket/runs", "--dataset=digits", "--runs=0:1"], "gs://nobuck"),
    (["score", "--experiment=gs://nobucket/runs", "--scores=gs://nobucket/s"], "gs://nobucket/s"),
    (["export", "--scores=gs://nobucket/s", "--format=cscores", "--output=x"], "--scores=gs://nob"),
  ],
  ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_every_command_says_in_one_line_that_a_bucket_is_not_there(proxy, command, path, capsys):
  proxy.plan()
  assert cli.main(command) == 2
  error = capsys.readouterr().err
  assert error.startswith(f"heldout {command[0]}: error: {path}")
  assert error.count("\n") == 1
