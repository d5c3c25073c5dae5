"""A cluster of Flink: two task managers, each with worker processes of its own."""

import pytest

from tests.engines.same_results import SameResults


class TestFlink(SameResults):
  @pytest.fixture
  def flags(self, cluster):
    return cluster.served_flags
