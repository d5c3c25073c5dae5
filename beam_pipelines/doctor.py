"""`heldout doctor`: says whether this machine has what jobs need."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from beam_pipelines.launch import arguments, command
from beam_pipelines.launch.checkup import (
  ABSENT,
  FAILED,
  OK,
  Finding,
  find_credentials,
  find_devices,
  find_java,
  find_names,
  find_versions,
  try_writing,
)
from beam_pipelines.launch.dataflow import add_gpu_flags, is_dataflow
from beam_pipelines.launch.engines import prepare_job
from beam_pipelines.launch.groups import WRITES
from beam_pipelines.launch.parser import Parser
from beam_pipelines.launch.terminal import BAD, GOOD, ODD, paint
from files.errors import UsageError

_COLORS = {OK: GOOD, ABSENT: ODD, FAILED: BAD}


def run(argv: Sequence[str]) -> int:
  """Prints a line for each thing that jobs need; returns 1 if one of them failed."""
  args, options = make_parser().parse(argv)
  failed = False
  for finding in _look(args, options):
    state = paint(finding.state, _COLORS[finding.state], sys.stdout)
    print(f"{state}{str(finding).removeprefix(finding.state)}", flush=True)
    failed |= finding.state == FAILED
  return int(failed)


def make_parser() -> Parser:
  """Returns the parser of the command's flags."""
  parser = Parser(
    "doctor",
    "Says whether this machine has what jobs need, a line each: versions, devices, credentials,\n"
    "Java, and a write to --output. With the flags of a runner, also what a job there lacks.\n"
    "Exit status: 0, or 1 if a line says FAILED, or 2 on an error.",
    "Examples:\n"
    "  heldout doctor --output=gs://bucket/scores\n"
    "  heldout doctor --runner=FlinkRunner --flink_master=localhost:8081",
    runs_jobs=True,
  )
  parser.add(
    WRITES,
    "--output",
    type=arguments.path,
    metavar="DIR",
    help="directory that jobs will write to",
  )
  add_gpu_flags(parser, "run")
  return parser


def _look(args: argparse.Namespace, options: PipelineOptions) -> Iterator[Finding]:
  yield from find_versions()
  yield find_names()
  yield find_devices()
  on_google = is_dataflow(options) or (args.output or "").startswith("gs://")
  yield find_credentials(needed=on_google)
  yield find_java(options)
  if args.output:
    yield try_writing(args.output)
  yield _try_runner(args, options)


def _try_runner(args: argparse.Namespace, options: PipelineOptions) -> Finding:
  runner = options.view_as(StandardOptions).runner
  paths = {"--output": args.output} if args.output else {}
  try:
    prepare_job(args, options, paths, loads_dataset=False)
  except UsageError as error:
    return Finding(FAILED, "runner", str(error))
  return Finding(OK, "runner", f"{runner}: nothing is missing that can be told from here")


if __name__ == "__main__":
  command.execute_module("doctor", run)
