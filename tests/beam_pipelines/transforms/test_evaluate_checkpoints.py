import dataclasses
import tempfile
from concurrent.futures import ThreadPoolExecutor

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.metrics.metric import MetricsFilter

from beam_pipelines.launch.command import beam_options
from beam_pipelines.storage.runs.experiment import list_runs
from beam_pipelines.transforms.evaluate_checkpoints import (
  NAMESPACE,
  EvaluateCheckpoints,
  Evaluation,
  _CheckpointHandler,
)
from tests.helpers.checkpoints import DIGITS, write_broken_digits_runs, write_digits_experiment
from tests.helpers.eager import run_eagerly

EVALUATION = Evaluation("digits", None, "mlp")
THREADS = ("--direct_num_workers=4", "--direct_running_mode=multi_threading")


def _sorted(outcomes):
  return sorted(outcomes, key=lambda outcome: outcome.key)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
  path = tmp_path_factory.mktemp("runs")
  return path, write_digits_experiment(path, range(40))


@pytest.fixture
def temporary(tmp_path_factory, monkeypatch):
  directory = tmp_path_factory.mktemp("temporary")
  monkeypatch.setattr(tempfile, "tempdir", str(directory))
  return directory


def test_evaluates_good_runs_and_names_bad_ones(tmp_path, temporary):
  good = write_digits_experiment(tmp_path, range(5))
  reasons = write_broken_digits_runs(tmp_path, good[0], first_run=5)
  evaluated = run_eagerly(EvaluateCheckpoints(EVALUATION), list_runs(str(tmp_path)).runs)
  assert _sorted(evaluated["outcomes"]) == good
  skipped = {entry.path: entry.reason for entry in evaluated["skipped"]}
  assert set(skipped) == set(reasons)
  for path, reason in reasons.items():
    assert reason in skipped[path]
    assert "\n" not in skipped[path]
    assert str(temporary) not in skipped[path]
  assert not list(temporary.glob("heldout-*"))


def test_margins_come_with_the_same_bits_on_request(experiment):
  path, outcomes = experiment
  evaluation = dataclasses.replace(EVALUATION, margins=True)
  evaluated = run_eagerly(EvaluateCheckpoints(evaluation), list_runs(str(path)).runs[:3])
  for outcome, expected in zip(_sorted(evaluated["outcomes"]), outcomes, strict=False):
    assert dataclasses.replace(outcome, train_margin=None, test_margin=None) == expected
    _, *correct = outcome.unpack()
    for bits, margins in zip(correct, outcome.margins, strict=True):
      assert bits[margins > 0].all()
      assert np.isfinite(margins).all()


@pytest.mark.parametrize("repetition", range(5))
def test_threads_that_share_the_evaluator_give_the_bits_of_one(experiment, repetition):
  path, outcomes = experiment
  evaluated = run_eagerly(EvaluateCheckpoints(EVALUATION), list_runs(str(path)).runs, *THREADS)
  assert _sorted(evaluated["outcomes"]) == outcomes
  assert not evaluated["skipped"]


def test_batches_in_threads_of_their_own_get_their_own_bits(experiment):
  path, outcomes = experiment
  runs = list_runs(str(path)).runs
  handler = _CheckpointHandler(EVALUATION, accelerator=None, progress=None)
  loaded = handler.load_model()
  with ThreadPoolExecutor(4) as threads:
    batches = [runs[start::4] for start in range(4)]
    results = list(
      threads.map(lambda batch: list(handler.run_inference(batch, loaded)), 3 * batches)
    )
  assert len(results) == 12
  for start, result in enumerate(results):
    assert result == outcomes[start % 4 :: 4]


def test_an_abandoned_batch_leaves_no_files(experiment, temporary):
  path, _ = experiment
  handler = _CheckpointHandler(EVALUATION, accelerator=None, progress=None)
  results = handler.run_inference(list_runs(str(path)).runs, handler.load_model())
  next(results)
  results.close()
  assert not list(temporary.iterdir())


@pytest.mark.parametrize("flags", [(), THREADS])
def test_metrics_say_what_was_done_and_that_threads_share(experiment, flags):
  path, _ = experiment
  runs = list_runs(str(path)).runs
  pipeline = beam.Pipeline(options=beam_options(list(flags)))
  _ = pipeline | beam.Create(runs) | beam.Reshuffle() | EvaluateCheckpoints(EVALUATION)
  result = pipeline.run()
  result.wait_until_finish()
  metrics = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
  counters = {counter.key.metric.name: counter.result for counter in metrics["counters"]}
  assert counters["checkpoints"] == len(runs)
  assert counters["images"] == len(runs) * (len(DIGITS.train) + len(DIGITS.test))
  assert counters["bytes_read"] == sum(run.bytes for run in runs)
  times = {entry.key.metric.name: entry.result for entry in metrics["distributions"]}
  for name in ("restore_usecs", "forward_usecs", "waiting_usecs"):
    assert times[name].count == len(runs)
    assert times[name].sum > 0
  assert times["load_model_latency_milli_secs"].count == 1


def test_only_the_evaluation_asks_for_the_accelerator(experiment):
  path, _ = experiment
  hint = "type:nvidia-l4;count:1;install-nvidia-driver"
  pipeline = beam.Pipeline()
  _ = (
    pipeline
    | beam.Create(list_runs(str(path)).runs)
    | "Evaluate checkpoints" >> EvaluateCheckpoints(EVALUATION, accelerator=hint)
  )
  components = pipeline.to_runner_api().components
  hints = {
    transform.unique_name: dict(components.environments[transform.environment_id].resource_hints)
    for transform in components.transforms.values()
    if transform.environment_id
  }
  assert {name: hint for name, hint in hints.items() if hint} == {
    "Evaluate checkpoints/Evaluate/BeamML_RunInference": {
      "beam:resources:accelerator:v1": hint.encode()
    }
  }
  assert len(hints) > 3


def test_options_reach_the_evaluator(experiment):
  path, outcomes = experiment
  runs = list_runs(str(path)).runs[:8]
  exact = Evaluation("digits", None, "mlp", xla=True, batch_size=100)
  evaluated = run_eagerly(EvaluateCheckpoints(exact), runs)
  assert _sorted(evaluated["outcomes"]) == outcomes[:8]
  rounded = Evaluation("digits", None, "mlp", precision="bfloat16")
  evaluated = run_eagerly(EvaluateCheckpoints(rounded), runs)
  assert len(evaluated["outcomes"]) == 8
  assert _sorted(evaluated["outcomes"]) != outcomes[:8]


def test_progress_is_a_file_per_run_that_is_done(tmp_path):
  (outcome,) = write_digits_experiment(tmp_path / "runs", [0])
  reasons = write_broken_digits_runs(tmp_path / "runs", outcome, first_run=1)
  transform = EvaluateCheckpoints(EVALUATION, progress=str(tmp_path / "done"))
  run_eagerly(transform, list_runs(str(tmp_path / "runs")).runs)
  assert {path.name for path in (tmp_path / "done").iterdir()} == {
    f"0.7-{run}" for run in range(1 + len(reasons))
  }
