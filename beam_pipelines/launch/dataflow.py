"""Google Cloud Dataflow: its GPUs, what a job there needs, and what is refused before it starts."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from apache_beam.options.pipeline_options import (
  DebugOptions,
  GoogleCloudOptions,
  PipelineOptions,
  SetupOptions,
  StandardOptions,
  WorkerOptions,
)

from beam_pipelines.launch.groups import WORKERS
from files.errors import UsageError
from image_datasets import dataset_path, is_in_data_dir

if TYPE_CHECKING:
  from beam_pipelines.launch.parser import Parser

ONE_PROCESS_PER_WORKER = "no_use_multiple_sdk_containers"

_DISK_GB = 50  # the image has CUDA's libraries; the service's own choice is for smaller ones
_SHOWN_OPTIONS = ("num_workers", "max_num_workers", "disk_size_gb", "network", "subnetwork")


@dataclasses.dataclass(frozen=True)
class Gpu:
  """A kind of GPU that Dataflow attaches to workers, one to each.

  Attributes:
    name: Google Cloud's.
    aliases: shorter ones.
    machine_type: the smallest worker that carries one.
    machine_types: a regular expression of all that carry exactly one.
    gigabytes: of memory.
  """

  name: str
  aliases: tuple[str, ...]
  machine_type: str
  machine_types: str
  gigabytes: int


_N1 = r"(n1-|custom-).+"

GPUS = (
  Gpu("nvidia-l4", ("l4",), "g2-standard-4", r"g2-standard-(4|8|12|16|32)", 24),
  Gpu("nvidia-tesla-t4", ("nvidia-t4", "t4"), "n1-standard-4", _N1, 16),
  Gpu("nvidia-tesla-p100", ("nvidia-p100", "p100"), "n1-standard-4", _N1, 16),
  Gpu("nvidia-tesla-v100", ("nvidia-v100", "v100"), "n1-standard-4", _N1, 16),
  Gpu("nvidia-tesla-a100", ("nvidia-a100", "a100"), "a2-highgpu-1g", "a2-highgpu-1g", 40),
  Gpu("nvidia-a100-80gb", ("a100-80gb",), "a2-ultragpu-1g", "a2-ultragpu-1g", 80),
)


def find_gpu(text: str) -> Gpu:
  """Returns the GPU of a name or alias; it is the type of a command-line flag."""
  for gpu in GPUS:
    if text.lower() in (gpu.name, *gpu.aliases):
      return gpu
  raise argparse.ArgumentTypeError(f"{text!r} is no GPU of Dataflow: choose one of {_names()}")


def add_gpu_flags(parser: Parser, step: str) -> None:
  """Adds the flags that ask for GPUs; `step` says which one of the pipeline runs on them."""
  parser.add(
    WORKERS,
    "--gpu",
    type=find_gpu,
    metavar="NAME",
    suggestions=[gpu.name for gpu in GPUS],
    help=f"of each worker on Dataflow, to {step} on: {_names()}",
  )
  parser.add(
    WORKERS,
    "--nvidia_mps",
    action="store_true",
    help="several processes of a worker share its GPU, in place of one",
  )


def check_gpu_flags(args: argparse.Namespace, on_dataflow: bool) -> None:
  """Makes sure that the flags of `add_gpu_flags` go together, and with the runner.

  Raises:
    UsageError: they do not.
  """
  if args.nvidia_mps and not args.gpu:
    raise UsageError("--nvidia_mps needs --gpu: processes share a GPU with it")
  if args.gpu and not on_dataflow:
    raise UsageError(
      f"--gpu={args.gpu.name} needs --runner=DataflowRunner: workers on this machine use "
      "the GPU that it has, without a flag"
    )


def is_dataflow(options: PipelineOptions) -> bool:
  """Whether a job is to run on Dataflow, by any of the names that Beam takes for it."""
  runner = options.view_as(StandardOptions).runner or ""
  return runner.rpartition(".")[-1].lower() in ("dataflow", "dataflowrunner")


def prepare_job(
  args: argparse.Namespace,
  options: PipelineOptions,
  paths: Mapping[str, str],
  *,
  loads_dataset: bool = True,
) -> str | None:
  """Checks that a job can run on Dataflow, and fills in the options that follow.

  Args:
    args: those of `add_gpu_flags` and of the data set.
    options: Beam's; GPUs change those of workers, where the command line leaves them open.
    paths: by flag, what workers read and write besides the data set.
    loads_dataset: whether workers load the data set too.

  Returns:
    Beam's resource hint for the step that needs the GPU, or None for no GPU.

  Raises:
    UsageError: something that the job needs is missing, or two things do not go together.
  """
  _check_cloud_options(options.view_as(GoogleCloudOptions))
  _check_paths({**paths, **(_dataset_paths(args) if loads_dataset else {})})
  if args.gpu:
    _check_gpu(args.gpu, args.nvidia_mps, options)
    _use_gpu(args.gpu, args.nvidia_mps, options)
  _check_package(options)
  setup = options.view_as(SetupOptions)
  if options.view_as(WorkerOptions).sdk_container_image and setup.sdk_location == "default":
    setup.sdk_location = "container"
  return accelerator_hint(args.gpu, args.nvidia_mps) if args.gpu else None


def accelerator_hint(gpu: Gpu, nvidia_mps: bool = False) -> str:
  """Returns Beam's resource hint `accelerator` for one GPU per worker."""
  parts = [f"type:{gpu.name}", "count:1", "install-nvidia-driver"]
  return ";".join([*parts, *["use_nvidia_mps"] * nvidia_mps])


