"""How much memory there is for weights where models are evaluated."""

import shutil
import subprocess

import psutil
import tensorflow as tf

_SECONDS = 10


def device_memory() -> int:
  """Returns the bytes of the device that TensorFlow uses here; without a GPU, those that are free.

  TensorFlow says whether there is a GPU and whether it was told to use but a part of it; how large
  it is only the driver's `nvidia-smi` says. Of several GPUs, the smallest counts.
  """
  gpus = tf.config.list_physical_devices("GPU")
  limits = [
    configuration.memory_limit * 2**20
    for gpu in gpus
    for configuration in tf.config.get_logical_device_configuration(gpu) or ()
    if configuration.memory_limit
  ]
  sizes = limits or (gpu_memory() if gpus else [])
  return min(sizes) if sizes else psutil.virtual_memory().available


def gpu_memory() -> list[int]:
  """Returns the bytes of each GPU of this machine, as its driver says; none where it has none."""
  program = shutil.which("nvidia-smi")
  if program is None:
    return []
  command = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
  try:
    said = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)
  except (OSError, subprocess.SubprocessError):
    return []
  return [int(line) * 2**20 for line in said.stdout.split("\n") if line.strip().isdecimal()]
