"""Which subset ratio stands for a campaign that has several."""

from collections.abc import Mapping

_USUAL_RATIO = 0.7  # of Feldman & Zhang 2020 (arXiv 2008.03703), for memorization and influence


def main_ratio(runs: Mapping[float, int]) -> float | None:
  """Returns the subset ratio with the most runs, or None without ratios.

  Of equally frequent ratios, the one nearest to 0.7 is taken, then the lowest.

  Args:
    runs: number of runs by subset ratio.
  """
  return min(
    runs,
    key=lambda ratio: (-runs[ratio], round(abs(ratio - _USUAL_RATIO), 9), ratio),
    default=None,
  )
