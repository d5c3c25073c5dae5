import pytest

from engines.flink_cluster import DIRECTORY, FlinkCluster
from tests.engines.flink import faults


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
  """A cluster of two task managers, which restarts jobs whose workers fail."""
  yield from _running(tmp_path_factory.mktemp("flink"), restart_attempts=20)


@pytest.fixture(scope="session")
def bare_cluster(tmp_path_factory):
  """A cluster as Flink is by itself: it lacks Beam, and a job whose worker fails, fails."""
  yield from _running(tmp_path_factory.mktemp("bare"), task_managers=1, has_beam=False)


def _running(directory, **kwargs):
  if not (DIRECTORY / "distribution" / ".ready").exists():
    pytest.skip("`make flink` gets Flink")
  with FlinkCluster(directory, **kwargs) as cluster:
    yield cluster
    workers = cluster.workers()
  faults.check_nothing_is_left(cluster, workers)
