import pytest

from engines.flink_cluster import DIRECTORY, FlinkCluster
from tests.engines.flink import faults


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
  """A cluster of two task managers, which restarts jobs whose workers fail."""
  with _cluster(tmp_path_factory.mktemp("flink"), restart_attempts=3) as cluster:
    yield cluster
    faults.check_nothing_is_left(cluster)


@pytest.fixture
def bare_cluster(tmp_path):
  """A cluster as Flink is by itself: it lacks Beam, and a job whose worker fails, fails."""
  with _cluster(tmp_path / "flink", task_managers=1, has_beam=False) as cluster:
    yield cluster
    faults.check_nothing_is_left(cluster)


def _cluster(directory, **kwargs):
  if not (DIRECTORY / "distribution" / ".ready").exists():
    pytest.skip("`make test-flink` gets Flink")
  return FlinkCluster(directory, **kwargs)
