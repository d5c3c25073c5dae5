"""Workers that are processes on this machine: Beam's, but for what they do at Ctrl-C."""

from __future__ import annotations

import shlex
import sys

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from beam_pipelines.launch.command import is_in_process

# A terminal interrupts them, too: they end then, and leave it to the command to say so.
_WORKER = (
  "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); "
  "from apache_beam.runners.worker.sdk_worker_main import main; main([])"
)


def runner_of_processes(options: PipelineOptions) -> FnApiRunner | None:
  """Returns the runner for `--direct_running_mode=multi_processing`; None for any other.

  The mode is taken out of the options, or Beam would start workers of its own.
  """
  direct = options.view_as(DirectOptions)
  if not is_in_process(options) or direct.direct_running_mode != "multi_processing":
    return None
  direct.direct_running_mode = None
  command = f"exec {shlex.quote(sys.executable)} -c {shlex.quote(_WORKER)}"
  return FnApiRunner(SubprocessSDKEnvironment.from_command_string(command))
