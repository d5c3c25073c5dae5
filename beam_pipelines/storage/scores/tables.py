"""The score tables: the one definition from which Parquet and BigQuery schemas follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TypeGuard

import pyarrow as pa

from estimators.outcome_kinds import CORRECT, MARGIN, PROBABILITY

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


@dataclasses.dataclass(frozen=True)
class _Wording:
  """What the tables say of one kind of outcome, and the columns that only this kind has.

  Attributes:
    of_example: columns of the statistics on the training example.
    of_pair: columns of the statistics on the test example.
    score: how a score follows from the statistics.
    se: whose standard error a score has.
    consistency: what consistency is.
    held_out: the mean that C-scores average.
    cscore_se: where the standard error of a C-score comes from.
    kept: what the outcomes hold beside bits.
    outcome_columns: columns of that in the table `outcomes`.
    correctness_columns: columns of that in the table `correctness`.
    needs: where a score has no standard error although it is defined.
  """

  of_example: tuple[pa.Field, ...]
  of_pair: tuple[pa.Field, ...]
  score: str
  se: str
  consistency: str
  held_out: str
  cscore_se: str
  kept: str = ""
  outcome_columns: tuple[pa.Field, ...] = ()
  correctness_columns: tuple[pa.Field, ...] = ()
  needs: str = ""


_BITS = _Wording(
  of_example=(
    _column("correct_in", pa.int32(), "Runs in that classify the example correctly."),
    _column("correct_out", pa.int32(), "Runs out that classify the example correctly."),
  ),
  of_pair=(
    _column("correct_in", pa.int32(), "Runs in that classify the test example correctly."),
    _column("correct_out", pa.int32(), "Runs out that classify the test example correctly."),
  ),
  score="correct_in / runs_in - correct_out / runs_out",
  se="Agresti-Caffo standard error",
  consistency="Held-out accuracy correct_out / runs_out; null if runs_out is 0.",
  held_out="held-out accuracy",
  cscore_se="Standard error of the C-score, from adjusted proportions.",
)


def _reals(what: str) -> _Wording:
  """Words the tables of outcomes that are reals, by what these are."""

  def statistics(example: str, *, nullable: bool) -> tuple[pa.Field, ...]:
    return (
      *(
        _column(
          f"mean_{side}",
          pa.float64(),
          f"Mean {what} on the {example} over the runs {side}"
          + (f"; null if runs_{side} is 0." if nullable else "."),
          nullable=nullable,
        )
        for side in ("in", "out")
      ),
      *(
        _column(
          f"sd_{side}",
          pa.float64(),
          f"Standard deviation of that, with runs_{side} - 1 in the denominator; null if "
          f"runs_{side} is less than 2.",
          nullable=True,
        )
        for side in ("in", "out")
      ),
    )

  return _Wording(
    of_example=statistics("example", nullable=True),
    of_pair=statistics("test example", nullable=False),
    score="mean_in - mean_out",
    se="Welch standard error",
    needs="; null if either count of runs is less than 2",
    consistency=f"Held-out mean {what} mean_out; null if runs_out is 0.",
    held_out=f"held-out mean {what}",
    cscore_se="Standard error of the C-score; null where one of the means is of only one run.",
    kept=" Margins are little-endian float32.",
    outcome_columns=(
      _column("train_margin", pa.binary(), "Margin on each training example, in nats."),
      _column("test_margin", pa.binary(), "Margin on each test example, in nats."),
    ),
    correctness_columns=(
      _column("margin", pa.float32(), "Log-odds that it gives to the example's label, in nats."),
    ),
  )


def _score_tables(words: _Wording) -> dict[str, pa.Schema]:
  return {
    "examples": _table(
      "Memorization and consistency, one row per subset ratio and training example.",
      _column("subset_ratio", pa.float64(), _RATIO),
      _column("example", pa.int64(), _EXAMPLE),
      _column("label", pa.int64(), _LABEL, nullable=True),
      _column("runs_in", pa.int32(), "Runs whose subset has the example."),
      _column("runs_out", pa.int32(), "Runs whose subset does not have the example."),
      *words.of_example,
      _column(
        "memorization",
        pa.float64(),
        f"{words.score}; null if either count of runs is 0.",
        nullable=True,
      ),
      _column(
        "memorization_se",
        pa.float64(),
        f"{words.se} of the memorization{words.needs}.",
        nullable=True,
      ),
      _column(
        "consistency",
        pa.float64(),
        words.consistency,
        nullable=True,
      ),
    ),
    "cscores": _table(
      "Consistency scores, one row per training example.",
      _column("example", pa.int64(), _EXAMPLE),
      _column("label", pa.int64(), _LABEL, nullable=True),
      _column("ratios", pa.int32(), f"Subset ratios at which the {words.held_out} is defined."),
      _column(
        "cscore",
        pa.float64(),
        f"Unweighted mean of the {words.held_out} over those ratios; null if there is none.",
        nullable=True,
      ),
      _column(
        "cscore_se",
        pa.float64(),
        words.cscore_se,
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
      *words.of_pair,
      _column("influence", pa.float64(), f"{words.score} of the pair."),
      _column(
        "influence_se",
        pa.float64(),
        f"{words.se} of the influence{words.needs}.",
        nullable=bool(words.needs),
      ),
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
      "One row per run: its outcome as bits, from which `--append` goes on. Bit e % 8 of byte "
      f"e // 8 is example e.{words.kept}",
      _column("subset_ratio", pa.float64(), _RATIO),
      _column("run", pa.int64(), "Run id, unique within the subset ratio."),
      _column("num_train", pa.int64(), "Training examples."),
      _column("num_test", pa.int64(), "Test examples."),
      _column("in_subset", pa.binary(), "Whether the run saw each training example."),
      _column("train_correct", pa.binary(), "Whether it classifies each one correctly."),
      _column("test_correct", pa.binary(), "Whether it classifies each test example correctly."),
      *words.outcome_columns,
    ),
    "correctness": _table(
      "One row per run and example: what every score is counted from. Written on request.",
      _column("subset_ratio", pa.float64(), _RATIO),
      _column("run", pa.int64(), "Run id, unique within the subset ratio."),
      _column("split", pa.string(), _SPLIT),
      _column("example", pa.int64(), _IN_SPLIT),
      _column("in_subset", pa.bool_(), "Whether the run saw the example in training."),
      _column("correct", pa.bool_(), "Whether the run classifies the example correctly."),
      *words.correctness_columns,
    ),
  }


_TABLES_OF = {
  CORRECT.name: _score_tables(_BITS),
  PROBABILITY.name: _score_tables(_reals("probability of the label")),
  MARGIN.name: _score_tables(_reals("margin")),
}

TABLE_NAMES = tuple(_TABLES_OF[CORRECT.name])


def table_schema(name: str, outcome: str = CORRECT.name) -> pa.Schema:
  """Returns the columns of a score table.

  Args:
    name: one of `TABLE_NAMES`.
    outcome: the kind of outcome that is scored.
  """
  return _TABLES_OF[outcome][name]


def is_table(name: str, schema: pa.Schema) -> bool:
  """Whether columns are those of a score table, of whatever kind of outcome."""
  return any(schema == tables[name] for tables in _TABLES_OF.values())


def make_table(name: str, outcome: str = CORRECT.name, /, **columns: object) -> pa.Table:
  """Builds rows of a score table.

  Args:
    name: one of `TABLE_NAMES`.
    outcome: the kind of outcome that is scored.
    **columns: one value per row and column, or a scalar for all rows; NaN in a nullable column
      becomes null, None a column of nulls.

  Raises:
    ValueError: columns are missing or unknown.
    pa.ArrowInvalid: lengths or types do not fit the schema.
  """
  schema = table_schema(name, outcome)
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
  sections = [
    _describe(name, description(schema), schema)
    for name, schema in _TABLES_OF[CORRECT.name].items()
  ]
  for name, schema in _TABLES_OF[MARGIN.name].items():
    of_bits = table_schema(name)
    other = [field for field in schema if not _is_column(field, of_bits)]
    gone = [field.name for field in of_bits if field.name not in schema.names]
    if other:
      what = "Columns that differ" + (f", in place of {' and '.join(gone)}." if gone else ".")
      sections.append(_describe(f"{name}, if margins are scored", what, other))
  return "\n\n".join(sections) + "\n"


def _is_column(field: pa.Field, schema: pa.Schema) -> bool:
  """Whether a table has a column of the same name, type and meaning."""
  return field.name in schema.names and schema.field(field.name).equals(field, check_metadata=True)


def _describe(name: str, what: str, schema: Iterable[pa.Field]) -> str:
  rows = [
    f"| {field.name} | {field.type}{', nullable' if field.nullable else ''} | "
    f"{description(field)} |"
    for field in schema
  ]
  heading = f"## {name}\n\n{what}"
  return "\n".join([heading, "", "| column | type | meaning |", "|---|---|---|", *rows])
