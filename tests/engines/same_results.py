"""What every engine must give: what the in-process runner gives, file by file."""

from tests.engines import jobs


class SameResults:
  """Tests for a class that has a fixture `flags`, those that name the engine."""

  def test_train(self, flags, reference, tmp_path):
    jobs.run(jobs.train(tmp_path / "runs", *flags))
    jobs.check_same_runs(tmp_path / "runs", reference.runs)

  def test_score_recorded_outcomes(self, flags, reference, tmp_path):
    jobs.run(jobs.score(reference.runs, tmp_path / "scores", *reference.TABLES, *flags))
    jobs.check_same_scores(tmp_path / "scores", reference.scores)

  def test_score_checkpoints(self, flags, reference, tmp_path):
    jobs.run(jobs.score_checkpoints(reference.runs, tmp_path / "scores", *flags))
    jobs.check_same_scores(tmp_path / "scores", reference.checkpoint_scores)

  def test_verify(self, flags, reference):
    output, _ = jobs.run(jobs.verify(reference.runs, *flags))
    assert output == reference.verified
