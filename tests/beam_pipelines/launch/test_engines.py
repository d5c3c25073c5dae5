"""What is refused before a job starts on another engine, and what is filled in."""

import http.server
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions, PortableOptions

from beam_pipelines import cli
from beam_pipelines.launch import engines, workers
from beam_pipelines.launch.command import beam_options
from files.errors import UsageError
from tests.helpers.outcomes import make_outcomes, write_experiment


class _Args:
  gpu = None
  nvidia_mps = False
  dataset = None
  data_dir = None


def _prepare(*flags, **kwargs):
  options = beam_options(flags)
  engines.prepare_job(_Args, options, {}, **kwargs)
  return options


@pytest.fixture
def jar(tmp_path):
  path = tmp_path / "job-server.jar"
  path.touch()
  return f"--flink_job_server_jar={path}"


@pytest.fixture
def java(tmp_path):
  path = tmp_path / "java"
  path.touch(mode=0o755)
  return f"--job_server_java_launcher={path}"


@contextmanager
def _flink(slots=4, managers=2, network_mb=512):
  """Something that answers as the REST interface of a cluster does."""
  answers = {
    "/overview": {"slots-total": slots},
    "/taskmanagers": {
      "taskmanagers": [{"totalResource": {"networkMemory": network_mb}}] * managers
    },
  }

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      self.send_response(200)
      self.end_headers()
      self.wfile.write(json.dumps(answers[self.path]).encode())

    def log_message(self, *args):
      pass

  with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def grpc_service():
  server = grpc.server(ThreadPoolExecutor(1))
  port = server.add_insecure_port("127.0.0.1:0")
  server.start()
  yield f"127.0.0.1:{port}"
  server.stop(None)


@pytest.fixture
def dead_endpoint():
  with socket.socket() as taken:  # bound, and nobody listens
    taken.bind(("127.0.0.1", 0))
    yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def mute_endpoint():
  with socket.create_server(("127.0.0.1", 0)) as server:
    yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
  ("given", "name"),
  [
    ("DirectRunner", "FnApiRunner"),
    ("FnApiRunner", "FnApiRunner"),
    ("flink", "FlinkRunner"),
    ("FlinkRunner", "FlinkRunner"),
    ("apache_beam.runners.portability.flink_runner.FlinkRunner", "FlinkRunner"),
    ("PrismRunner", "PrismRunner"),
    ("portablerunner", "PortableRunner"),
    ("dataflow", "DataflowRunner"),
    ("my.own.Runner", "Runner"),
  ],
)
def test_an_engine_has_several_names(given, name):
  assert engines.engine(beam_options([f"--runner={given}"])) == name


@pytest.mark.parametrize("runner", ["FlinkRuner", "Ray", "PrismRunnerr"])
def test_names_of_no_runner_are_refused_with_those_that_there_are(runner):
  with pytest.raises(UsageError, match=f"--runner={runner}: no such runner: .* DirectRunner, Pri"):
    _prepare(f"--runner={runner}")


def test_a_mistyped_runner_gets_a_guess():
  with pytest.raises(UsageError, match=r"did you mean FlinkRunner\?"):
    _prepare("--runner=FlinkRuner")


@pytest.mark.parametrize(
  "runner", ["DaskRunner", "dask", "apache_beam.runners.dask.dask_runner.DaskRunner"]
)
def test_dask_is_refused_with_the_reason(runner):
  with pytest.raises(UsageError, match="loses elements and reports success"):
    _prepare(f"--runner={runner}")


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    ("--runner=PrismRunner", "--runner=PrismRunner needs --prism_location, .* `make prism`"),
    ("--runner=PrismRunner --prism_location=/no/prism", "=/no/prism: there is no such file"),
    ("--runner=FlinkRunner", "--runner=FlinkRunner needs --flink_job_server_jar, .* `make flink`"),
    ("--runner=FlinkRunner --flink_job_server_jar=/no.jar", "=/no.jar: there is no such file"),
    ("--runner=SparkRunner", "--runner=SparkRunner needs --spark_job_server_jar, .* `make spark`"),
    (
      "--runner=FlinkRunner --job_server_java_launcher=/no/java",
      "--runner=FlinkRunner needs Java, and there is no `/no/java`",
    ),
    ("--runner=PortableRunner", "needs --job_endpoint=HOST:PORT"),
    ("--runner=PortableRunner --job_endpoint=here", "--job_endpoint=here is not HOST:PORT"),
    ("--runner=PortableRunner --job_endpoint=a:b", "--job_endpoint=a:b is not HOST:PORT"),
  ],
)
def test_what_is_missing_is_said(flags, message, java):
  flags = flags.split()
  if not any(flag.startswith("--job_server_java") for flag in flags):
    flags.append(java)
  with pytest.raises(UsageError, match=message):
    _prepare(*flags)


