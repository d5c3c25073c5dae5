import shutil

import pytest

from engines.flink_cluster import DIRECTORY, FlinkCluster
from tests.engines.flink import faults


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
  """A cluster of two task managers, which restarts jobs whose workers fail."""
  yield from _running(tmp_path_factory.mktemp("flink"), restart_attempts=20)


@pytest.fixture(scope="session")
def brittle_cluster(tmp_path_factory):
  """A cluster of one task manager, which does not restart jobs."""
  yield from _running(tmp_path_factory.mktemp("brittle"), task_managers=1)


@pytest.fixture
def bare_cluster(tmp_path):
  """A cluster as Flink is by itself: it does not restart jobs, and lacks Beam."""
  yield from _running(tmp_path / "flink", task_managers=1, has_beam=False)


def _running(directory, **kwargs):
  if not (DIRECTORY / "distribution" / ".ready").exists() or not shutil.which("java"):
    pytest.skip("it needs Java, and Flink, which `make flink` gets")
  with FlinkCluster(directory, **kwargs) as cluster:
    cluster.start_job_server()
    yield cluster
    workers = cluster.workers()
  faults.check_nothing_is_left(cluster, workers)
