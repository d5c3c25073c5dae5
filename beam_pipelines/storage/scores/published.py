"""Published result files: scores as NumPy arrays, written key for key, read with suspicion."""

from __future__ import annotations

import dataclasses
import io
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from beam_pipelines.storage.scores.columns import CSCORE, INFLUENCE, MEMORIZATION
from beam_pipelines.storage.scores.published_arrays import BARE, PublishedArrays, open_arrays
from estimators.agreement import DenseScores, IndexedScores
from files.errors import UsageError

# The dtype of each array that is written; a name that ends in `{K}` stands for one per class K.
FORMATS: dict[str, dict[str, str]] = {
  "cscores": {"labels": "int64", "scores": "float64"},
  "high_influence_pairs": {
    "tr_idx": "int64",
    "tt_idx": "int64",
    "infl": "float64",
    "mem": "float64",
  },
  "influence_matrix": {
    "tr_labels": "int64",
    "tt_labels": "int64",
    "tr_mem": "float64",
    "tr_classidx_{K}": "int64",
    "tt_classidx_{K}": "int64",
    "infl_matrix_class{K}": "float64",
  },
  "infl_mem": {"memorization": "float32", "influence": "float32"},
}

# The kind of scores of which a file does not say which they are.
UNNAMED = "scores"

Kinds = dict[str, IndexedScores | DenseScores]

# What may be read beside them.
_FILE_NAMES = ("filenames", "tr_filenames", "tt_filenames")
_READ = {*_FILE_NAMES, *itertools.chain.from_iterable(FORMATS.values())}

_DIGITS = "0123456789"
_MATRIX = "infl_matrix_class"


@dataclasses.dataclass(frozen=True, eq=False)
class PublishedScores:
  """What a published file holds.

  Attributes:
    kinds: scores by kind, of which `UNNAMED` is one; not empty.
    train_names: the training examples' file names, without directory and suffix, by index; None if
      the file does not have them.
    test_names: the test examples' likewise.
  """

  kinds: Kinds
  train_names: np.ndarray | None = None
  test_names: np.ndarray | None = None


def encode(format_name: str, arrays: Mapping[str, np.ndarray]) -> bytes:
  """Returns arrays, cast to the dtypes of a format, as one archive.

  Args:
    format_name: a key of `FORMATS`.
    arrays: all of the format's arrays by name.
  """
  dtypes = FORMATS[format_name]
  cast = {name: array.astype(dtypes[_generic(name)], copy=False) for name, array in arrays.items()}
  # As published: the demonstration's two gigabytes are the only ones that are not compressed.
  save = np.savez if format_name == "infl_mem" else np.savez_compressed
  buffer = io.BytesIO()
  save(buffer, allow_pickle=False, **cast)
  return buffer.getvalue()


def read(path: str) -> PublishedScores:
  """Returns the scores that a published file holds.

  Raises:
    UsageError: the file is missing, truncated, neither npz nor npy or of no known format, or its
      arrays are of objects or do not fit each other.
  """
  arrays = open_arrays(path, lambda name: _generic(name) in _READ)
  names = {_generic(name) for name in arrays.names}
  for needed, reader in _READERS.items():
    if set(needed) <= names:
      found = reader(arrays)
      break
  else:
    raise UsageError(
      f"{path} is of no known format: it holds {', '.join(arrays.names) or 'nothing'}; "
      "docs/published_formats.md lists the formats"
    )
  for scores in found.kinds.values():
    repeated = scores.repeated() if isinstance(scores, IndexedScores) else None
    if repeated is not None:
      raise UsageError(f"{path} holds {' × '.join(map(str, repeated))} twice")
  return found


def _read_cscores(arrays: PublishedArrays) -> PublishedScores:
  labels = arrays.integers("labels")
  cscores = _by_example(arrays.scores("scores", len(labels)), labels)
  return PublishedScores({CSCORE: cscores}, _names(arrays, "filenames", len(labels)))


def _read_pairs(arrays: PublishedArrays) -> PublishedScores:
  train = arrays.integers("tr_idx")
  test = arrays.integers("tt_idx", len(train))
  influence = arrays.scores("infl", len(train))
  examples, first = np.unique(train, return_index=True)
  memorization = arrays.scores("mem", len(train))[first]
  kinds: Kinds = {
    MEMORIZATION: IndexedScores(examples[:, np.newaxis], memorization),
    INFLUENCE: IndexedScores(np.stack([train, test], axis=1), influence),
  }
  return PublishedScores(kinds)


