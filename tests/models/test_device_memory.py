import psutil
import pytest
import tensorflow as tf

from models.device_memory import device_memory, gpu_memory


@pytest.fixture
def driver(tmp_path, monkeypatch):
  def install(script):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)

  monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
  return install


def test_a_gpu_has_what_its_driver_says(driver):
  driver('[ "$*" = "--query-gpu=memory.total --format=csv,noheader,nounits" ] && echo 81559')
  assert gpu_memory() == [81559 * 2**20]
  driver("echo 16384; echo 8192")
  assert gpu_memory() == [2**34, 2**33]


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'", "echo '[N/A]'"])
def test_a_driver_that_does_not_know_says_nothing(driver, script):
  driver(script)
  assert gpu_memory() == []


def test_a_machine_without_a_driver_has_no_gpu(tmp_path, monkeypatch):
  monkeypatch.setenv("PATH", str(tmp_path))
  assert gpu_memory() == []


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="a GPU is in use")
def test_without_a_gpu_it_is_what_is_free(driver):
  driver("echo 81559")  # TensorFlow does not use it
  memory = psutil.virtual_memory()
  assert 0 < device_memory() <= memory.total
  assert abs(device_memory() - memory.available) < memory.total / 2
