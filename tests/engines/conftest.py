"""The same experiment on the in-process runner, once."""

import contextlib
import io

import pytest

from tests.engines import jobs


class Reference:
  """What the in-process runner gives.

  Attributes:
    runs: a trained experiment.
    scores: its scores from recorded outcomes, with `TABLES`.
    checkpoint_scores: its scores from checkpoints.
    verified: what `verify` prints.
  """

  TABLES = ("--dense", "--correctness")

  def __init__(self, directory):
    self.runs = directory / "runs"
    self.scores = directory / "scores"
    self.checkpoint_scores = directory / "checkpoint-scores"
    jobs.run_here(jobs.train(self.runs))
    jobs.run_here(jobs.score(self.runs, self.scores, *self.TABLES))
    jobs.run_here(jobs.score_checkpoints(self.runs, self.checkpoint_scores))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
      jobs.run_here(jobs.verify(self.runs))
    self.verified = printed.getvalue()


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
  return Reference(tmp_path_factory.mktemp("reference"))
