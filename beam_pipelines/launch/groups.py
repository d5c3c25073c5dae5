"""The groups that the flags of a command are shown in, by what they are about."""

from __future__ import annotations

from typing import NamedTuple


class Group(NamedTuple):
  """A group of flags.

  Attributes:
    title: says what they are about.
    is_rare: whether only `--help_all` shows them.
  """

  title: str
  is_rare: bool = False


READS = Group("what it reads")
COMPUTES = Group("what it computes")
TRAINS = Group("what it trains")
WRITES = Group("what it writes")
RUNS = Group("how it runs")
OPTIMIZES = Group("how each run is trained", is_rare=True)
FOREIGN = Group("what some layouts need", is_rare=True)
EVALUATES = Group("how checkpoints are evaluated", is_rare=True)
DATA_SETS = Group("where data sets lie, and how tfrecord: ones are read", is_rare=True)
BIGQUERY = Group("tables in BigQuery", is_rare=True)
WORKERS = Group("workers", is_rare=True)

GROUPS = (
  READS,
  COMPUTES,
  TRAINS,
  WRITES,
  RUNS,
  OPTIMIZES,
  FOREIGN,
  EVALUATES,
  DATA_SETS,
  BIGQUERY,
  WORKERS,
)
"""All of them, in the order in which they are shown."""
