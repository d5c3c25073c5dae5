import os
import re
import socket

import pytest

from beam_pipelines import cli


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
  """A machine without credentials, where nobody waits for a service that is not there."""
  monkeypatch.setenv("NO_GCE_CHECK", "true")
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
  monkeypatch.delenv("CLOUDSDK_CONFIG", raising=False)


def _doctor(capsys, *flags):
  capsys.readouterr()
  status = cli.main(["doctor", *flags])
  captured = capsys.readouterr()
  assert captured.err == ""
  return status, {line[8:22].strip(): line for line in captured.out.splitlines()}


def test_a_machine_that_can_run_jobs(tmp_path, capsys):
  status, lines = _doctor(capsys, f"--output={tmp_path}/new")
  assert status == 0
  assert re.match(r"ok +heldout +\d+\.\d+\.\d+, Python 3\.", lines["heldout"])
  assert re.search(r"apache-beam \d.*, tensorflow \d", lines["packages"])
  assert re.match(r"ok +devices +\d+ CPU cores", lines["devices"])
  assert lines["credentials"].startswith("-       credentials   none for Google Cloud: run `gcloud")
  assert re.fullmatch(
    rf"ok +write +{tmp_path}/new: written, read and deleted in [\d,]+ ms", lines["write"]
  )
  assert lines["runner"].startswith("ok      runner        FnApiRunner: nothing is missing")
  assert list((tmp_path / "new").iterdir()) == []


def test_a_place_that_cannot_be_written_to(tmp_path, capsys):
  (tmp_path / "file").write_text("")
  status, lines = _doctor(capsys, f"--output={tmp_path}/file")
  assert status == 1
  assert lines["write"].startswith(f"FAILED  write         {tmp_path}/file: ")


def test_what_a_runner_lacks(tmp_path, capsys):
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
  status, lines = _doctor(capsys, "--runner=PortableRunner", f"--job_endpoint=127.0.0.1:{port}")
  assert status == 1
  assert lines["runner"].startswith(
    f"FAILED  runner        --job_endpoint=127.0.0.1:{port}: no job "
  )
  status, lines = _doctor(capsys, "--runner=DataflowRunner", f"--output={tmp_path}")
  assert status == 1
  assert "FAILED  runner        --runner=DataflowRunner needs --project, " in lines["runner"]
  assert lines["credentials"].startswith("FAILED  credentials")


def test_java_is_looked_for_where_it_was_said_to_be(capsys):
  status, lines = _doctor(capsys, "--job_server_java_launcher=/no/java")
  assert status == 0
  assert lines["java"] == "-       java          no `/no/java`: only Flink and Spark need Java 17"


def test_a_gpu_that_tensorflow_does_not_see(monkeypatch, tmp_path, capsys):
  program = tmp_path / "nvidia-smi"
  program.write_text("#!/bin/sh\n")
  program.chmod(0o755)
  monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
  _, lines = _doctor(capsys)
  if "GPUs that TensorFlow sees" in lines["devices"]:
    pytest.skip("TensorFlow sees a GPU here")
  assert "and a GPU that TensorFlow does not see: install heldout[gpu]" in lines["devices"]


def test_another_distribution_that_installs_a_package_of_our_name(monkeypatch, tmp_path, capsys):
  other = tmp_path / "other-1.0.dist-info"
  other.mkdir()
  (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
  (other / "top_level.txt").write_text("models\n")
  assert _doctor(capsys)[1]["names"].startswith("ok      names         nothing else installs esti")
  monkeypatch.syspath_prepend(tmp_path)
  status, lines = _doctor(capsys)
  assert status == 1
  assert lines["names"] == (
    "FAILED  names         other installs a package models, as Heldout does, over the same files: "
    "give Heldout an environment of its own"
  )
