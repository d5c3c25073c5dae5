"""Prism: the portable runner in one process, with workers that are threads of the command."""

from pathlib import Path

import pytest

from tests.engines.same_results import SameResults

PRISM = Path(__file__).parents[3] / ".engines" / "prism" / "prism"


@pytest.mark.skipif(not PRISM.exists(), reason="`make prism` builds it")
class TestPrism(SameResults):
  @pytest.fixture
  def flags(self):
    return ["--runner=PrismRunner", f"--prism_location={PRISM}"]