def describe(options: PipelineOptions, accelerator: str | None) -> dict[str, object]:
  """Returns what decides where a job runs, by a name for people."""
  cloud, worker = options.view_as(GoogleCloudOptions), options.view_as(WorkerOptions)
  return {
    "project": cloud.project,
    "region": cloud.region,
    "temporary files": cloud.temp_location,
    "container image": worker.sdk_container_image,
    "machine type": worker.machine_type or "as Dataflow chooses",
    "resource hint": accelerator and f"accelerator={accelerator}",
    "worker options": ", ".join(_shown_options(worker)),
    "experiments": ", ".join(options.view_as(DebugOptions).experiments or ()),
  }


def _names() -> str:
  return ", ".join(gpu.name for gpu in GPUS)


def _shown_options(worker: WorkerOptions) -> Iterator[str]:
  for name in _SHOWN_OPTIONS:
    value = getattr(worker, name)
    if value is not None:
      yield f"{name}={value}"


def _check_cloud_options(cloud: GoogleCloudOptions) -> None:
  missing = [name for name in ("project", "region", "temp_location") if not getattr(cloud, name)]
  if missing:
    flags = ", ".join(f"--{name}" for name in missing)
    raise UsageError(f"--runner=DataflowRunner needs {flags}")
  if not cloud.temp_location.startswith("gs://"):
    raise UsageError(
      f"--temp_location={cloud.temp_location}: Dataflow needs one on gs://, "
      "such as gs://bucket/temp"
    )


def _dataset_paths(args: argparse.Namespace) -> dict[str, str]:
  spec = args.dataset or ""
  path = dataset_path(spec, args.data_dir)
  if path is None and is_in_data_dir(spec):
    raise UsageError(
      f"--dataset={spec} on Dataflow: each worker would download it; "
      "prepare it on gs:// and say where in --data_dir"
    )
  if path is None:
    return {}
  flag = "--data_dir" if is_in_data_dir(spec) else f"--dataset={spec.removesuffix(f':{path}')}"
  return {flag: path}


def _check_paths(paths: Mapping[str, str]) -> None:
  for flag, path in paths.items():
    if "://" not in path:
      separator = ":" if "=" in flag else "="
      raise UsageError(
        f"{flag}{separator}{path} is on this machine, where workers of Dataflow cannot reach it: "
        "copy it to gs:// and give that path"
      )


def _check_gpu(gpu: Gpu, nvidia_mps: bool, options: PipelineOptions) -> None:
  worker, cloud = options.view_as(WorkerOptions), options.view_as(GoogleCloudOptions)
  flag = f"--gpu={gpu.name}"
  if not worker.sdk_container_image:
    raise UsageError(
      f"{flag} needs --sdk_container_image with Heldout and CUDA's libraries: "
      "build one from the Dockerfile"
    )
  if worker.machine_type and not re.fullmatch(gpu.machine_types, worker.machine_type):
    raise UsageError(
      f"--machine_type={worker.machine_type} does not carry exactly one {gpu.name}: "
      f"use one such as {gpu.machine_type}, or leave it out"
    )
  if nvidia_mps and options.view_as(DebugOptions).lookup_experiment(ONE_PROCESS_PER_WORKER):
    raise UsageError(
      f"--nvidia_mps and --experiments={ONE_PROCESS_PER_WORKER}: one process has nobody to share "
      "the GPU with; leave out one of them"
    )
  if any(text.startswith("worker_accelerator") for text in cloud.dataflow_service_options or ()):
    raise UsageError(
      f"{flag} and --dataflow_service_options=worker_accelerator=… both ask for GPUs: "
      "leave out the latter"
    )
  if cloud.flexrs_goal:
    raise UsageError(f"{flag} and --flexrs_goal: Dataflow's FlexRS has no GPUs for single steps")


def _use_gpu(gpu: Gpu, nvidia_mps: bool, options: PipelineOptions) -> None:
  worker, debug = options.view_as(WorkerOptions), options.view_as(DebugOptions)
  worker.machine_type = worker.machine_type or gpu.machine_type
  worker.disk_size_gb = worker.disk_size_gb or _DISK_GB
  debug.add_experiment("use_runner_v2")
  if not nvidia_mps:  # a process per vCPU, as is usual, would ask for more memory than a GPU has
    debug.add_experiment(ONE_PROCESS_PER_WORKER)


def _check_package(options: PipelineOptions) -> None:
  setup = options.view_as(SetupOptions)
  image = options.view_as(WorkerOptions).sdk_container_image
  if not (image or setup.setup_file or setup.extra_packages):
    raise UsageError(
      "--runner=DataflowRunner: its workers need Heldout: give --sdk_container_image with an image "
      "built from the Dockerfile, or --setup_file=./setup.py"
    )
