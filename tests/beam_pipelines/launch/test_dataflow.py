"""What is refused before a job is submitted to Dataflow, and what is submitted."""

import argparse
import re
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import DebugOptions, WorkerOptions

from beam_pipelines import cli
from beam_pipelines.launch import dataflow
from beam_pipelines.launch.command import beam_options
from files.errors import UsageError

CLOUD = ("--project=project", "--region=europe-west4", "--temp_location=gs://bucket/temp")
IMAGE = "--sdk_container_image=europe-docker.pkg.dev/project/heldout/heldout:1"
EXPERIMENT = "--experiment=gs://bucket/runs"
COMMANDS = {
  "score": (EXPERIMENT, "--scores=gs://bucket/scores", "--source=checkpoints"),
  "verify": (EXPERIMENT,),
  "train": (EXPERIMENT, "--runs=0:4"),
}


def _run(name, *flags):
  command = [name, *COMMANDS[name], "--dataset=digits", "--model=mlp", "--runner=DataflowRunner"]
  return cli.main([*command, *flags])


def _without(flag):
  return [other for other in CLOUD if not other.startswith(flag)]


def _asked(gpu, *flags, mps=False):
  """The hint and the options of a job that asks for a GPU."""
  args = argparse.Namespace(
    gpu=dataflow.find_gpu(gpu), nvidia_mps=mps, dataset="digits", data_dir=None
  )
  options = beam_options(["--runner=DataflowRunner", *CLOUD, IMAGE, *flags])
  hint = dataflow.prepare_job(args, options, {})
  return hint, options.view_as(WorkerOptions), options.view_as(DebugOptions).experiments


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (_without("--project"), "--runner=DataflowRunner needs --project"),
    (_without("--region"), "--runner=DataflowRunner needs --region"),
    (_without("--temp_location"), "--runner=DataflowRunner needs --temp_location"),
    ([], "--runner=DataflowRunner needs --project, --region, --temp_location"),
    (
      [*CLOUD, "--temp_location=/tmp"],
      "--temp_location=/tmp: Dataflow needs one on gs://, such as gs://bucket/temp",
    ),
    ([*CLOUD], "its workers need Heldout: give --sdk_container_image with an image built from"),
    (
      [*CLOUD, "--gpu=nvidia-l4"],
      "--gpu=nvidia-l4 needs --sdk_container_image with Heldout and CUDA's libraries: build one",
    ),
    (
      [*CLOUD, IMAGE, "--gpu=nvidia-l5"],
      "argument --gpu: 'nvidia-l5' is no GPU of Dataflow: choose one of nvidia-l4, nvidia-tesla-t4",
    ),
    (
      [*CLOUD, IMAGE, "--gpu=l4", "--machine_type=n1-standard-4"],
      "--machine_type=n1-standard-4 does not carry exactly one nvidia-l4: use one such as "
      "g2-standard-4, or leave it out",
    ),
    (
      [*CLOUD, IMAGE, "--nvidia_mps"],
      "--nvidia_mps needs --gpu: processes share a GPU with it",
    ),
    (
      [*CLOUD, IMAGE, "--gpu=l4", "--nvidia_mps", "--experiments=no_use_multiple_sdk_containers"],
      "--nvidia_mps and --experiments=no_use_multiple_sdk_containers: one process has nobody",
    ),
    (
      [*CLOUD, IMAGE, "--gpu=l4", "--dataflow_service_options=worker_accelerator=type:nvidia-l4"],
      "--gpu=nvidia-l4 and --dataflow_service_options=worker_accelerator=… both ask for GPUs",
    ),
    (
      [*CLOUD, IMAGE, "--gpu=l4", "--flexrs_goal=COST_OPTIMIZED"],
      "--gpu=nvidia-l4 and --flexrs_goal: Dataflow's FlexRS has no GPUs for single steps",
    ),
    (
      [*CLOUD, IMAGE, "--experiment=runs"],
      "runs is on this machine, where workers of Dataflow cannot reach it: copy it to gs:// and",
    ),
    ([*CLOUD, IMAGE, "--dataset=npz:a.npz"], "--dataset=npz:a.npz is on this machine, where work"),
    ([*CLOUD, IMAGE, "--dataset=idx:/mnist"], "--dataset=idx:/mnist is on this machine, where w"),
    (
      [*CLOUD, IMAGE, "--dataset=tfds:mnist", "--data_dir=/tfds"],
      "--data_dir=/tfds is on this machine, where workers of Dataflow cannot reach it",
    ),
    (
      [*CLOUD, IMAGE, "--dataset=tfds:mnist"],
      "--dataset=tfds:mnist on Dataflow: each worker would download it; prepare it on gs:// and",
    ),
    ([*CLOUD, IMAGE, "--regoin=x"], "unknown argument --regoin: did you mean --region?"),
  ],
)
@pytest.mark.parametrize("name", COMMANDS)
def test_what_cannot_run_is_refused_in_one_line(name, flags, message, capsys):
  if name == "train" or "--experiment=runs" not in flags:
    flags = [flag.replace("--experiments=no_use", "--experiments=no_use") for flag in flags]
  assert _run(name, *flags) == 2
  error = capsys.readouterr().err
  assert message in error
  assert error.startswith(f"heldout {name}: error: ")
  assert error.count("\n") == 1


def test_local_scores_are_refused(capsys):
  assert _run("score", *CLOUD, IMAGE, "--scores=/scores") == 2
  assert capsys.readouterr().err == (
    "heldout score: error: --scores=/scores is on this machine, where workers of Dataflow cannot "
    "reach it: copy it to gs:// and give that path\n"
  )