@pytest.mark.parametrize("runner", ["PortableRunner", "FlinkRunner", "PrismRunner", "SparkRunner"])
def test_a_dead_job_server_is_said(runner, dead_endpoint):
  message = f"--job_endpoint={dead_endpoint}: no job server for {runner} answers there: connection"
  with pytest.raises(UsageError, match=message):
    _prepare(f"--runner={runner}", f"--job_endpoint={dead_endpoint}")


def test_what_listens_but_does_not_speak_is_no_job_server(mute_endpoint):
  with pytest.raises(UsageError, match="something listens that is no gRPC service"):
    _prepare("--runner=PortableRunner", f"--job_endpoint={mute_endpoint}")


def test_a_job_server_that_answers_will_do(grpc_service):
  flags = ["--runner=PortableRunner", f"--job_endpoint={grpc_service}"]
  options = _prepare(*flags, "--environment_type=LOOPBACK").view_as(PortableOptions)
  assert options.environment_type == "LOOPBACK"


def test_a_dead_cluster_is_said(jar, java, dead_endpoint):
  with pytest.raises(UsageError, match=f"--flink_master=http://{dead_endpoint}: no cluster answer"):
    _prepare("--runner=FlinkRunner", jar, java, f"--flink_master={dead_endpoint}")


def test_an_embedded_cluster_works_in_this_process(jar, java):
  options = _prepare("--runner=FlinkRunner", jar, java).view_as(PortableOptions)
  assert options.environment_type == "LOOPBACK"
  assert options.environment_cache_millis == 0


def test_a_cluster_gets_heldouts_workers_on_all_slots(jar, java, monkeypatch):
  monkeypatch.setattr(workers, "worker_command", lambda: __file__)
  with _flink(slots=6) as master:
    options = _prepare("--runner=FlinkRunner", jar, java, f"--flink_master={master}")
  portable = options.view_as(PortableOptions)
  assert options.view_as(FlinkRunnerOptions).parallelism == 6
  assert portable.environment_type == "PROCESS"
  assert json.loads(portable.environment_config) == {"command": __file__}
  assert portable.environment_cache_millis == 20_000


def test_what_the_user_says_about_workers_stays(jar, java):
  config = json.dumps({"command": __file__, "env": {"A": "b"}})
  with _flink() as master:
    options = _prepare(
      "--runner=FlinkRunner",
      jar,
      java,
      f"--flink_master=http://{master}/",
      "--parallelism=3",
      "--environment_type=PROCESS",
      f"--environment_config={config}",
      "--environment_cache_millis=5",
    )
  portable = options.view_as(PortableOptions)
  assert options.view_as(FlinkRunnerOptions).parallelism == 3
  assert portable.environment_config == config
  assert int(portable.environment_cache_millis) == 5


@pytest.mark.parametrize(
  ("cluster", "flags", "message"),
  [
    ({"slots": 0, "managers": 0}, "", "the cluster has no task manager yet"),
    ({}, "--parallelism=5", "--parallelism=5: --flink_master=http://.* has 4 slots"),
    ({}, "--environment_type=EXTERNAL", "EXTERNAL needs --environment_config=HOST:PORT"),
    (
      {},
      "--environment_type=PROCESS --environment_config=boot.sh",
      "--environment_config=boot.sh is not what PROCESS takes: write",
    ),
    (
      {},
      '--environment_type=PROCESS --environment_config={"command":"/no/worker"}',
      "--environment_config: there is no /no/worker, which would start the workers",
    ),
  ],
)
def test_what_cannot_work_on_a_cluster_is_said(cluster, flags, message, jar, java):
  with _flink(**cluster) as master, pytest.raises(UsageError, match=message):
    _prepare("--runner=FlinkRunner", jar, java, f"--flink_master={master}", *flags.split())


def test_a_job_of_many_stages_needs_network_memory(jar, java):
  message = "task managers have 300 MB of network memory, and --parallelism=4 needs more than 340"
  with _flink(network_mb=300) as master:
    config = f"--environment_config={json.dumps({'command': __file__})}"
    flags = ["--runner=FlinkRunner", jar, java, f"--flink_master={master}"]
    flags += ["--environment_type=PROCESS", config]
    _prepare(*flags)
    _prepare(*flags, "--parallelism=2", many_stages=True)
    with pytest.raises(UsageError, match=message):
      _prepare(*flags, many_stages=True)