def _read_training_set(arrays: PublishedArrays) -> PublishedScores:
  """Reads what goes by `tr_` and `tt_`: memorization, influence by class, or both."""
  labels = [
    arrays.integers(name) if name in arrays.names else None for name in ("tr_labels", "tt_labels")
  ]
  sizes = [None if of_split is None else len(of_split) for of_split in labels]
  kinds: Kinds = {}
  if "tr_mem" in arrays.names:
    memorization = _by_example(arrays.scores("tr_mem", sizes[0]), labels[0])
    kinds[MEMORIZATION], sizes[0] = memorization, len(memorization)
  if _classes(arrays):
    kinds[INFLUENCE] = _read_matrices(arrays, sizes, labels)
  names = [
    _names(arrays, name, size)
    for name, size in zip(("tr_filenames", "tt_filenames"), sizes, strict=True)
  ]
  return PublishedScores(kinds, *names)


def _read_matrices(
  arrays: PublishedArrays, sizes: Sequence[int | None], labels: Sequence[np.ndarray | None]
) -> IndexedScores:
  """Reads the influence within each class, train × test, as pairs."""
  indices, values = [], []
  for label in _classes(arrays):
    train, test = (
      arrays.integers(f"{name}_classidx_{label}", below=size)
      for name, size in zip(("tr", "tt"), sizes, strict=True)
    )
    matrix = arrays.scores(f"{_MATRIX}{label}", len(train), len(test))
    indices.append(np.stack([np.repeat(train, len(test)), np.tile(test, len(train))], axis=1))
    values.append(matrix.ravel())
  index = np.concatenate(indices)
  known = [
    of_split[rows] for of_split, rows in zip(labels, index.T, strict=True) if of_split is not None
  ]
  return IndexedScores(
    index, np.concatenate(values), np.stack(known, axis=1) if len(known) == 2 else None
  )


def _read_demonstration(arrays: PublishedArrays) -> PublishedScores:
  memorization = _by_example(arrays.scores("memorization"))
  kinds: Kinds = {MEMORIZATION: memorization}
  if "influence" in arrays.names:  # test × train
    kinds[INFLUENCE] = DenseScores(arrays.matrix("influence", None, len(memorization)).T)
  return PublishedScores(kinds)


def _read_unnamed(arrays: PublishedArrays) -> PublishedScores:
  name = BARE if BARE in arrays.names else "scores"
  scores = _by_example(arrays.scores(name))
  return PublishedScores({UNNAMED: scores}, _names(arrays, "filenames", len(scores)))


# By the arrays that a file must have: the first that suits, so the most demanding come first.
_READERS: dict[tuple[str, ...], Callable[[PublishedArrays], PublishedScores]] = {
  tuple(FORMATS["high_influence_pairs"]): _read_pairs,
  ("labels", "scores"): _read_cscores,
  ("tr_mem",): _read_training_set,
  (f"{_MATRIX}{{K}}",): _read_training_set,
  ("memorization",): _read_demonstration,
  ("scores",): _read_unnamed,
  (BARE,): _read_unnamed,
}


def _classes(arrays: PublishedArrays) -> list[int]:
  """Returns the classes K that have an `infl_matrix_class{K}`."""
  names = [name for name in arrays.names if _generic(name) == f"{_MATRIX}{{K}}"]
  return sorted(int(name.removeprefix(_MATRIX)) for name in names)


def _names(arrays: PublishedArrays, name: str, length: int | None) -> np.ndarray | None:
  return arrays.file_names(name, length) if name in arrays.names else None


def _by_example(scores: np.ndarray, labels: np.ndarray | None = None) -> IndexedScores:
  index = np.arange(len(scores))[:, np.newaxis]
  return IndexedScores(index, scores, None if labels is None else labels[:, np.newaxis])


def _generic(name: str) -> str:
  """Returns the name of an array in `FORMATS`: `tr_classidx_{K}` for `tr_classidx_7`."""
  stem = name.rstrip(_DIGITS)
  return name if stem == name else f"{stem}{{K}}"
