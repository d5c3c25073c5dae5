"""A Flink cluster on loopback: a job manager, task managers, and the workers that they start.

It is Flink's own distribution, with Beam's jars beside Flink's or, as usual, without.

    make flink
    .venv/bin/python -m engines.flink_cluster --task_managers=2

prints the flags for `heldout` and runs until it is interrupted. The tests in tests/engines and
benchmarks/flink.py use the class below. Whoever has a cluster needs none of this.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from engines.merged_jar import OPENED_PACKAGES

ROOT = Path(__file__).resolve().parents[1]
DIRECTORY = ROOT / ".engines" / "flink"
"""What `make flink` gets."""

JOB_SERVER = DIRECTORY / "job-server.jar"

_JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_START_SECONDS = 60.0

# All live for minutes at most: compiling well costs them more than it brings.
_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

_LOGGING = """
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %-5p %c{1} - %m%n
"""

# How long Beam keeps a worker for the next stage, and a dead one too: a job that is restarted
# sooner meets it again, and keeps it for longer. Short, so that a restart need not wait long.
_KEEP_SECONDS = 4
_RESTART_SECONDS = 8

# How old what Flink's REST interface says of a job may be; its own choice, 3 s, is longer than
# most stages of a small job.
_REFRESH_MILLISECONDS = 20
_STOP_SECONDS = 15.0


class FlinkCluster:
  """A context: what it starts is a process group each, and is gone when it ends.

  Attributes:
    processes: those that run, by name: `job manager`, `task manager 0`, …
    scratch: the directory of the SDK workers' temporary files.

  Args:
    directory: for configurations, logs and temporary files.
    task_managers: how many.
    slots: of each task manager.
    restart_attempts: how often Flink restarts parts of a job whose worker fails, of which one may
      hit several at once; 0: never.
    has_beam: whether Beam's jars are beside Flink's; if not, its workers end with each stage.
    network_mb: memory for buffers between tasks, of each task manager.
    managed_mb: memory for sorting, of each task manager; all sorts of a job share it.
  """

  def __init__(
    self,
    directory: Path,
    *,
    task_managers: int = 2,
    slots: int = 2,
    restart_attempts: int = 0,
    has_beam: bool = True,
    network_mb: int = 256,
    managed_mb: int = 128,
  ):
    self.processes: dict[str, subprocess.Popen[bytes]] = {}
    self.scratch = directory / "scratch"
    self._directory = directory
    self._task_managers = task_managers
    self._restart_attempts = restart_attempts
    self._has_beam = has_beam
    self._slots = slots
    self._network_mb = network_mb
    self._managed_mb = managed_mb
    self._rest, self._rpc, self._jobs = _free_ports(3)

  @property
  def master(self) -> str:
    """Where Flink's REST interface listens."""
    return f"127.0.0.1:{self._rest}"

  @property
  def flags(self) -> list[str]:
    """What a `heldout` command needs to run here, with a job server of its own."""
    return [
      *self._common_flags,
      f"--flink_master={self.master}",
      f"--flink_job_server_jar={JOB_SERVER}",
      *(f"--job_server_jvm_properties={flag}" for flag in ("-Xmx256m", *_JVM)),
    ]

  @property
  def served_flags(self) -> list[str]:
    """What it needs to run here, with the job server that `start_job_server` has started."""
    return [*self._common_flags, f"--job_endpoint=127.0.0.1:{self._jobs}"]

  @property
  def _common_flags(self) -> list[str]:
    return [
      "--runner=FlinkRunner",
      f"--parallelism={self._task_managers}",
      f"--environment_cache_millis={1000 * _KEEP_SECONDS}",
    ]

  def __enter__(self) -> FlinkCluster:
    try:
      self._start_all()
    except BaseException:
      self.stop()
      raise
    return self

  def __exit__(self, *_: object) -> None:
    self.stop()

  def start_task_manager(self, name: str) -> None:
    """Starts one more, or one anew."""
    self._start_java(name, _TASK_MANAGER, self._task_manager_configuration())

  def start_job_server(self) -> None:
    """Starts a job server for `served_flags`, which spares each command one of its own."""
    artifacts = self._directory / "artifacts"
    self._start(
      "job server",
      [
        *(
          "java",
          *_JVM,
          "-Xmx512m",
          f"-Djava.io.tmpdir={self._directory}",
          "-jar",
          str(JOB_SERVER),
        ),
        *("--flink-master", f"http://{self.master}", "--artifacts-dir", str(artifacts)),
        *("--job-host", "127.0.0.1", "--job-port", str(self._jobs)),
        *("--artifact-port", "0", "--expansion-port", "0"),
      ],
    )
    deadline = time.monotonic() + _START_SECONDS
    while not _listens(self._jobs):
      self._wait_a_little(deadline, "the job server")

  def wait_for_task_managers(self, count: int) -> None:
    """Waits until the job manager knows so many."""
    deadline = time.monotonic() + _START_SECONDS
    while self._task_managers_there() != count:
      self._wait_a_little(deadline, f"{count} task managers")

  def get(self, path: str) -> Any:
    """Asks Flink's REST interface, such as `/jobs/overview`."""
    with urllib.request.urlopen(f"http://{self.master}{path}", timeout=60) as reply:
      return json.loads(reply.read())

  def workers(self) -> list[int]:
    """Returns the process ids of the SDK workers that run."""
    managers = [process for name, process in self.processes.items() if name.startswith("task")]
    return [child.pid for manager in managers for child in _children(manager.pid)]

  def stop(self) -> None:
    """Ends what was started, and nothing else."""
    for process in reversed(self.processes.values()):
      _end_group(process)
    self.processes.clear()

  def _start_all(self) -> None:
    self.scratch.mkdir(parents=True, exist_ok=True)
    self._start_java("job manager", _JOB_MANAGER, self._job_manager_configuration())
    for number in range(self._task_managers):
      self.start_task_manager(f"task manager {number}")
    self.wait_for_task_managers(self._task_managers)

  def _job_manager_configuration(self) -> dict[str, object]:
    restart: dict[str, object] = {"restart-strategy.type": "none"}
    if self._restart_attempts:
      restart = {
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": self._restart_attempts,
        "restart-strategy.fixed-delay.delay": f"{_RESTART_SECONDS} s",
      }
    return {
      **self._common_configuration(),
      **restart,
      "rest.port": self._rest,
      "web.refresh-interval": _REFRESH_MILLISECONDS,
      "rest.address": "127.0.0.1",
      "rest.bind-address": "127.0.0.1",
      "cluster.evenly-spread-out-slots": True,
      "jobmanager.memory.heap.size": "256m",
      "jobmanager.memory.off-heap.size": "64m",
    }

  def _task_manager_configuration(self) -> dict[str, object]:
    return {
      **self._common_configuration(),
      "taskmanager.host": "127.0.0.1",
      "taskmanager.bind-host": "127.0.0.1",
      "taskmanager.numberOfTaskSlots": self._slots,
      "taskmanager.cpu.cores": 1,
      "taskmanager.memory.framework.heap.size": "64m",
      "taskmanager.memory.framework.off-heap.size": "64m",
      "taskmanager.memory.task.heap.size": "192m",
      "taskmanager.memory.task.off-heap.size": "0m",
      "taskmanager.memory.managed.size": f"{self._managed_mb}m",
      "taskmanager.memory.jvm-metaspace.size": "128m",
      "taskmanager.memory.jvm-overhead.min": "64m",
      "taskmanager.memory.jvm-overhead.max": "64m",
      "taskmanager.memory.network.min": f"{self._network_mb}m",
      "taskmanager.memory.network.max": f"{self._network_mb}m",
    }

  def _common_configuration(self) -> dict[str, object]:
    return {
      "jobmanager.rpc.address": "127.0.0.1",
      "jobmanager.rpc.port": self._rpc,
      "jobmanager.bind-host": "127.0.0.1",
      "blob.server.port": 0,
      **({"classloader.resolve-order": "parent-first"} if self._has_beam else {}),
      "heartbeat.interval": 1000,
      "heartbeat.timeout": 8000,
      "io.tmp.dirs": str(self._directory),
      "web.tmpdir": str(self._directory),
    }

  def _start_java(self, name: str, main_class: str, configuration: Mapping[str, object]) -> None:
    configured = self._directory / f"{name.replace(' ', '-')}.conf"
    configured.mkdir(exist_ok=True)
    lines = "".join(f"{key}: {value}\n" for key, value in configuration.items())
    (configured / "flink-conf.yaml").write_text(lines)
    logging = configured / "log4j.properties"
    logging.write_text(_LOGGING)
    opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED_PACKAGES]
    memory = ["-Xmx256m", f"-XX:MaxDirectMemorySize={self._network_mb + 128}m"]
    properties = [f"-Djava.io.tmpdir={self._directory}", f"-Dlog4j.configurationFile={logging}"]
    java = ["java", *_JVM, *memory, *properties, *opened, "-cp", self._class_path()]
    self._start(name, [*java, main_class, "--configDir", str(configured)])

  def _class_path(self) -> str:
    jars = [DIRECTORY / "distribution" / "lib" / "*"]
    if self._has_beam:
      brought = sorted((DIRECTORY / "jars").glob("*.jar"))
      jars += [jar for jar in brought if not jar.name.startswith(("flink-", "slf4j-"))]
    return os.pathsep.join(map(str, jars))

  def _start(self, name: str, command: Sequence[str]) -> None:
    log = self._directory / f"{name.replace(' ', '-')}.log"
    with log.open("ab") as output:
      self.processes[name] = subprocess.Popen(
        command,
        env=os.environ | {"TMPDIR": str(self.scratch)},
        stdout=output,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
      )

  def _task_managers_there(self) -> int:
    try:
      return int(self.get("/overview")["taskmanagers"])
    except OSError:
      return -1

  def _wait_a_little(self, deadline: float, what: str) -> None:
    ended = [name for name, process in self.processes.items() if process.poll() is not None]
    if ended or time.monotonic() > deadline:
      gone = f"; ended: {', '.join(ended)}" if ended else ""
      raise RuntimeError(f"waited in vain for {what}{gone}; see the logs in {self._directory}")
    time.sleep(0.2)


