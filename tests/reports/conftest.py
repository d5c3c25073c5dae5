"""A small campaign with real outcomes: 1-nearest-neighbour classifiers on subsets of digits."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_digits

TRAIN_SIZE = 400
TEST_SIZE = 200
RUNS = {0.3: 12, 0.5: 12, 0.7: 40}


@dataclasses.dataclass(frozen=True)
class Split:
  images: np.ndarray
  labels: np.ndarray

  def pictures(self, examples):
    return [self.images[example] for example in examples]


@dataclasses.dataclass(frozen=True)
class Dataset:
  spec: str
  train: Split
  test: Split
  pixel_max: float
  class_names: tuple[str, ...]


@pytest.fixture(scope="session")
def digits():
  bunch = load_digits()
  images = bunch.images.astype(np.uint8)[..., None]
  labels = bunch.target.astype(np.int64)
  end = TRAIN_SIZE + TEST_SIZE
  return Dataset(
    "digits",
    Split(images[:TRAIN_SIZE], labels[:TRAIN_SIZE]),
    Split(images[TRAIN_SIZE:end], labels[TRAIN_SIZE:end]),
    16.0,
    tuple("0123456789"),
  )


@pytest.fixture(scope="session")
def tables(digits):
  """Score tables of the campaign; none of the report's own code takes part in making them."""
  train, test = digits.train, digits.test
  everything = np.concatenate([train.images, test.images]).reshape(-1, 64).astype(float)
  every_label = np.concatenate([train.labels, test.labels])
  squared = (everything**2).sum(1)
  distance = squared[:, None] + squared[:TRAIN_SIZE] - 2 * everything @ everything[:TRAIN_SIZE].T
  rng = np.random.default_rng(0)
  examples, pairs, runs, consistencies = [], [], [], []
  for ratio, count in RUNS.items():
    seen = np.zeros((count, TRAIN_SIZE), bool)
    correct = np.zeros((count, TRAIN_SIZE + TEST_SIZE), bool)
    for run in range(count):
      subset = rng.choice(TRAIN_SIZE, int(ratio * TRAIN_SIZE), replace=False)
      seen[run, subset] = True
      nearest = subset[distance[:, subset].argmin(1)]
      correct[run] = train.labels[nearest] == every_label
      on_train, on_test = correct[run, :TRAIN_SIZE], correct[run, TRAIN_SIZE:]
      runs.append(
        {
          "subset_ratio": ratio,
          "run": run,
          "examples_in": subset.size,
          "accuracy_train": on_train[seen[run]].mean(),
          "accuracy_removed": on_train[~seen[run]].mean(),
          "accuracy_test": on_test.mean(),
        }
      )
    runs_in = seen.sum(0)
    joint = seen.T.astype(int) @ correct
    # With few runs, some examples are in none or in all of them: their scores are undefined.
    with np.errstate(invalid="ignore"):
      both = joint / runs_in[:, None] - (correct.sum(0) - joint) / (count - runs_in)[:, None]
      consistency = (correct.sum(0)[:TRAIN_SIZE] - joint.diagonal()) / (count - runs_in)
    memorization, influence = both.diagonal().copy(), both[:, TRAIN_SIZE:]
    correct_in = joint.diagonal()
    correct_out = correct.sum(0)[:TRAIN_SIZE] - correct_in
    consistencies.append(consistency)
    examples.append(
      pa.table(
        {
          "subset_ratio": np.full(TRAIN_SIZE, ratio),
          "example": np.arange(TRAIN_SIZE),
          "label": train.labels,
          "runs_in": runs_in.astype(np.int32),
          "runs_out": (count - runs_in).astype(np.int32),
          "correct_in": correct_in.astype(np.int32),
          "correct_out": correct_out.astype(np.int32),
          "memorization": pa.array(memorization, from_pandas=True),
          "memorization_se": np.full(TRAIN_SIZE, 0.05),
          "consistency": pa.array(consistency, from_pandas=True),
        }
      )
    )
    same_class = train.labels[:, None] == test.labels
    i, j = np.nonzero((influence >= 0.15) & (memorization[:, None] >= 0.25) & same_class)
    pairs.append(
      pa.table(
        {
          "subset_ratio": np.full(i.size, ratio),
          "train_example": i,
          "test_example": j,
          "train_label": train.labels[i],
          "test_label": test.labels[j],
          "influence": influence[i, j],
          "influence_se": np.full(i.size, 0.06),
          "memorization": memorization[i],
        }
      )
    )
  return {
    "examples": pa.concat_tables(examples),
    "cscores": pa.table(
      {
        "example": np.arange(TRAIN_SIZE),
        "label": train.labels,
        "ratios": (~np.isnan(consistencies)).sum(0).astype(np.int32),
        "cscore": np.nanmean(consistencies, axis=0),
        "cscore_se": np.full(TRAIN_SIZE, 0.03),
      }
    ),
    "influence": pa.concat_tables(pairs),
    "runs": pa.Table.from_pylist(runs),
    "skipped": pa.table(
      {"path": ["knn/0.7/40", "knn/0.3/12"], "reason": ["no aux_arrays.npz", "indices repeat"]}
    ),
  }


@pytest.fixture(scope="session")
def manifest():
  return {
    "experiment": "experiments/knn",
    "dataset": "digits",
    "created": "2026-03-05T14:02:11+00:00",
    "versions": {"heldout": "0.1.0", "numpy": np.__version__},
    "options": {
      "min_influence": 0.15,
      "min_memorization": 0.25,
      "pairs": "same_class",
      "top_k": None,
    },
    "ratios": [
      {
        "subset_ratio": ratio,
        "runs": count,
        "reliability": {
          "memorization": {"correlation": 0.8, "spearman_brown": 0.889},
          "pairs_jaccard": None,
        },
      }
      for ratio, count in RUNS.items()
    ],
    "runs_used": sum(RUNS.values()),
    "runs_skipped": 2,
    "rows": {"examples": 3 * TRAIN_SIZE, "runs": sum(RUNS.values())},
  }
