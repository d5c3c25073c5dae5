import math

import pytest

from reports import text


@pytest.mark.parametrize(
  ("value", "expected"),
  [(0.914, "0.91"), (-0.05, "−0.05"), (-0.001, "0.00"), (math.nan, "–"), (None, "–")],
)
def test_score(value, expected):
  assert text.score(value) == expected


@pytest.mark.parametrize(
  ("value", "expected"), [(0.0321, "3.2%"), (1.0, "100.0%"), (math.nan, "–"), (None, "–")]
)
def test_percent(value, expected):
  assert text.percent(value) == expected


def test_count():
  assert text.count(1281167) == "1,281,167"
  assert text.count(1, "run") == "1 run"
  assert text.count(2, "run") == "2 runs"
  assert text.count(2, "pair was", "pairs were") == "2 pairs were"


@pytest.mark.parametrize(
  ("value", "expected"),
  [
    ("2026-03-05T14:02:11+00:00", "5 March 2026, 14:02 UTC"),
    ("2026-03-05T14:02:11.5Z", "5 March 2026, 14:02 UTC"),
    ("2026-03-05T00:30:00+02:00", "4 March 2026, 22:30 UTC"),
    ("2026-03-05T14:02:11", "5 March 2026, 14:02"),
    ("yesterday", "yesterday"),
  ],
)
def test_date(value, expected):
  assert text.date(value) == expected


def test_breakable_escapes():
  assert text.breakable("<b>_x") == "&lt;b&gt;_<wbr>x"
