"""Jobs as they are submitted to Dataflow: to its jobs API and gs://, both on this machine."""

import posixpath
import signal
import socket
import threading
import time
import types

import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow import dataflow_runner

import files
from beam_pipelines import cli
from beam_pipelines.launch import scoring
from tests.helpers.checkpoints import write_digits_experiment
from tests.helpers.dataflow_service import JOB, Service
from tests.helpers.gcs import BUCKET, emulated_gcs

IMAGE = "europe-docker.pkg.dev/project/heldout/heldout:1"
HINT = "type:nvidia-l4;count:1;install-nvidia-driver"
ACCELERATOR = "beam:resources:accelerator:v1"
EXPERIMENT = f"gs://{BUCKET}/runs"
TEMPORARY = f"gs://{BUCKET}/temp"
CLOUD = (
  "--runner=DataflowRunner",
  "--project=project",
  "--region=europe-west4",
  f"--temp_location={TEMPORARY}",
  f"--sdk_container_image={IMAGE}",
  "--gpu=nvidia-l4",
)


@pytest.fixture(scope="module", autouse=True)
def loopback_only():
  """Fails when anything has looked up another machine."""
  look_up, others = socket.getaddrinfo, []

  def look_up_local(host, *arguments, **options):
    if host not in ("127.0.0.1", "localhost"):
      others.append(host)
      raise socket.gaierror(f"{host} is another machine")
    return look_up(host, *arguments, **options)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(socket, "getaddrinfo", look_up_local)
    yield
  assert others == []


@pytest.fixture(scope="module")
def proxy():
  with pytest.MonkeyPatch.context() as patch, emulated_gcs(patch) as proxy:
    yield proxy


@pytest.fixture(scope="module")
def local(tmp_path_factory):
  """Runs on this machine, and their scores made on this machine."""
  path = tmp_path_factory.mktemp("local")
  write_digits_experiment(path / "runs", range(3))
  flags = (f"--experiment={path}/runs", f"--scores={path}/scores", "--dataset=digits")
  assert cli.main(["score", *flags]) == 0
  return path


@pytest.fixture(scope="module")
def experiment(proxy, local):
  """The same runs on gs://."""
  for info in files.list_files(f"{local}/runs"):
    files.write_bytes(f"{EXPERIMENT}/{info.name}", files.read_bytes(f"{local}/runs/{info.name}"))
  return EXPERIMENT


@pytest.fixture
def service():
  with Service().running() as service:
    yield service


@pytest.fixture
def impatient(monkeypatch):
  """Beam asks for the state of a job every 5 s; here, a hundred times as often."""
  clock = types.SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 100), time=time.time)
  monkeypatch.setattr(dataflow_runner, "time", clock)


@pytest.fixture
def name(request):
  """A name in the bucket of the test's own."""
  return f"gs://{BUCKET}/{request.node.name}"


def _score(scores, *flags):
  source = ("--dataset=digits", "--source=checkpoints", "--model=mlp")
  return cli.main(["score", f"--experiment={EXPERIMENT}", f"--scores={scores}", *source, *flags])


def _verify(*flags):
  command = ["verify", f"--experiment={EXPERIMENT}", "--dataset=digits", "--model=mlp"]
  return cli.main([*command, *CLOUD, *flags])


def _train(experiment, *flags):
  command = ["train", f"--experiment={experiment}", "--dataset=digits", "--runs=0:3", "--epochs=1"]
  return cli.main([*command, *CLOUD, *flags])


def _tables(scores):
  listed = files.list_files(str(scores))
  names = [info.name for info in listed if info.name.endswith(".parquet")]
  return {name: files.read_bytes(f"{scores}/{name}") for name in names}


def _options(job):
  return job["environment"]["sdkPipelineOptions"]["options"]


def _pipeline(job):
  return beam_runner_api_pb2.Pipeline.FromString(files.read_bytes(_options(job)["pipelineUrl"]))


def _transforms_with_gpu(pipeline):
  """Names of what runs where a GPU is asked for, by hint."""
  environments = pipeline.components.environments
  found = {}
  for transform in pipeline.components.transforms.values():
    hints = environments[transform.environment_id].resource_hints
    if ACCELERATOR in hints:
      found.setdefault(hints[ACCELERATOR].decode(), []).append(transform.unique_name)
  return found