def _listens(port: int) -> bool:
  with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
    return True
  return False


def _free_ports(count: int) -> list[int]:
  with contextlib.ExitStack() as stack:
    sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
    for each in sockets:
      each.bind(("127.0.0.1", 0))
    return [each.getsockname()[1] for each in sockets]


def _children(pid: int) -> list[psutil.Process]:
  with contextlib.suppress(psutil.NoSuchProcess):
    return psutil.Process(pid).children()
  return []


def _end_group(process: subprocess.Popen[bytes]) -> None:
  """Ends a process and those that it has started, which are of its group."""
  for number in (signal.SIGTERM, signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, number)
    with contextlib.suppress(subprocess.TimeoutExpired):
      process.wait(_STOP_SECONDS)


def main() -> None:
  """Runs a cluster until it is interrupted."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--task_managers", type=int, default=2)
  parser.add_argument("--restart_attempts", type=int, default=20)
  parser.add_argument("--directory", type=Path, default=ROOT / ".engines" / "flink" / "cluster")
  args = parser.parse_args()
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  cluster = FlinkCluster(
    args.directory, task_managers=args.task_managers, restart_attempts=args.restart_attempts
  )
  with contextlib.suppress(KeyboardInterrupt), cluster:
    print(*cluster.flags, sep=" \\\n  ", flush=True)
    signal.pause()


if __name__ == "__main__":
  main()
