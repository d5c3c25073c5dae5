import dataclasses

from beam_pipelines.storage.runs.run_place import RunKey
from beam_pipelines.transforms.find_misreadings import FindMisreadings
from tests.helpers.eager import run_eagerly
from tests.helpers.outcomes import make_outcomes

THREADS = ("--direct_num_workers=4", "--direct_running_mode=multi_threading")


def test_warns_of_copies_across_bundles():
  outcomes = make_outcomes(0.5, range(100))
  assert run_eagerly(FindMisreadings(), [outcomes]) == []
  copy = dataclasses.replace(outcomes[70], key=RunKey(0.5, 100))
  (warning,) = run_eagerly(
    FindMisreadings(), [[outcome] for outcome in (*outcomes, copy)], *THREADS
  )
  assert warning.startswith(
    "1 of 101 runs have the very subset and outcomes of another, 0.5/100 th"
  )


def test_no_outcomes_no_warnings():
  assert run_eagerly(FindMisreadings(), []) == []
