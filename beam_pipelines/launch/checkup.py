"""What a machine has of what jobs need: one finding each, for `heldout doctor`."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import google.auth
from apache_beam.options.pipeline_options import JobServerOptions, PipelineOptions
from google.auth.exceptions import GoogleAuthError

import files
from beam_pipelines.launch.house import PACKAGES
from files.errors import UsageError
from files.quiet_tensorflow import import_quietly

OK, ABSENT, FAILED = "ok", "-", "FAILED"

_PACKAGES = ("apache-beam", "tensorflow", "dm-sonnet", "numpy", "pyarrow", "fsspec", "gcsfs")
_SECONDS = 20.0
_NVIDIA = "/dev/nvidia0"


class Finding(NamedTuple):
  """What was found.

  Attributes:
    state: `OK`; `ABSENT`, where it is only needed for some jobs; or `FAILED`.
    what: what was looked at.
    text: what there is, or what to do.
  """

  state: str
  what: str
  text: str

  def __str__(self) -> str:
    return f"{self.state:<7} {self.what:<13} {self.text}"


def find_versions() -> Iterator[Finding]:
  """Yields what is installed."""
  heldout = importlib.metadata.version("heldout")
  yield Finding(OK, "heldout", f"{heldout}, Python {platform.python_version()}")
  versions = [f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES]
  yield Finding(OK, "packages", ", ".join(versions))


def find_names() -> Finding:
  """Says whether another distribution has installed a package of a name of ours over ours."""
  owners = importlib.metadata.packages_distributions()
  shared = {name: set(owners.get(name, ())) - {"heldout"} for name in (*PACKAGES, "beam_pipelines")}
  for name, others in shared.items():
    if others:
      return Finding(
        FAILED,
        "names",
        f"{', '.join(sorted(others))} installs a package {name}, as Heldout does, over the same "
        "files: give Heldout an environment of its own",
      )
  return Finding(OK, "names", f"nothing else installs {', '.join(shared)}")


def find_devices() -> Finding:
  """Says what TensorFlow computes on, and whether it overlooks a GPU."""
  import_quietly()
  import tensorflow as tf

  gpus = [device.name.rpartition("/")[2] for device in tf.config.list_physical_devices("GPU")]
  cores = f"{os.cpu_count()} CPU cores"
  if gpus:
    return Finding(OK, "devices", f"{cores}, {len(gpus)} GPUs that TensorFlow sees")
  if Path(_NVIDIA).exists() or shutil.which("nvidia-smi"):
    return Finding(
      FAILED,
      "devices",
      f"{cores}, and a GPU that TensorFlow does not see: install heldout[gpu], and NVIDIA's driver",
    )
  return Finding(OK, "devices", f"{cores}, no GPU")


def find_credentials(*, needed: bool) -> Finding:
  """Says whether there are credentials for Google Cloud."""
  try:
    credentials, project = google.auth.default()
  except GoogleAuthError:
    return Finding(
      FAILED if needed else ABSENT,
      "credentials",
      "none for Google Cloud: run `gcloud auth application-default login`",
    )
  kind = type(credentials).__name__
  return Finding(OK, "credentials", f"for Google Cloud: {kind}, project {project or 'not set'}")


def find_java(options: PipelineOptions) -> Finding:
  """Says which Java would start job servers; only Flink and Spark need one."""
  java = options.view_as(JobServerOptions).job_server_java_launcher
  try:
    found = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=_SECONDS)
  except (OSError, subprocess.TimeoutExpired):
    return Finding(ABSENT, "java", f"no `{java}`: only Flink and Spark need Java 17")
  return Finding(OK, "java", (found.stderr or found.stdout).partition("\n")[0])


def try_writing(directory: str) -> Finding:
  """Writes a small file into a directory, reads it, and deletes it."""
  path = files.join(directory, f".heldout-doctor-{uuid.uuid4().hex}")
  content = uuid.uuid4().bytes
  start = time.monotonic()
  try:
    files.write_bytes(path, content)
    read = files.read_bytes(path)
    files.delete([path])
  except (OSError, UsageError) as error:
    reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    return Finding(FAILED, "write", f"{directory}: {reason or type(error).__name__}")
  if read != content:
    return Finding(FAILED, "write", f"{directory}: what was read is not what was written")
  milliseconds = 1000 * (time.monotonic() - start)
  return Finding(OK, "write", f"{directory}: written, read and deleted in {milliseconds:,.0f} ms")