def test_recorded_outcomes_need_no_gpu(capsys):
  assert _run("score", *CLOUD, IMAGE, "--gpu=l4", "--source=recorded") == 2
  assert "--model needs --source=checkpoints" in capsys.readouterr().err
  flags = ("score", EXPERIMENT, "--scores=gs://bucket/scores", "--gpu=l4")
  assert cli.main([*flags, "--runner=DataflowRunner", *CLOUD, IMAGE]) == 2
  assert "--gpu needs --source=checkpoints" in capsys.readouterr().err


@pytest.mark.parametrize("runner", ["--runner=DirectRunner", "--runner=FlinkRunner"])
@pytest.mark.parametrize("name", COMMANDS)
def test_gpus_are_dataflows(name, runner, capsys):
  assert _run(name, runner, "--gpu=l4") == 2
  assert capsys.readouterr().err == (
    f"heldout {name}: error: --gpu=nvidia-l4 needs --runner=DataflowRunner: workers on this "
    "machine use the GPU that it has, without a flag\n"
  )


def test_verify_writes_no_template(capsys):
  assert _run("verify", *CLOUD, IMAGE, "--template_location=gs://bucket/template") == 2
  error = "heldout verify: error: --template_location: `heldout verify` reads its job's result"
  assert capsys.readouterr().err.startswith(error)


@pytest.mark.parametrize("gpu", dataflow.GPUS, ids=lambda gpu: gpu.name)
def test_names_and_aliases_of_a_gpu_ask_for_the_same(gpu):
  hint = f"type:{gpu.name};count:1;install-nvidia-driver"
  for name in (gpu.name, *gpu.aliases, gpu.name.upper()):
    asked, worker, experiments = _asked(name)
    assert asked == hint
    assert worker.machine_type == gpu.machine_type
    assert worker.disk_size_gb == 50
    assert experiments == ["use_runner_v2", "no_use_multiple_sdk_containers"]


def test_an_alias_names_one_gpu():
  names = [name for gpu in dataflow.GPUS for name in (gpu.name, *gpu.aliases)]
  assert len(names) == len(set(names))


def test_what_the_user_says_about_workers_stays():
  _, worker, experiments = _asked(
    "t4", "--machine_type=n1-highmem-8", "--disk_size_gb=200", "--experiments=use_runner_v2,other"
  )
  assert worker.machine_type == "n1-highmem-8"
  assert worker.disk_size_gb == 200
  assert experiments == ["use_runner_v2", "other", "no_use_multiple_sdk_containers"]


def test_processes_share_a_gpu_by_mps_instead_of_being_one():
  hint, _, experiments = _asked("nvidia-l4", mps=True)
  assert hint == "type:nvidia-l4;count:1;install-nvidia-driver;use_nvidia_mps"
  assert experiments == ["use_runner_v2"]


@pytest.mark.parametrize(
  ("gpu", "carries", "does_not"),
  [
    ("l4", ["g2-standard-4", "g2-standard-32"], ["g2-standard-24", "n1-standard-4"]),
    ("t4", ["n1-standard-1", "n1-custom-4-8192", "custom-4-8192"], ["g2-standard-4"]),
    ("v100", ["n1-highmem-8"], ["a2-highgpu-1g"]),
    ("p100", ["n1-highcpu-8"], ["e2-standard-4"]),
    ("a100", ["a2-highgpu-1g"], ["a2-ultragpu-1g", "a2-highgpu-2g", "n1-standard-4"]),
    ("a100-80gb", ["a2-ultragpu-1g"], ["a2-highgpu-1g"]),
  ],
)
def test_machine_types_carry_one_gpu_or_are_refused(gpu, carries, does_not):
  for machine_type in carries:
    assert _asked(gpu, f"--machine_type={machine_type}")[1].machine_type == machine_type
  for machine_type in does_not:
    with pytest.raises(UsageError, match=f"--machine_type={machine_type} does not carry exactly"):
      _asked(gpu, f"--machine_type={machine_type}")


@pytest.mark.parametrize(
  ("runner", "is_dataflow"),
  [
    ("DataflowRunner", True),
    ("dataflow", True),
    ("apache_beam.runners.dataflow.dataflow_runner.DataflowRunner", True),
    ("FlinkRunner", False),
    ("DirectRunner", False),
  ],
)
def test_beam_has_several_names_for_dataflow(runner, is_dataflow):
  assert dataflow.is_dataflow(beam_options([f"--runner={runner}"])) == is_dataflow


def test_labels_of_recorded_outcomes_may_come_from_this_machine():
  args = argparse.Namespace(gpu=None, nvidia_mps=False, dataset="npz:here.npz", data_dir=None)
  options = beam_options(["--runner=DataflowRunner", *CLOUD, IMAGE])
  dataflow.prepare_job(args, options, {}, loads_dataset=False)
  with pytest.raises(UsageError, match="npz is on this machine"):
    dataflow.prepare_job(args, options, {})


def test_the_guide_lists_the_gpus():
  guide = Path(__file__).parents[3] / "docs" / "dataflow.md"
  rows = re.findall(
    r"^\| `(nvidia-[^`]+)` \| (.*) \| `([^`]+)` \|$", guide.read_text(), re.MULTILINE
  )
  assert rows == [
    (gpu.name, ", ".join(f"`{alias}`" for alias in gpu.aliases), gpu.machine_type)
    for gpu in dataflow.GPUS
  ]


def test_a_setup_file_brings_heldout_to_workers_without_a_gpu():
  args = argparse.Namespace(gpu=None, nvidia_mps=False, dataset=None, data_dir=None)
  options = beam_options(["--runner=DataflowRunner", *CLOUD, "--setup_file=./setup.py"])
  assert dataflow.prepare_job(args, options, {}) is None
  assert options.view_as(WorkerOptions).machine_type is None
