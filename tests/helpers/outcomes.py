"""Outcomes to score."""

import numpy as np

import files
from beam_pipelines.storage.runs import aux_arrays
from beam_pipelines.storage.runs.outcome import Margins, RunOutcome
from beam_pipelines.storage.runs.run_place import RunKey
from image_datasets import load_dataset

NUM_TRAIN, NUM_TEST = 37, 11  # neither fills its last byte


def make_outcomes(subset_ratio, runs, seed=0, num_train=NUM_TRAIN, num_test=NUM_TEST):
  """Draws outcomes of runs in which some examples are easy, some hard, and some memorized."""
  rng = np.random.default_rng([seed, round(1000 * subset_ratio)])
  ease_in, ease_out = rng.random((2, num_train))
  ease_test = rng.random(num_test)
  helper = np.arange(num_test) % num_train  # the training example that a test example needs
  outcomes = []
  for run in runs:
    in_subset = rng.random(num_train) < subset_ratio
    train_correct = rng.random(num_train) < np.where(in_subset, ease_in, ease_out)
    test_correct = rng.random(num_test) < np.where(in_subset[helper], ease_test, 0.2)
    key = RunKey(subset_ratio, run)
    outcomes.append(RunOutcome.pack(key, in_subset, train_correct, test_correct))
  return outcomes


def add_margins(outcomes, seed=0):
  """Gives outcomes margins that go with their bits: positive where they are correct."""
  with_margins = []
  for outcome in outcomes:
    rng = np.random.default_rng([seed, outcome.key.run, round(1000 * outcome.key.subset_ratio)])
    in_subset, *correct = outcome.unpack()
    margins = [rng.gamma(2, 2, len(bits)) * np.where(bits, 1, -0.5) for bits in correct]
    with_margins.append(RunOutcome.pack(outcome.key, in_subset, *correct, Margins(*margins)))
  return with_margins


def write_experiment(experiment, outcomes, training_loss=None):
  """Writes outcomes as recorded run directories."""
  for outcome in outcomes:
    path = files.join(outcome.key.directory(str(experiment)), "aux_arrays.npz")
    files.write_bytes(path, aux_arrays.encode(outcome, training_loss))


def write_few_digits(path, num_train=NUM_TRAIN, first=0):
  """Writes a data set cut from real digits, by default of the outcomes' sizes; returns its spec."""
  digits = load_dataset("digits")  # which come sorted by label
  train = np.random.default_rng(0).permutation(len(digits.train))[first : first + num_train]
  test = np.random.default_rng(1).permutation(len(digits.test))[:NUM_TEST]
  np.savez(
    path,
    train__image=digits.train.images[train],
    train__label=digits.train.labels[train],
    test__image=digits.test.images[test],
    test__label=digits.test.labels[test],
    __num_classes=10,
    __data_scale=16,
  )
  return f"npz:{path}"
