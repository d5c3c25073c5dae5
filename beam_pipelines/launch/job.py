"""A pipeline as the job of a command: it is waited for, here or wherever it runs."""

from __future__ import annotations

import contextlib
import shutil
import sys
from types import TracebackType

import apache_beam as beam
from apache_beam.options.pipeline_options import (
  GoogleCloudOptions,
  PipelineOptions,
  StandardOptions,
)
from apache_beam.runners.runner import PipelineResult, PipelineState

from beam_pipelines.launch.children import interrupted_together, runner_of_processes
from beam_pipelines.launch.command import is_in_process
from beam_pipelines.launch.dataflow import is_dataflow
from files import scratch
from files.errors import UsageError

_CONSOLE = "https://console.cloud.google.com/dataflow/jobs/{region}/{job}?project={project}"


class Job(beam.Pipeline):
  """A pipeline that says where it can be watched, and whether it may still run.

  Raises:
    UsageError: Beam finds its options wrong, or they say that nobody waits for the end.
  """

  def __init__(self, options: PipelineOptions):
    if options.view_as(StandardOptions).no_wait_until_finish:
      raise UsageError("--no_wait_until_finish: the command waits for its job, to finish its work")
    try:
      # Beam makes a directory, which a process that is killed leaves behind.
      with scratch.temporary_files_until_exit() as self._scratch:
        super().__init__(runner_of_processes(options), options)
    except ValueError as error:
      raise UsageError(" ".join(str(error).split())) from error
    self._submitting = False
    self._submitted: PipelineResult | None = None

  def run(self, test_runner_api: bool | str = "AUTO") -> PipelineResult:
    """Runs as Beam does; on Dataflow, it says where."""
    self._submitting = True
    try:
      with self._temporary_files(), interrupted_together():
        self._submitted = super().run(test_runner_api)
    except Exception:
      self._submitting = False
      raise
    if is_dataflow(self.options):
      print(self._whereabouts(self._submitted), file=sys.stderr)
    return self._submitted

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    try:
      super().__exit__(kind, error, trace)
    except KeyboardInterrupt:
      if self.may_still_run:
        print(self._how_to_follow(), file=sys.stderr)
      raise
    finally:
      if not self.may_still_run:
        shutil.rmtree(self._scratch, ignore_errors=True)

  @property
  def template(self) -> str | None:
    """Where the job was written to, to be run later, instead of running."""
    return self.options.view_as(GoogleCloudOptions).template_location

  @property
  def may_still_run(self) -> bool:
    """Whether its workers may be at work although nobody waits for them any longer."""
    if is_in_process(self.options) or self.template:
      return False
    if self._submitted is None:
      return self._submitting
    try:
      return not PipelineState.is_terminal(self._submitted.state)
    except Exception:  # of whatever type the engine's client raises if it has lost the engine
      return True

  def _temporary_files(self) -> contextlib.AbstractContextManager[object]:
    """Beam forgets what it makes to be staged."""
    here = is_in_process(self.options)
    return contextlib.nullcontext() if here else scratch.temporary_files_until_exit()

  def _whereabouts(self, submitted: PipelineResult) -> str:
    if self.template:
      return f"wrote a template of the job to {self.template}: `gcloud dataflow jobs run` runs it"
    cloud = self.options.view_as(GoogleCloudOptions)
    job = submitted.job_id()
    console = _CONSOLE.format(region=cloud.region, job=job, project=cloud.project)
    return f"job {job}, which goes on if this command is interrupted: {console}"

  def _how_to_follow(self) -> str:
    runner = self.options.view_as(StandardOptions).runner
    return (
      f"the job may go on without this command on {runner}, and then publishes its work by itself: "
      "watch or cancel it there; what it has written so far is kept for it"
    )
