"""Where a job runs: what each engine needs, told before anything starts."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from apache_beam.options.pipeline_options import (
  FlinkRunnerOptions,
  GoogleCloudOptions,
  JobServerOptions,
  PipelineOptions,
  PortableOptions,
  PrismRunnerOptions,
  SparkRunnerOptions,
  StandardOptions,
)

from beam_pipelines.launch import dataflow, flink
from beam_pipelines.launch.command import IN_PROCESS_RUNNER
from beam_pipelines.launch.endpoints import Endpoint, check_grpc
from beam_pipelines.launch.workers import LOOPBACK, prepare_workers
from files import scratch
from files.errors import UsageError

PRISM, FLINK, SPARK = "PrismRunner", "FlinkRunner", "SparkRunner"
PORTABLE, DATAFLOW = "PortableRunner", "DataflowRunner"
RUNNERS = ("DirectRunner", PRISM, FLINK, SPARK, PORTABLE, DATAFLOW)
"""What `--runner` takes. The first is the in-process one; see `command.beam_options`."""

_SEE = "see docs/engines.md"


def engine(options: PipelineOptions) -> str:
  """Returns the name of the runner, without its module and spelt as Beam spells it.

  Raises:
    UsageError: there is no such runner, or it gives wrong results.
  """
  given = options.view_as(StandardOptions).runner or IN_PROCESS_RUNNER
  name = given.rpartition(".")[-1]
  if name.lower() in ("dask", "daskrunner"):
    raise UsageError(
      f"--runner={given}: Beam's runner for Dask loses elements and reports success, so that "
      f"scores would be wrong: choose one of {', '.join(RUNNERS)}"
    )
  known = {runner.lower(): runner for runner in (*RUNNERS, IN_PROCESS_RUNNER)}
  lower = name.lower()
  for candidate in (lower, f"{lower}runner"):
    if candidate in known:
      return known[candidate]
  if "." in given:  # a runner of the user's own, by its full name
    return name
  guess = difflib.get_close_matches(lower, known, n=1)
  hint = f"did you mean {known[guess[0]]}? There are" if guess else "choose one of"
  raise UsageError(f"--runner={given}: no such runner: {hint} {', '.join(RUNNERS)}")


def prepare_job(
  args: argparse.Namespace,
  options: PipelineOptions,
  paths: Mapping[str, str],
  *,
  loads_dataset: bool = True,
  shares_scratch: bool = False,
  many_stages: bool = False,
) -> str | None:
  """Checks that a job can run where it is to run, and fills in the options that follow.

  What killed commands and workers have left on this machine is removed.

  Args:
    args: those of `dataflow.add_gpu_flags` and of the data set.
    options: Beam's; how many workers there are and how they start is filled in where it is open.
    paths: by flag, what workers read and write besides the data set.
    loads_dataset: whether workers load the data set too.
    shares_scratch: whether workers write what this process reads from --temp_location.
    many_stages: whether the job has over a hundred stages.

  Returns:
    Beam's resource hint for the step that needs a GPU, or None for no GPU.

  Raises:
    UsageError: something that the job needs is missing, or two things do not go together.
  """
  _remove_leftovers(options)
  asked = _Asked(args, options, paths, loads_dataset, shares_scratch, many_stages)
  return _prepare(asked, contextlib.nullcontext())


def diagnose(
  args: argparse.Namespace,
  options: PipelineOptions,
  paths: Mapping[str, str],
  *,
  loads_dataset: bool = True,
  shares_scratch: bool = False,
  many_stages: bool = False,
) -> list[str]:
  """Returns all that `prepare_job` would refuse, a line each; none if a job can start.

  The arguments are those of `prepare_job`. Nothing is started or removed.
  """
  asked = _Asked(args, options, paths, loads_dataset, shares_scratch, many_stages)
  problems = _Problems()
  with problems:
    _prepare(asked, problems)
  return list(dict.fromkeys(problems.lines))


@dataclasses.dataclass(frozen=True)
class _Asked:
  """What `prepare_job` is asked for."""

  args: argparse.Namespace
  options: PipelineOptions
  paths: Mapping[str, str]
  loads_dataset: bool
  shares_scratch: bool
  many_stages: bool


class _Problems:
  """A context, to be entered often, that takes what is refused in its body and goes on."""

  def __init__(self) -> None:
    self.lines: list[str] = []

  def __enter__(self) -> None:
    pass

  def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
    if isinstance(error, UsageError):
      self.lines.append(str(error))
    return isinstance(error, UsageError)


_Checking = contextlib.AbstractContextManager[None, bool | None]


def _prepare(asked: _Asked, checking: _Checking) -> str | None:
  """Makes each check in a context, which decides whether the first that fails is the last."""
  options = asked.options
  name = engine(options)
  with checking:
    dataflow.check_gpu_flags(asked.args, name == DATAFLOW)
  if name == DATAFLOW:
    with checking:
      return dataflow.prepare_job(
        asked.args, options, asked.paths, loads_dataset=asked.loads_dataset
      )
  prepare = {PRISM: _prepare_prism, FLINK: _prepare_flink, SPARK: _prepare_spark}
  prepare |= {PORTABLE: _prepare_portable}
  if name in prepare:
    _silence_job_server()
    here = prepare[name](options, checking)
    with checking:
      if asked.many_stages and name == FLINK and not options.view_as(PortableOptions).job_endpoint:
        flink.check_network(options)
    with checking:
      _check_scratch(name, options, asked.shares_scratch and not here)
  return None


def _check_scratch(name: str, options: PipelineOptions, needed: bool) -> None:
  if needed and not options.view_as(GoogleCloudOptions).temp_location:
    raise UsageError(
      f"--runner={name}: its workers are elsewhere: give a --temp_location that they can write "
      "to and this machine can read, such as a directory beside --experiment"
    )


def print_plan(plan: str, options: PipelineOptions, accelerator: str | None) -> None:
  """Prints what a dry run finds: what would be done, then all that decides where."""
  name = engine(options)
  lines: dict[str, object] = {"runner": options.view_as(StandardOptions).runner}
  if name == DATAFLOW:
    lines |= dataflow.describe(options, accelerator)
  elif name in (PRISM, FLINK, SPARK, PORTABLE):
    lines |= _describe(name, options)
  print(plan)
  for label, value in lines.items():
    print(f"  {label}: {value or 'none'}")


def _remove_leftovers(options: PipelineOptions) -> None:
  """Removes what killed commands and workers have left on this machine."""
  scratch.remove_leftovers()
  location = options.view_as(GoogleCloudOptions).temp_location
  if location and "://" not in location:
    scratch.remove_leftovers(location)


def _silence_job_server() -> None:
  """Beam says which service it ends when the command has ended, and nobody handles logs."""
  if not logging.getLogger().isEnabledFor(logging.INFO):
    logging.getLogger("apache_beam.utils.subprocess_server").setLevel(logging.ERROR)


def _prepare_prism(options: PipelineOptions, checking: _Checking) -> bool:
  portable = options.view_as(PortableOptions)
  if not portable.job_endpoint:
    location = options.view_as(PrismRunnerOptions).prism_location
    with checking:
      _check_program(PRISM, "--prism_location", location, "the binary of Prism", "make prism")
    portable.environment_type = portable.environment_type or LOOPBACK
  return _prepare_portable_workers(PRISM, portable, checking)


def _prepare_flink(options: PipelineOptions, checking: _Checking) -> bool:
  portable = options.view_as(PortableOptions)
  if portable.job_endpoint:
    return _prepare_portable_workers(FLINK, portable, checking)
  with checking:
    _check_java(FLINK, options)
  with checking:
    jar = options.view_as(FlinkRunnerOptions).flink_job_server_jar
    what = "the jar of Beam's job server"
    _check_program(FLINK, "--flink_job_server_jar", jar, what, "make flink")
  here = True
  with checking:
    cluster = flink.find_cluster(options)
    if cluster:
      flink.use_cluster(cluster, options)
      here = cluster.on_this_machine
    else:
      portable.environment_type = portable.environment_type or LOOPBACK
  with checking:
    prepare_workers(portable, here=here)
  return here


def _prepare_spark(options: PipelineOptions, checking: _Checking) -> bool:
  portable = options.view_as(PortableOptions)
  if portable.job_endpoint:
    return _prepare_portable_workers(SPARK, portable, checking)
  spark = options.view_as(SparkRunnerOptions)
  with checking:
    _check_java(SPARK, options)
  with checking:
    jar, what = spark.spark_job_server_jar, "the jar of Beam's job server"
    _check_program(SPARK, "--spark_job_server_jar", jar, what, "make spark")
  here = spark.spark_master_url.startswith("local")
  if here:
    portable.environment_type = portable.environment_type or LOOPBACK
  with checking:
    prepare_workers(portable, here=here)
  return here


def _prepare_portable(options: PipelineOptions, checking: _Checking) -> bool:
  portable = options.view_as(PortableOptions)
  if not portable.job_endpoint:
    raise UsageError(
      f"--runner={PORTABLE} needs --job_endpoint=HOST:PORT, where a job server listens; {_SEE}"
    )
  return _prepare_portable_workers(PORTABLE, portable, checking)


def _prepare_portable_workers(runner: str, portable: PortableOptions, checking: _Checking) -> bool:
  """For a job server of which nothing is known but where it is."""
  here = True
  with checking:
    if portable.job_endpoint and portable.job_endpoint != "embed":
      endpoint = Endpoint.parse("--job_endpoint", portable.job_endpoint)
      here = endpoint.on_this_machine
      check_grpc("--job_endpoint", endpoint, f"job server for {runner}")
  with checking:
    prepare_workers(portable, here=here)
  return here


def _check_java(runner: str, options: PipelineOptions) -> None:
  java = options.view_as(JobServerOptions).job_server_java_launcher
  if shutil.which(java) is None:
    raise UsageError(
      f"--runner={runner} needs Java, and there is no `{java}`: install Java 17, or say where it "
      "is in --job_server_java_launcher"
    )


def _check_program(runner: str, flag: str, path: str | None, what: str, made_by: str) -> None:
  if path is None:
    raise UsageError(f"--runner={runner} needs {flag}, {what}: `{made_by}` makes one; {_SEE}")
  if "://" not in path and not Path(path).is_file():
    raise UsageError(f"{flag}={path}: there is no such file; `{made_by}` makes one")


def _describe(name: str, options: PipelineOptions) -> Iterator[tuple[str, object]]:
  portable = options.view_as(PortableOptions)
  if portable.job_endpoint:
    yield "job server", portable.job_endpoint
  elif name == FLINK:
    yield "cluster", flink.find_cluster(options) or "embedded in the job server"
    parallelism = options.view_as(FlinkRunnerOptions).parallelism
    yield "parallelism", parallelism if parallelism > 0 else "Flink's default"
  elif name == SPARK:
    yield "cluster", options.view_as(SparkRunnerOptions).spark_master_url
  yield "workers", f"{portable.environment_type} {portable.environment_config or ''}".strip()
  yield "temporary files", options.view_as(GoogleCloudOptions).temp_location
