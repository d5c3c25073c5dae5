"""Whether a data set is the one that was scored: what every pairing of the two goes through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from beam_pipelines.storage.scores.completeness import Sizes, check_tables, scored_sizes
from beam_pipelines.storage.scores.manifest import Manifest
from files.errors import UsageError

_ADVICE = "give the data set that was scored"

# Where tables know labels: columns of the example and of its label, by table and split.
_LABELED = {
  "examples": {"training": ("example", "label")},
  "cscores": {"training": ("example", "label")},
  "influence": {
    "training": ("train_example", "train_label"),
    "test": ("test_example", "test_label"),
  },
}


def check_dataset(
  directory: str,
  manifest: Manifest,
  tables: Mapping[str, pa.Table],
  spec: str,
  train_labels: np.ndarray,
  test_labels: np.ndarray,
) -> None:
  """Makes sure that scores and a data set have the same examples, as far as the scores know them.

  Sizes come first, and are known of all scores; then that the tables have every example; then
  labels, where the scores were made with a data set.

  Args:
    directory: the scores directory.
    manifest: its manifest.
    tables: score tables by name, of which `examples`, `cscores` and `influence` are looked at.
    spec: the data set's name, for messages.
    train_labels: integers [training examples] of the data set.
    test_labels: integers [test examples].

  Raises:
    UsageError: sizes or labels differ; the message says which.
  """
  scored, given = scored_sizes(manifest), Sizes(len(train_labels), len(test_labels))
  if (given.train, given.test if scored.test else 0) != scored:
    raise UsageError(
      f"{directory} holds scores of {scored}, the data set {spec} has {given}: {_ADVICE}"
    )
  check_tables(directory, manifest, tables)
  labels = {"training": train_labels, "test": test_labels}
  for table, split, examples, known in _known_labels(tables):
    differing = np.flatnonzero(known != labels[split][examples])
    if len(differing):
      row = differing[0]
      some, every = (len(np.unique(of)) for of in (examples[differing], examples))
      raise UsageError(
        f"{directory}: {split} example {examples[row]} is of class {known[row]} in table {table}, "
        f"of class {labels[split][examples[row]]} in the data set {spec}, and {some:,} of "
        f"{every:,} labels differ: {_ADVICE}"
      )


def _known_labels(
  tables: Mapping[str, pa.Table],
) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
  """Yields table, split, examples and their labels, of the rows whose label is known."""
  for table, splits in _LABELED.items():
    for split, (example, label) in splits.items() if table in tables else ():
      rows = tables[table].select([example, label]).drop_null()
      yield table, split, rows[example].to_numpy(), rows[label].to_numpy()
