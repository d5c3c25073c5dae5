"""The flag that says what is scored of each run and example."""

from __future__ import annotations

import argparse

from estimators.outcome_kinds import CORRECT, OUTCOME_KINDS


def add_outcome(parser: argparse.ArgumentParser) -> None:
  """Adds `--outcome`."""
  parser.add_argument(
    "--outcome",
    choices=OUTCOME_KINDS,
    default=CORRECT.name,
    help="what is scored: whether an example is classified correctly, the probability of its "
    "label, or the margin, its log-odds",
  )
