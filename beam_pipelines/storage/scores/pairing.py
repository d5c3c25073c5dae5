"""Whether a data set is the one that was scored: what every pairing of the two goes through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipelines.storage.scores.completeness import Sizes, check_tables, scored_sizes
from beam_pipelines.storage.scores.index import SPLITS, IndexedDataset
from beam_pipelines.storage.scores.manifest import Manifest
from files.errors import UsageError

_ADVICE = "give the data set that was scored"

PAIRED_TABLES = ("examples", "cscores", "influence", "index")
"""What is looked at, where it is there."""

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
  directory: str, manifest: Manifest, tables: Mapping[str, pa.Table], dataset: IndexedDataset
) -> None:
  """Makes sure that scores and a data set have the same examples, as far as the scores know them.

  Sizes come first, and are known of all scores; then that the tables have every example; then
  labels, ids and pixels, where the scores were made with a data set.

  Args:
    directory: the scores directory.
    manifest: its manifest.
    tables: score tables by name, of which `PAIRED_TABLES` are looked at.
    dataset: whose pixels are hashed if the scores know those of theirs.

  Raises:
    UsageError: examples differ; the message says which, and how many.
  """
  labels = {"training": dataset.train.labels, "test": dataset.test.labels}
  scored, given = scored_sizes(manifest), Sizes(*map(len, labels.values()))
  if (given.train, given.test if scored.test else 0) != scored:
    raise UsageError(
      f"{directory} holds scores of {scored}, the data set {dataset.spec} has {given}: {_ADVICE}"
    )
  check_tables(directory, manifest, tables)
  for table, split, examples, known in _known_labels(tables):
    differing = np.flatnonzero(known != labels[split][examples])
    if len(differing):
      row = differing[0]
      some, every = (len(np.unique(of)) for of in (examples[differing], examples))
      raise UsageError(
        f"{directory}: {split} example {examples[row]} is of class {known[row]} in table {table}, "
        f"of class {labels[split][examples[row]]} in the data set {dataset.spec}, and {some:,} of "
        f"{every:,} labels differ: {_ADVICE}"
      )
  if "index" in tables:
    check_index(directory, tables["index"], dataset)


def check_index(directory: str, index: pa.Table, dataset: IndexedDataset) -> None:
  """Makes sure that a data set has the examples of an index, each in its place.

  Ids tell where both have them; then pixels, which also tell a data set of the same labels in
  another order.

  Args:
    directory: the scores directory, for the message.
    index: its table `index`; without rows, nothing is known.
    dataset: of as many examples.

  Raises:
    UsageError: an example is another one.
  """
  for split, of_split in zip(SPLITS, (dataset.train, dataset.test), strict=True):
    rows = index.filter(pc.field("split") == split)
    where = f"{directory}: {'training' if split == 'train' else split} example"
    if of_split.ids is not None:
      _check_column(where, "another id", rows.select(["example", "id"]), of_split.ids, dataset)
    if rows["pixels"].null_count < len(rows):
      known, given = rows.select(["example", "pixels"]), of_split.pixel_hashes
      _check_column(where, "other pixels", known, given, dataset)


def _check_column(
  where: str, what: str, rows: pa.Table, given: np.ndarray | None, dataset: IndexedDataset
) -> None:
  """Compares a column, beside the examples, with what a data set gives by example."""
  rows = rows.drop_null()
  if given is None:
    return
  examples, known = (column.combine_chunks() for column in rows.columns)
  there = pc.cast(pa.array(given[examples.to_numpy()]), pa.string())
  differs = np.flatnonzero(pc.not_equal(known, there).to_numpy(zero_copy_only=False))
  if len(differs):
    moved = known.sort().equals(there.sort())
    raise UsageError(
      f"{where} {examples[differs[0]]} has {what} in the data set {dataset.spec}, as have "
      f"{len(differs):,} of {len(rows):,}"
      f"{', which has the same examples in another order' if moved else ''}: {_ADVICE}"
    )


def _known_labels(
  tables: Mapping[str, pa.Table],
) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
  """Yields table, split, examples and their labels, of the rows whose label is known."""
  for table, splits in _LABELED.items():
    for split, (example, label) in splits.items() if table in tables else ():
      rows = tables[table].select([example, label]).drop_null()
      yield table, split, rows[example].to_numpy(), rows[label].to_numpy()
