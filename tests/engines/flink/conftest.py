import pytest

from engines.flink_cluster import JOB_SERVER_JAR, FlinkCluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
  """A cluster of two task managers, which restarts jobs whose workers fail."""
  if not JOB_SERVER_JAR.exists():
    pytest.skip("`make flink` gets Flink")
  with FlinkCluster(tmp_path_factory.mktemp("flink"), restart_attempts=3) as cluster:
    yield cluster
