"""The score tables: the one definition from which Parquet and BigQuery schemas follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import pyarrow as pa

_RATIO = "Share of the training set in each run's random subset."
_EXAMPLE = "Index of the example in the original training set."
_TEST_EXAMPLE = "Index of the example in the original test set."
_SPLIT = "The original data set's split: train or test."
_IN_SPLIT = "Index of the example in that split."
_LABEL = "Class of the example; null if scored without a data set."


def _column(name: str, dtype: pa.DataType, description: str, *, nullable: bool = False) -> pa.Field:
  return pa.field(name, dtype, nullable, metadata={"description": description})


def _table(description: str, *columns: pa.Field) -> pa.Schema:
  return pa.schema(columns, metadata={"description": description})


def _summary(side: str, example: str) -> pa.Schema:
  return _table(
    f"What the selected pairs say of {side} examples, one row per subset ratio and example.",
    _column("subset_ratio", pa.float64(), _RATIO),
    _column("example", pa.int64(), example),
    _column("label", pa.int64(), _LABEL, nullable=True),
    _column("pairs", pa.int64(), "Selected pairs that the example is in."),
    _column(
      "largest_influence",
      pa.float64(),
      "Largest influence among them; null if there is none.",
      nullable=True,
    ),
  )


SCORE_TABLES: dict[str, pa.Schema] = {
  "examples": _table(
    "Memorization and consistency, one row per subset ratio and training example.",
    _column("subset_ratio", pa.float64(), _RATIO),
    _column("example", pa.int64(), _EXAMPLE),
    _column("label", pa.int64(), _LABEL, nullable=True),
    _column("runs_in", pa.int32(), "Runs whose subset has the example."),
    _column("runs_out", pa.int32(), "Runs whose subset does not have the example."),
    _column("correct_in", pa.int32(), "Runs in that classify the example correctly."),
    _column("correct_out", pa.int32(), "Runs out that classify the example correctly."),
    _column(
      "memorization",
      pa.float64(),
      "correct_in / runs_in - correct_out / runs_out; null if either count of runs is 0.",
      nullable=True,
    ),
    _column(
      "memorization_se",
      pa.float64(),
      "Agresti-Caffo standard error of the memorization.",
      nullable=True,
    ),
    _column(
      "consistency",
      pa.float64(),
      "Held-out accuracy correct_out / runs_out; null if runs_out is 0.",
      nullable=True,
    ),
  ),
  "cscores": _table(
    "Consistency scores, one row per training example.",
    _column("example", pa.int64(), _EXAMPLE),
    _column("label", pa.int64(), _LABEL, nullable=True),
    _column("ratios", pa.int32(), "Subset ratios at which the held-out accuracy is defined."),
    _column(
      "cscore",
      pa.float64(),
      "Unweighted mean of the held-out accuracy over those ratios; null if there is none.",
      nullable=True,
    ),
    _column(
      "cscore_se",
      pa.float64(),
      "Standard error of the C-score, from adjusted proportions.",
      nullable=True,
    ),
  ),
  "influence": _table(
    "Influence, one row per selected pair of a training and a test example.",
    _column("subset_ratio", pa.float64(), _RATIO),
    _column("train_example", pa.int64(), _EXAMPLE),
    _column("test_example", pa.int64(), _TEST_EXAMPLE),
    _column("train_label", pa.int64(), _LABEL, nullable=True),
    _column("test_label", pa.int64(), _LABEL, nullable=True),
    _column("runs_in", pa.int32(), "Runs whose subset has the training example."),
    _column("runs_out", pa.int32(), "Runs whose subset does not have it."),
    _column("correct_in", pa.int32(), "Runs in that classify the test example correctly."),
    _column("correct_out", pa.int32(), "Runs out that classify the test example correctly."),
    _column(
      "influence", pa.float64(), "correct_in / runs_in - correct_out / runs_out of the pair."
    ),
    _column("influence_se", pa.float64(), "Agresti-Caffo standard error of the influence."),
    _column("memorization", pa.float64(), "Memorization of the training example.", nullable=True),
  ),
  "train_influence": _summary("training", _EXAMPLE),
  "test_influence": _summary("test", _TEST_EXAMPLE),
  "index": _table(
    "What each scored example is, one row per example of both splits: it joins the other tables "
    "with the same images in any other order. There is none if scored without a data set.",
    _column("split", pa.string(), _SPLIT),
    _column("example", pa.int64(), _IN_SPLIT),
    _column(
      "id",
      pa.string(),
      "What the data set calls it, such as TFDS's `train_16399`; null if it has no name for it.",
      nullable=True,
    ),
    _column("label", pa.int64(), "Class of the example."),
    _column("class_name", pa.string(), "Name of the class."),
    _column(
      "pixels",
      pa.string(),
      "First 32 hexadecimal digits of the SHA-256 of height, width and channels (little-endian "
      "uint32) and the uint8 pixels, row by row, channels last; null if they were not read.",
      nullable=True,
    ),
  ),
  "runs": _table(
    "One row per run that was scored.",
    _column("subset_ratio", pa.float64(), _RATIO),
    _column("run", pa.int64(), "Run id, unique within the subset ratio."),
    _column("examples_in", pa.int64(), "Training examples in the run's subset."),
    _column(
      "accuracy_train", pa.float64(), "Accuracy on the subset; null if empty.", nullable=True
    ),
    _column(
      "accuracy_removed",
      pa.float64(),
      "Accuracy on the rest of the training set; null if empty.",
      nullable=True,
    ),
    _column(
      "accuracy_test", pa.float64(), "Accuracy on the test set; null if empty.", nullable=True
    ),
  ),
  "skipped": _table(
    "One row per input that was not used.",
    _column("path", pa.string(), "Where the input lies."),
    _column("reason", pa.string(), "Why it was not used."),
  ),
  "outcomes": _table(
    "One row per run: its outcome as bits, from which `--append` goes on. Bit e % 8 of byte e // 8 "
    "is example e.",
    _column("subset_ratio", pa.float64(), _RATIO),
    _column("run", pa.int64(), "Run id, unique within the subset ratio."),
    _column("num_train", pa.int64(), "Training examples."),
    _column("num_test", pa.int64(), "Test examples."),
    _column("in_subset", pa.binary(), "Whether the run saw each training example."),
    _column("train_correct", pa.binary(), "Whether it classifies each one correctly."),
    _column("test_correct", pa.binary(), "Whether it classifies each test example correctly."),
  ),
  "correctness": _table(
    "One row per run and example: what every score is counted from. Written on request.",
    _column("subset_ratio", pa.float64(), _RATIO),
    _column("run", pa.int64(), "Run id, unique within the subset ratio."),
    _column("split", pa.string(), _SPLIT),
    _column("example", pa.int64(), _IN_SPLIT),
    _column("in_subset", pa.bool_(), "Whether the run saw the example in training."),
    _column("correct", pa.bool_(), "Whether the run classifies the example correctly."),
  ),
}


def make_table(name: str, **columns: object) -> pa.Table:
  """Builds rows of a score table.

  Args:
    name: a key of `SCORE_TABLES`.
    **columns: one value per row and column, or a scalar for all rows; NaN in a nullable column
      becomes null, None a column of nulls.

  Raises:
    ValueError: columns are missing or unknown.
    pa.ArrowInvalid: lengths or types do not fit the schema.
  """
  schema = SCORE_TABLES[name]
  if set(columns) != set(schema.names):
    raise ValueError(f"table {name}: columns differ: {sorted(set(columns) ^ set(schema.names))}")
  length = max(len(values) for values in columns.values() if _is_sequence(values))
  return pa.Table.from_arrays(
    [_array(columns[field.name], field, length) for field in schema], schema=schema
  )


def _array(values: object, field: pa.Field, length: int) -> pa.Array:
  if not _is_sequence(values):
    return pa.repeat(pa.scalar(values, field.type), length)
  return pa.array(values, field.type, from_pandas=field.nullable)


def _is_sequence(values: object) -> TypeGuard[Sequence[object]]:
  return hasattr(values, "__len__") and not isinstance(values, str)


def description(described: pa.Schema | pa.Field) -> str:
  """Returns what a score table or one of its columns means."""
  return described.metadata[b"description"].decode()


def describe_tables() -> str:
  """Returns the tables as Markdown, the body of docs/tables.md."""
  return "\n\n".join(_describe(name, schema) for name, schema in SCORE_TABLES.items()) + "\n"


def _describe(name: str, schema: pa.Schema) -> str:
  rows = [
    f"| {field.name} | {field.type}{', nullable' if field.nullable else ''} | "
    f"{description(field)} |"
    for field in schema
  ]
  heading = f"## {name}\n\n{description(schema)}"
  return "\n".join([heading, "", "| column | type | meaning |", "|---|---|---|", *rows])
