"""Numbers and dates in the report's words."""

import datetime
import math

from markupsafe import Markup, escape

_MISSING = "–"


def score(value: float | None, digits: int = 2) -> str:
  """Returns a score, or a dash if it is undefined."""
  if value is None or math.isnan(value):
    return _MISSING
  rounded = f"{value:.{digits}f}"
  return rounded.replace("-", "−") if float(rounded) else f"{0:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
  """Returns a share as a percentage, or a dash if it is undefined."""
  shown = score(None if value is None else 100 * value, digits)
  return shown if shown == _MISSING else f"{shown}%"


def count(value: float, noun: str = "", plural: str = "") -> str:
  """Returns a whole number with thousands separated, with its noun if one is given."""
  amount = f"{value:,.0f}"
  return f"{amount} {noun if value == 1 else plural or noun + 's'}" if noun else amount


def date(iso_time: str) -> str:
  """Returns an ISO 8601 time as "5 March 2026, 14:02 UTC"; anything else as it is."""
  try:
    time = datetime.datetime.fromisoformat(iso_time)
  except ValueError:
    return iso_time
  if time.tzinfo is not None:
    time = time.astimezone(datetime.UTC)
  return f"{time.day} {time:%B %Y, %H:%M}" + (" UTC" if time.tzinfo else "")


def breakable(name: str) -> Markup:
  """Returns a name, escaped, that may be broken after its underscores."""
  return Markup(escape(name).replace("_", Markup("_<wbr>")))