def test_a_dead_pool_of_workers_is_said(jar, java, dead_endpoint):
  flags = ["--environment_type=EXTERNAL", f"--environment_config={dead_endpoint}"]
  message = f"--environment_config={dead_endpoint}: no pool of workers answers there: connection"
  with _flink() as master, pytest.raises(UsageError, match=message):
    _prepare("--runner=FlinkRunner", jar, java, f"--flink_master={master}", *flags)


def test_a_pool_that_only_workers_elsewhere_see_is_not_asked():
  options = beam_options(["--environment_type=EXTERNAL", "--environment_config=localhost:1"])
  workers.prepare_workers(options.view_as(PortableOptions), here=False)


def test_this_process_is_no_worker_of_machines_elsewhere():
  options = beam_options(["--environment_type=LOOPBACK"])
  with pytest.raises(UsageError, match="works in this process, which machines elsewhere cannot"):
    workers.prepare_workers(options.view_as(PortableOptions), here=False)


def test_workers_elsewhere_need_a_shared_temporary_location(jar, java):
  flags = ["--runner=SparkRunner", jar.replace("flink", "spark"), java]
  flags += ["--spark_master_url=spark://far:7077", "--environment_type=PROCESS"]
  with pytest.raises(UsageError, match="its workers are elsewhere: give a --temp_location that th"):
    _prepare(*flags, shares_scratch=True)
  _prepare(*flags, "--temp_location=/shared", shares_scratch=True)
  _prepare(*flags)


def test_a_diagnosis_says_all_that_is_missing(dead_endpoint):
  flags = ["--runner=FlinkRunner", "--job_server_java_launcher=/no/java"]
  flags += ["--flink_job_server_jar=/no.jar", f"--flink_master={dead_endpoint}"]
  flags += ["--environment_type=EXTERNAL", f"--environment_config={dead_endpoint}"]
  lines = engines.diagnose(_Args, beam_options(flags), {}, many_stages=True)
  starts = ["--runner=FlinkRunner needs Java", "--flink_job_server_jar=/no.jar: there is no"]
  starts += [f"--flink_master=http://{dead_endpoint}: no cluster answers", "--environment_config="]
  assert len(lines) == len(starts)
  assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))
  assert not any("\n" in line for line in lines)


def test_a_diagnosis_of_what_can_start_is_empty(jar, java):
  assert engines.diagnose(_Args, beam_options(["--runner=FlinkRunner", jar, java]), {}) == []
  assert engines.diagnose(_Args, beam_options([]), {}) == []


def test_a_diagnosis_of_no_runner_is_one_line():
  (line,) = engines.diagnose(_Args, beam_options(["--runner=dask"]), {})
  assert "loses elements" in line


def test_the_command_says_it_in_one_line(tmp_path, dead_endpoint, capsys):
  write_experiment(tmp_path / "runs", make_outcomes(0.5, range(3)))
  flags = [f"--experiment={tmp_path}/runs", f"--scores={tmp_path}/scores"]
  runner = ["--runner=PortableRunner", f"--job_endpoint={dead_endpoint}"]
  for dry_run in ([], ["--dry_run"]):
    assert cli.main(["score", *flags, *runner, *dry_run]) == 2
    error = capsys.readouterr().err
    assert error.startswith("heldout score: error: --job_endpoint=")
    assert error.count("\n") == 1
  assert not (tmp_path / "scores").exists()


def test_a_dry_run_says_where(tmp_path, jar, java, capsys, monkeypatch):
  monkeypatch.setattr(workers, "worker_command", lambda: __file__)
  write_experiment(tmp_path / "runs", make_outcomes(0.5, range(3)))
  flags = [f"--experiment={tmp_path}/runs", f"--scores={tmp_path}/scores", "--dry_run"]
  with _flink() as master:
    runner = ["--runner=FlinkRunner", jar, java, f"--flink_master={master}"]
    assert cli.main(["score", *flags, *runner]) == 0
  assert capsys.readouterr().out == (
    f"would score 3 runs of {tmp_path}/runs, from recorded outcomes, into {tmp_path}/scores\n"
    "  runner: FlinkRunner\n"
    f"  cluster: http://{master}, 2 task managers, 4 slots, 512 MB of network memory each\n"
    "  parallelism: 4\n"
    f'  workers: PROCESS {{"command": "{__file__}"}}\n'
    "  temporary files: none\n"
  )
