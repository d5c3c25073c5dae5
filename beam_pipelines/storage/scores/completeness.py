"""Whether score tables hold what the manifest says was scored: every example, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipelines.storage.scores.manifest import Manifest
from files.errors import UsageError


class Sizes(NamedTuple):
  """How many examples there are in a training and a test set."""

  train: int
  test: int

  def __str__(self) -> str:
    return f"{self.train:,} training and {self.test:,} test examples"


def scored_sizes(manifest: Manifest) -> Sizes:
  """Returns how many examples were scored."""
  return Sizes(manifest.examples.train, manifest.examples.test)


def check_examples(table: str, examples: np.ndarray, size: int) -> None:
  """Makes sure that a table has one row per training example.

  Args:
    table: the path of the scores directory and the table, for the message.
    examples: integers [rows], the example of each row.
    size: how many training examples were scored.

  Raises:
    UsageError: rows are missing, repeated or of no example; the message counts them.
  """
  inside = (examples >= 0) & (examples < size)
  rows = np.bincount(examples[inside].astype(np.int64), minlength=size)
  faults = [
    f"{len(which):,} {what} (the first: {which[0]})"
    for which, what in (
      (np.flatnonzero(rows == 0), "missing"),
      (np.flatnonzero(rows > 1), "there more than once"),
      (examples[~inside], "of another data set"),
    )
    if len(which)
  ]
  if faults:
    raise UsageError(
      f"{table} should have each of {size:,} training examples once: {', '.join(faults)}; "
      "run `heldout score` again"
    )


def check_pairs(table: str, pairs: np.ndarray, sizes: Sizes) -> None:
  """Makes sure that a table of pairs has each at most once, and only of examples that there are.

  Args:
    table: the path of the scores directory and the table, for the message.
    pairs: integers [rows, 2], the training and the test example of each row.
    sizes: how many examples were scored.

  Raises:
    UsageError: pairs are repeated, or of no example; the message counts them.
  """
  inside = ((pairs >= 0) & (pairs < np.array(sizes))).all(axis=1)
  keys = pairs[inside, 0].astype(np.int64) * sizes.test + pairs[inside, 1]
  repeated = len(keys) - len(np.unique(keys))
  outside = len(pairs) - len(keys)
  if repeated or outside:
    raise UsageError(
      f"{table} should have pairs of {sizes}, each once, but {repeated:,} of {len(pairs):,} rows "
      f"repeat another and {outside:,} are of another data set: run `heldout score` again"
    )


def check_tables(directory: str, manifest: Manifest, tables: Mapping[str, pa.Table]) -> None:
  """Makes sure that the tables of examples and pairs hold what the manifest says was scored.

  Args:
    directory: the scores directory.
    manifest: its manifest.
    tables: its tables `examples`, `cscores` and `influence`, or some of them, and any others.

  Raises:
    UsageError: a table lacks, repeats or adds examples.
  """
  sizes = scored_sizes(manifest)
  expected = sizes.train if manifest.examples.train_recorded else 0
  if "cscores" in tables:
    check_examples(f"{directory}: table cscores", tables["cscores"]["example"].to_numpy(), expected)
  if "examples" in tables:
    for ratio, rows in _per_ratio(tables["examples"], manifest):
      where = f"{directory}: table examples at ratio {ratio}"
      check_examples(where, rows["example"].to_numpy(), expected)
  if "influence" in tables:
    for ratio, rows in _per_ratio(tables["influence"], manifest):
      pairs = np.stack([rows[name].to_numpy() for name in ("train_example", "test_example")], 1)
      check_pairs(f"{directory}: table influence at ratio {ratio}", pairs, sizes)


def _per_ratio(table: pa.Table, manifest: Manifest) -> Iterator[tuple[float, pa.Table]]:
  """Yields the rows of every ratio that was scored, and of any other that the table has."""
  scored = {ratio.subset_ratio for ratio in manifest.ratios}
  for ratio in sorted(scored | set(table["subset_ratio"].unique().to_pylist())):
    yield ratio, table.filter(pc.field("subset_ratio") == ratio)
