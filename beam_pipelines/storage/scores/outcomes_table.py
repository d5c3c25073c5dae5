"""Outcomes as rows of the `outcomes` table: what a scores directory was made of."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from beam_pipelines.storage.runs.outcome import RunOutcome
from beam_pipelines.storage.runs.run_place import RunKey
from beam_pipelines.storage.scores.tables import make_table
from estimators.outcome_kinds import CORRECT, OutcomeKind


def encode_outcomes(outcomes: Sequence[RunOutcome], kind: OutcomeKind = CORRECT) -> pa.Table:
  """Returns one row per outcome, in their order.

  Args:
    outcomes: with margins, if `kind` is soft.
    kind: what is scored of them: only margins that are scored are kept.
  """
  margins = ("train_margin", "test_margin") if kind.is_soft else ()
  return make_table(
    "outcomes",
    kind.name,
    subset_ratio=[outcome.key.subset_ratio for outcome in outcomes],
    run=[outcome.key.run for outcome in outcomes],
    num_train=[outcome.num_train for outcome in outcomes],
    num_test=[outcome.num_test for outcome in outcomes],
    in_subset=[outcome.in_subset for outcome in outcomes],
    train_correct=[outcome.train_correct for outcome in outcomes],
    test_correct=[outcome.test_correct for outcome in outcomes],
    **{name: [getattr(outcome, name) for outcome in outcomes] for name in margins},
  )


def decode_outcomes(rows: pa.Table) -> list[RunOutcome]:
  """Returns the outcomes that `encode_outcomes` was given."""
  return [
    RunOutcome(key=RunKey(row.pop("subset_ratio"), row.pop("run")), **row)
    for row in rows.to_pylist()
  ]
