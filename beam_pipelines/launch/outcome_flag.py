"""The flag that says what is scored of each run and example."""

from __future__ import annotations

from beam_pipelines.launch.groups import COMPUTES
from beam_pipelines.launch.parser import Parser
from estimators.outcome_kinds import CORRECT, OUTCOME_KINDS


def add_outcome(parser: Parser) -> None:
  """Adds the flag that says what is scored of each run and example."""
  parser.add(
    COMPUTES,
    "--outcome",
    choices=OUTCOME_KINDS,
    default=CORRECT.name,
    metavar="KIND",
    help="correct, probability or margin",
  )
