"""Outcomes to import, and the commands on what was imported."""

import dataclasses
import json

import duckdb
import numpy as np

from beam_pipelines import cli
from tests.helpers.layouts import stack, stack_margins
from tests.helpers.outcomes import add_margins, make_outcomes

RUNS = 20


def import_outcomes(experiment, *flags):
  """Imports into an experiment; returns the exit status."""
  return cli.main(["import-outcomes", f"--experiment={experiment}", *map(str, flags)])


def score(experiment, scores, *flags):
  """Scores an experiment; returns the exit status."""
  return cli.main(["score", f"--experiment={experiment}", f"--scores={scores}", *flags])


def rows_of(scores, table, columns="*"):
  """Returns the rows of a score table, sorted."""
  return duckdb.sql(f"select {columns} from '{scores}/{table}/*.parquet' order by all").fetchall()


def bits(outcomes):
  """Returns keys, subsets and correctness, without margins."""
  return [(each.key, each.in_subset, each.train_correct, each.test_correct) for each in outcomes]


def manifest_of_pack(experiment):
  """Returns the manifest of the only packed runs of an experiment."""
  (manifest,) = experiment.glob("*/packed/*/manifest.json")
  return json.loads(manifest.read_text())


def rounded(outcomes):
  """The outcomes with margins as float16 holds them."""
  return [
    dataclasses.replace(
      each,
      train_margin=each.margins.train.astype(np.float16).astype("<f4").tobytes(),
      test_margin=each.margins.test.astype(np.float16).astype("<f4").tobytes(),
    )
    for each in outcomes
  ]


def array_flags(paths, *names):
  """Returns the flags that import some of the arrays."""
  return ["--from=arrays", *(f"--{name}={paths[name]}" for name in names)]


def make_with_margins(subset_ratio=0.5):
  """Returns outcomes of runs, with their margins."""
  return add_margins(make_outcomes(subset_ratio, range(RUNS)))


def save_arrays(directory, outcomes):
  """Writes outcomes as plain arrays; returns their paths by the flags that name them."""
  values = dict(zip(("masks", "correct", "test_correct"), stack(outcomes), strict=True))
  values |= zip(("margins", "test_margins"), stack_margins(outcomes), strict=True)
  paths = {name: directory / f"{name}.npy" for name in values}
  for name, path in paths.items():
    np.save(path, values[name])
  return paths