def _check_workers(job, machine_type="g2-standard-4", disk_size_gb=50):
  (pool,) = job["environment"]["workerPools"]
  assert pool["machineType"] == machine_type
  assert pool["diskSizeGb"] == disk_size_gb
  images = {image["containerImage"] for image in pool["sdkHarnessContainerImages"]}
  assert images == {IMAGE}
  experiments = job["environment"]["experiments"]
  assert {"use_runner_v2", "no_use_multiple_sdk_containers"} <= set(experiments)
  assert "use_multiple_sdk_containers" not in experiments
  assert _options(job)["region"] == "europe-west4"
  assert _options(job)["sdk_location"] == "container"


def _nothing_of_ours_is_left():
  left = [info.name for info in files.list_files(TEMPORARY, unfinished=True)]
  assert left  # what Beam has staged
  assert not [name for name in left if name.startswith("heldout-")]


@pytest.mark.usefixtures("experiment")
def test_a_template_of_scoring_asks_for_gpus_where_checkpoints_are_evaluated(name, capsys):
  assert _score(f"{name}/scores", *CLOUD, f"--template_location={name}/template") == 0
  captured = capsys.readouterr()
  assert captured.out == ""
  assert f"wrote a template of the job to {name}/template: `gcloud" in captured.err
  job = files.read_json(f"{name}/template")
  _check_workers(job)
  pipeline = _pipeline(job)
  assert _transforms_with_gpu(pipeline) == {HINT: ["Read outcomes/Evaluate/BeamML_RunInference"]}
  assert len(pipeline.components.transforms) > 50
  left = [info.name.partition("/")[2] for info in files.list_files(f"{name}/scores")]
  assert left == [f"index/{split}-from-00000000.parquet" for split in ("test", "train")]


@pytest.mark.usefixtures("experiment")
def test_workers_are_those_that_the_command_line_asks_for(name):
  flags = ("--machine_type=g2-standard-8", "--disk_size_gb=80", "--nvidia_mps")
  template = f"{name}/template"
  assert _score(f"{name}/scores", *CLOUD, *flags, f"--template_location={template}") == 0
  job = files.read_json(template)
  (pool,) = job["environment"]["workerPools"]
  assert (pool["machineType"], pool["diskSizeGb"]) == ("g2-standard-8", 80)
  assert "no_use_multiple_sdk_containers" not in job["environment"]["experiments"]
  assert list(_transforms_with_gpu(_pipeline(job))) == [f"{HINT};use_nvidia_mps"]


@pytest.mark.usefixtures("experiment", "impatient")
def test_scores_are_those_of_this_machine(service, local, name, capsys):
  assert _score(name, *CLOUD, f"--dataflow_endpoint={service.endpoint}") == 0
  captured = capsys.readouterr()
  assert captured.out.startswith("scored 3 runs at subset ratios 0.7: ")
  assert captured.err == (
    f"job {JOB}, which goes on if this command is interrupted: https://console.cloud.google.com/"
    f"dataflow/jobs/europe-west4/{JOB}?project=project\n"
  )
  assert service.where == {"project": "project", "region": "europe-west4"}
  _check_workers(service.job)
  assert _tables(name) == _tables(f"{local}/scores")
  assert files.read_json(f"{name}/manifest.json")["options"]["gpu"] == "nvidia-l4"
  assert not [info for info in files.list_files(name) if info.name.startswith(".staging-")]
  _nothing_of_ours_is_left()


@pytest.mark.usefixtures("experiment", "impatient")
def test_verification_waits_for_its_result(service, capsys):
  assert _verify(f"--dataflow_endpoint={service.endpoint}") == 0
  out = capsys.readouterr().out
  assert "verified 3 runs: 5,391 of 5,391 predictions are the recorded ones\n" in out
  _check_workers(service.job)
  assert _transforms_with_gpu(_pipeline(service.job)) == {
    HINT: ["Evaluate checkpoints/Evaluate/BeamML_RunInference"]
  }
  _nothing_of_ours_is_left()


@pytest.mark.usefixtures("proxy", "impatient")
def test_runs_are_trained_on_gpus(service, name, capsys):
  assert _train(name, f"--dataflow_endpoint={service.endpoint}") == 0
  assert capsys.readouterr().out.endswith(f"trained 3 runs in {name}\n")
  _check_workers(service.job)
  assert _transforms_with_gpu(_pipeline(service.job)) == {HINT: ["Train runs/Train chunk"]}
  names = {posixpath.basename(info.name) for info in files.list_files(name)}
  assert {"training.json", "aux_arrays.npz", "ckpt-1.index"} <= names


