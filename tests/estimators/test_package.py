import doctest
import subprocess
import sys

import estimators


def test_example_in_the_docstring_runs() -> None:
  result = doctest.testmod(estimators)
  assert result.attempted > 0
  assert result.failed == 0


def test_estimators_know_neither_beam_nor_tensorflow() -> None:
  loaded = subprocess.run(
    [sys.executable, "-c", "import estimators, sys; print(*sys.modules)"],
    capture_output=True,
    text=True,
    check=True,
    cwd=estimators.__path__[0] + "/..",
  ).stdout.split()
  others = {"apache_beam", "tensorflow", "beam_pipelines", "models", "image_datasets", "reports"}
  assert "estimators.kernels.influence_rows" in loaded
  assert not others & set(loaded)
