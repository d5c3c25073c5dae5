"""Processes of a job on Flink are killed or interrupted; results are what they are without that."""

import os
import signal

import psutil

from tests.engines import jobs
from tests.engines.flink import faults


def test_workers_killed_in_training_are_replaced(cluster, reference, tmp_path):
  runs = tmp_path / "runs"
  process = jobs.start(jobs.train(runs, *cluster.served_flags))
  job = faults.job_of(cluster, process)
  faults.kill_workers_in_training(cluster, process, job, runs, reference)
  _, errors, status = jobs.finish(process)
  assert status == 0, errors
  assert faults.failures(cluster, job)
  jobs.check_same_runs(runs, reference.runs)


def test_workers_killed_in_evaluating_are_replaced(cluster, reference, tmp_path):
  scores = tmp_path / "scores"
  command = jobs.score_checkpoints(reference.runs, scores, *cluster.served_flags)
  killed_and_restarted(cluster, command, faults.EVALUATING)
  jobs.check_same_scores(scores, reference.checkpoint_scores)


def test_workers_killed_in_combining_are_replaced(cluster, reference, tmp_path):
  scores = tmp_path / "scores"
  command = jobs.score(reference.runs, scores, *reference.TABLES, *cluster.served_flags)
  killed_and_restarted(cluster, command, faults.COMBINING)
  jobs.check_same_scores(scores, reference.scores)


def test_the_work_of_a_killed_task_manager_goes_to_the_other(cluster, reference, tmp_path):
  runs = tmp_path / "runs"
  process = jobs.start(jobs.train(runs, *cluster.served_flags))
  job = faults.job_of(cluster, process)
  faults.wait_until(lambda: faults.trained(runs), process)
  workers = cluster.workers()
  try:
    os.kill(cluster.processes["task manager 0"].pid, signal.SIGKILL)
    _, errors, status = jobs.finish(process)
  finally:
    cluster.start_task_manager("task manager 0")
    cluster.wait_for_task_managers(2)
  assert status == 0, errors
  assert faults.failures(cluster, job)
  jobs.check_same_runs(runs, reference.runs)
  orphans = set(workers) - set(cluster.workers())
  faults.wait_until(lambda: not any(map(psutil.pid_exists, orphans)))


def test_a_job_goes_on_after_its_command_was_killed(cluster, reference, tmp_path):
  runs = tmp_path / "runs"
  command = jobs.train(runs, *cluster.flags)
  process = jobs.start(command)
  job = faults.job_of(cluster, process)
  faults.wait_until(lambda: faults.trained(runs), process)
  os.kill(process.pid, signal.SIGKILL)
  process.communicate()
  faults.wait_until(lambda: faults.state(cluster, job) == "FINISHED")
  os.killpg(process.pid, signal.SIGKILL)  # the job server, which waits for its command
  jobs.check_same_runs(runs, reference.runs)
  output, _ = jobs.run(command)
  assert "12 complete, 0 to train" in output


def test_scores_of_an_interrupted_command_are_whole_or_not_there(cluster, reference, tmp_path):
  scores = tmp_path / "scores"
  command = jobs.score(reference.runs, scores, *reference.TABLES, *cluster.flags)
  process = jobs.start(command)
  job = faults.job_of(cluster, process)
  combining = faults.stage_of(cluster, job, faults.COMBINING)
  faults.wait_until(lambda: faults.runs(cluster, combining), process)
  os.killpg(process.pid, signal.SIGINT)  # as a terminal does
  _, errors, status = jobs.finish(process)
  assert status == 130, errors
  faults.wait_until(lambda: faults.state(cluster, job) in ("FINISHED", "FAILED", "CANCELED"))
  if faults.state(cluster, job) == "FINISHED":
    jobs.check_same_scores(scores, reference.scores)
  jobs.run(command)
  jobs.check_same_scores(scores, reference.scores)


def test_two_commands_at_once_train_each_run_once(cluster, reference, tmp_path):
  command = jobs.train(tmp_path / "runs", *cluster.served_flags)
  processes = [jobs.start(command), jobs.start(command)]
  for process in processes:
    _, errors, status = jobs.finish(process)
    assert status == 0, errors
  jobs.check_same_runs(tmp_path / "runs", reference.runs)


def killed_and_restarted(cluster, command, stage):
  """Runs a command, which all workers are killed in and which succeeds all the same."""
  process = jobs.start(command)
  job = faults.job_of(cluster, process)
  faults.kill_workers_during(cluster, process, faults.stage_of(cluster, job, stage))
  _, errors, status = jobs.finish(process)
  assert status == 0, errors
  assert faults.failures(cluster, job)
