"""The Dockerfile, as far as it can be tested where no Docker engine runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

PROJECT = Path(__file__).parent.parent
DOCKERFILE = re.sub(r"\\\n", "", (PROJECT / "Dockerfile").read_text())
# 4 GB that are loaded only where there is a GPU: it is enough that they can be had.
CUDA_LIBRARIES = "requirements-gpu.txt"


def _instructions(name):
  return re.findall(rf"^{name}\s+(.*)$", DOCKERFILE, re.MULTILINE)


def _locked(file="requirements.txt"):
  return dict(re.findall(r"^([\w-]+)==(\S+)", (PROJECT / file).read_text(), re.MULTILINE))


def _pip_steps():
  steps = [step.strip() for run in _instructions("RUN") for step in run.split("&&")]
  assert all(step.startswith("pip ") for step in steps)
  return steps


def _version(text):
  return tuple(map(int, text.split(".")))


@pytest.fixture(scope="module")
def context(tmp_path_factory):
  """A copy of what `docker build .` would see."""
  everything, *rules = (
    line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line[:1] != "#"
  )
  assert everything == "*"
  directory = tmp_path_factory.mktemp("context")
  for rule in rules:
    if rule.startswith("!"):
      source, target = PROJECT / rule[1:], directory / rule[1:]
      if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
      else:
        shutil.copy(source, target)
  return directory


@pytest.fixture(scope="module")
def image(context, tmp_path_factory):
  """A clean virtual environment in which the Dockerfile's pip steps have run."""
  directory = tmp_path_factory.mktemp("image")
  subprocess.run([sys.executable, "-m", "venv", directory], check=True)
  environment = {
    **os.environ,
    "PATH": f"{directory}/bin:{os.environ['PATH']}",
    "PIP_NO_CACHE_DIR": "1",
    "PIP_NO_COMPILE": "1",
    "PIP_QUIET": "1",
  }
  for step in _pip_steps():
    command = f"{step} --dry-run" if CUDA_LIBRARIES in step else step
    subprocess.run(["bash", "-c", command], cwd=context, env=environment, check=True)
  yield directory
  shutil.rmtree(directory)  # gigabytes


def test_beam_and_python_are_those_of_beams_image_and_of_the_lock():
  (base,) = _instructions("FROM")
  python = re.fullmatch(r"python:(3\.\d+)-slim-\w+", base)[1]
  (beam,) = [copy for copy in _instructions("COPY") if copy.startswith("--from")]
  assert beam == (
    f"--from=apache/beam_python{python}_sdk:{_locked()['apache-beam']} "
    "/opt/apache/beam /opt/apache/beam"
  )
  assert _instructions("ENTRYPOINT") == ['["/opt/apache/beam/boot"]']
  assert f'"Programming Language :: Python :: {python}"' in (PROJECT / "pyproject.toml").read_text()


def test_cuda_is_what_tensorflow_was_built_for():
  build = tf.sysconfig.get_build_info()
  assert build["is_cuda_build"]
  locked = _locked(CUDA_LIBRARIES)
  runtime, built_for = _version(locked["nvidia-cuda-runtime-cu12"]), _version(build["cuda_version"])
  assert runtime[0] == built_for[0]
  assert runtime >= built_for
  assert locked["nvidia-cudnn-cu12"].split(".")[0] == build["cudnn_version"]


def test_the_gpu_lock_is_the_lock_and_nvidias_libraries():
  more = {name: version for name, version in _locked(CUDA_LIBRARIES).items()
          if name not in _locked()}  # fmt: skip
  assert _locked(CUDA_LIBRARIES) == {**_locked(), **more}
  assert more
  assert all(name.startswith("nvidia-") for name in more)


def test_everything_is_installed_from_the_lock():
  assert _pip_steps() == [
    "pip install --no-deps --requirement requirements.txt",
    "pip install --no-deps --requirement requirements-gpu.txt",
    "pip install --no-deps --no-build-isolation .",
    "pip check",
  ]


def test_an_image_made_by_the_steps_has_heldout(image, tmp_path):
  program = (
    "import beam_pipelines.cli, importlib.resources, pathlib, sys;"
    "assert pathlib.Path(beam_pipelines.cli.__file__).is_relative_to(sys.prefix);"
    "assert importlib.resources.files('reports').joinpath('templates/report.css').is_file()"
  )
  subprocess.run([image / "bin" / "python", "-c", program], cwd=tmp_path, check=True)
  flags = ["--experiment=runs", "--dataset=digits", "--runs=0:1", "--dry_run"]
  command = [image / "bin" / "heldout", "train", *flags]
  planned = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
  assert planned.stdout.startswith("1 runs of mlp (167,178 variables) on digits")
