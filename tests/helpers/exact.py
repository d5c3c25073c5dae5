"""Scores as exact fractions, and thresholds as the decimals that a person writes."""

from fractions import Fraction


def exact_score(runs_in: int, runs_out: int, correct_in: int, correct_out: int) -> Fraction | None:
  """None where undefined."""
  if not runs_in or not runs_out:
    return None
  return Fraction(correct_in, runs_in) - Fraction(correct_out, runs_out)


def exactly_reaches(
  runs_in: int, runs_out: int, correct_in: int, correct_out: int, threshold: float
) -> bool:
  score = exact_score(runs_in, runs_out, correct_in, correct_out)
  return score is not None and score >= Fraction(str(float(threshold)))
