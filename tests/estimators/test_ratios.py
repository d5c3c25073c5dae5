import pytest

from estimators import main_ratio


@pytest.mark.parametrize(
  ("runs", "expected"),
  [
    ({0.1: 2, 0.7: 1}, 0.1),
    ({0.1: 1, 0.5: 1, 0.9: 1}, 0.5),
    ({0.3: 20, 0.6: 20, 0.9: 20}, 0.6),
    ({0.8: 1, 0.6: 1}, 0.6),
    ({0.3: 2, 0.9: 2, 0.7: 1}, 0.9),
    ({0.9: 1}, 0.9),
    ({}, None),
  ],
)
def test_the_main_ratio_has_most_runs_then_is_nearest_to_the_papers_then_lowest(
  runs: dict[float, int], expected: float | None
) -> None:
  assert main_ratio(runs) == expected