@pytest.mark.usefixtures("experiment", "impatient")
def test_a_job_that_refuses_its_inputs_says_so_in_one_line(service, name, capsys):
  broken = f"{name}/runs/0.7/9/aux_arrays.npz"
  files.write_bytes(broken, b"nothing")
  flags = (f"--experiment={name}/runs", "--strict", f"--dataflow_endpoint={service.endpoint}")
  assert _score(f"{name}/scores", *CLOUD, *flags) == 2
  error = capsys.readouterr().err.splitlines()[-1]
  assert error.startswith(f"heldout score: error: {name}/runs: 1 inputs cannot be used; the first")
  assert files.list_files(f"{name}/scores") == []


@pytest.mark.usefixtures("experiment")
def test_an_interruption_leaves_the_job_what_it_has_staged(name, monkeypatch, capsys):
  staged = f"{name}/.staging-job/examples/part.parquet"

  def interrupt(seconds):
    if threading.current_thread() is not threading.main_thread():
      threading.Event().wait()  # the thread that asks for the job's state ends with the process
    files.write_bytes(staged, b"rows")  # as a worker would
    signal.raise_signal(signal.SIGINT)

  clock = types.SimpleNamespace(sleep=interrupt, time=time.time)
  monkeypatch.setattr(dataflow_runner, "time", clock)
  job = types.SimpleNamespace(hex="job")
  monkeypatch.setattr(scoring, "uuid", types.SimpleNamespace(uuid4=lambda: job))
  with Service(holds_on=True).running() as service:
    assert _score(name, *CLOUD, f"--dataflow_endpoint={service.endpoint}") == 130
  error = capsys.readouterr().err.splitlines()
  assert error[-1].startswith(
    "heldout score: interrupted: nothing was published, unless it says so"
  )
  assert error[-2].startswith("the job may go on without this command on DataflowRunner, and then ")
  assert files.read_bytes(staged) == b"rows"


@pytest.mark.usefixtures("experiment")
@pytest.mark.parametrize(
  ("run", "plan"),
  [
    (_score, "would score 3 runs of {experiment}, from checkpoints of mlp, into {name}"),
    (lambda name, *flags: _verify(*flags[6:]), "would verify 3 runs of {experiment}, as mlp"),
    (_train, "3 runs of mlp (167,178 variables) on digits at ratios 0.7: 0 complete, 3 to train"),
  ],
  ids=["score", "verify", "train"],
)
def test_a_dry_run_says_what_would_run_where(run, plan, proxy, name, capsys):
  proxy.plan()
  assert run(name, *CLOUD, "--max_num_workers=40", "--dry_run") == 0
  first, *lines = capsys.readouterr().out.splitlines()
  assert first.startswith(plan.format(experiment=EXPERIMENT, name=name))
  assert lines == [
    "  runner: DataflowRunner",
    "  project: project",
    "  region: europe-west4",
    f"  temporary files: {TEMPORARY}",
    f"  container image: {IMAGE}",
    "  machine type: g2-standard-4",
    f"  resource hint: accelerator={HINT}",
    "  worker options: max_num_workers=40, disk_size_gb=50",
    "  experiments: use_runner_v2, no_use_multiple_sdk_containers",
  ]
  assert proxy.requests("^(POST|PUT|DELETE)") == []


def test_a_dry_run_on_this_machine_says_so(local, tmp_path, capsys):
  flags = (f"--experiment={local}/runs", f"--scores={tmp_path}/scores", "--dry_run")
  assert cli.main(["score", *flags]) == 0
  assert capsys.readouterr().out == (
    f"would score 3 runs of {local}/runs, from recorded outcomes, into {tmp_path}/scores\n"
    "  runner: FnApiRunner\n"
  )
  assert not (tmp_path / "scores").exists()


@pytest.mark.usefixtures("experiment")
@pytest.mark.parametrize(
  ("flag", "message"),
  [
    ("--no_wait_until_finish", "--no_wait_until_finish: the command waits for its job"),
    ("--model=mpl", "--model=mpl: unknown model 'mpl': choose one of"),
    ("--project=Project!", "Invalid Project ID (Project!)"),
  ],
)
def test_what_cannot_be_submitted_is_one_line(flag, message, name, capsys):
  assert _score(name, *CLOUD, flag) == 2
  error = capsys.readouterr().err
  assert message in error
  assert error.startswith("heldout score: error: ")
  assert error.count("\n") == 1
