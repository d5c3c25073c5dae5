"""Memorization, influence and consistency scores, from Python.

Whatever the command `heldout` does is a function here, with the flags' names for its arguments, and
what it writes can be read. What is wrong with an argument raises `UsageError`, in one line.

Example:
  >>> import heldout
  >>> heldout.train("runs", dataset="digits", model="mlp_small", runs=range(20), epochs=5)
  20 runs of mlp_small (17,226 variables) on digits at ratios 0.7: 0 complete, 20 to train, ...
  trained 20 runs in ...
  >>> scores = heldout.score("runs", "scores", dataset="digits", dense=True)
  scored 20 runs at subset ratios 0.7: ...
  >>> scores.table("examples").num_rows
  1437
"""

from beam_pipelines.storage.scores.manifest import Manifest
from files.errors import UsageError
from heldout.alignment import Aligned, align
from heldout.jobs import (
  build_tfrecords,
  compare,
  doctor,
  explain,
  export,
  import_outcomes,
  ingest,
  inspect,
  report,
  score,
  subsets,
  train,
  verify,
)
from heldout.scores import Scores, TableName, read_scores
from image_datasets import (
  Dataset,
  DatasetError,
  checked_dataset,
  load_dataset,
  pixel_hash,
  pixel_hashes,
)

__all__ = [
  "Aligned",
  "Dataset",
  "DatasetError",
  "Manifest",
  "Scores",
  "TableName",
  "UsageError",
  "align",
  "build_tfrecords",
  "checked_dataset",
  "compare",
  "doctor",
  "explain",
  "export",
  "import_outcomes",
  "ingest",
  "inspect",
  "load_dataset",
  "pixel_hash",
  "pixel_hashes",
  "read_scores",
  "report",
  "score",
  "subsets",
  "train",
  "verify",
]
