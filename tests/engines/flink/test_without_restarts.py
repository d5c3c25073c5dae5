"""Workers are killed where Flink does not restart jobs: the command fails, and again succeeds."""

from tests.engines import jobs
from tests.engines.flink import faults


def test_without_a_restart_the_same_command_trains_the_rest(bare_cluster, reference, tmp_path):
  cluster, runs = bare_cluster, tmp_path / "runs"
  command = jobs.train(runs, *cluster.served_flags)
  process = jobs.start(command)
  job = faults.job_of(cluster, process)
  faults.kill_workers_in_training(cluster, process, job, runs, reference)
  check_failure(cluster, process, job, "train")
  complete = faults.trained(runs)
  assert 0 < len(complete) < len(faults.trained(reference.runs))
  jobs.run(command)
  assert complete.items() <= faults.trained(runs).items()
  jobs.check_same_runs(runs, reference.runs)


def test_without_a_restart_the_same_command_evaluates_again(brittle_cluster, reference, tmp_path):
  cluster, scores = brittle_cluster, tmp_path / "scores"
  command = jobs.score_checkpoints(reference.runs, scores, *cluster.served_flags)
  killed_and_failed(cluster, command, faults.EVALUATING)
  assert not (scores / "manifest.json").exists()
  jobs.run(command)
  jobs.check_same_scores(scores, reference.checkpoint_scores)


def test_without_a_restart_the_same_command_combines_again(brittle_cluster, reference, tmp_path):
  cluster, scores = brittle_cluster, tmp_path / "scores"
  command = jobs.score(reference.runs, scores, *reference.TABLES, *cluster.served_flags)
  killed_and_failed(cluster, command, faults.COMBINING)
  assert not (scores / "manifest.json").exists()
  jobs.run(command)
  jobs.check_same_scores(scores, reference.scores)


def killed_and_failed(cluster, command, stage):
  """Runs a command, which all workers are killed in and which therefore fails."""
  process = jobs.start(command)
  job = faults.job_of(cluster, process)
  faults.kill_workers_during(cluster, process, faults.stage_of(cluster, job, stage))
  check_failure(cluster, process, job, command[0])


def check_failure(cluster, process, job, name):
  """The command says in one line that its workers were killed."""
  _, errors, status = jobs.finish(process)
  assert status == 2, errors
  assert errors.startswith(f"heldout {name}: error: the job failed: ")
  assert errors.count("\n") == 1
  assert faults.state(cluster, job) == "FAILED"
