import os

import hypothesis
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

hypothesis.settings.register_profile("untimed", deadline=None)  # time is no property of the code
hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
  """Starts with the longest test, which installs Heldout: at the end, it would run alone."""
  items.sort(key=lambda item: item.path.name != "test_dockerfile.py")
