"""What a worker of Dataflow does, as far as it can be done here: runs a staged pipeline.

In place of a container, it is a process that has Heldout installed; gs:// is the emulator that its
environment names.
"""

import sys

from apache_beam.internal.gcp import auth
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

import files


def run(pipeline_path: str) -> None:
  auth._Credentials._credentials_init = True  # there are none to look for
  pipeline = beam_runner_api_pb2.Pipeline.FromString(files.read_bytes(pipeline_path))
  for environment in pipeline.components.environments.values():
    environment.urn = python_urns.EMBEDDED_PYTHON
    environment.ClearField("payload")
    environment.ClearField("dependencies")
  result = FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([]))
  result.wait_until_finish()


if __name__ == "__main__":
  run(sys.argv[1])
