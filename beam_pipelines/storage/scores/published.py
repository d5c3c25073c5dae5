"""Published result files: `.npz` archives of scores, written key for key, read with suspicion."""

from __future__ import annotations

import dataclasses
import io
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

import files
from beam_pipelines.storage.scores.columns import CSCORE, INFLUENCE, MEMORIZATION
from estimators.agreement import IndexedScores
from files.errors import UsageError

# The dtype of each array; a name that ends in `{K}` stands for one array per class K.
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

_DIGITS = "0123456789"
_INDEX_LIMIT = 2**31  # pairs of smaller indices fit one int64


def write(path: str, format_name: str, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes arrays, cast to the dtypes of a format, as one archive, atomically.

  Args:
    path: the file, on any file system that Beam knows.
    format_name: a key of `FORMATS`.
    arrays: all of the format's arrays by name.
  """
  dtypes = FORMATS[format_name]
  cast = {name: array.astype(dtypes[_generic(name)], copy=False) for name, array in arrays.items()}
  # As published: the demonstration's two gigabytes are the only ones that are not compressed.
  save = np.savez if format_name == "infl_mem" else np.savez_compressed
  buffer = io.BytesIO()
  save(buffer, allow_pickle=False, **cast)
  files.write_bytes(path, buffer.getvalue())


def read(path: str) -> dict[str, IndexedScores]:
  """Returns the scores that a published file holds, by kind.

  C-scores from `cscores`, memorization from all other formats, influence from
  `high_influence_pairs` and, of all pairs of one class, from `influence_matrix`. The influence in
  `infl_mem`, of all pairs whatever their class, is left alone: at 600 million pairs it would not
  fit into memory as rows.

  Raises:
    UsageError: the file is missing, truncated, no npz or of no known format, or its arrays are of
      objects or do not fit each other.
  """
  with _open(path) as arrays:
    names = {_generic(name) for name in arrays.files}
    formats = [name for name, dtypes in FORMATS.items() if dtypes.keys() <= names]
    if not formats:
      raise UsageError(
        f"{path} is of no known format: it holds {', '.join(arrays.files) or 'nothing'}; "
        "docs/published_formats.md lists the formats"
      )
    found = _READERS[formats[0]](_Archive(path, arrays))
  for scores in found.values():
    repeated = scores.repeated()
    if repeated is not None:
      raise UsageError(f"{path} holds {' × '.join(map(str, repeated))} twice")
  return found


@dataclasses.dataclass(frozen=True)
class _Archive:
  path: str
  arrays: np.lib.npyio.NpzFile

  def integers(self, name: str, length: int | None = None, limit: int = _INDEX_LIMIT) -> np.ndarray:
    """Returns an array of `length` labels or indices, which lie below `limit`, as int64."""
    values = self._load(name, "iu", (length,))
    if len(values) and not 0 <= values.min() <= values.max() < limit:
      bad = values[(values < 0) | (values >= limit)][0]
      raise UsageError(f"{self.path}: array {name} has {bad}, which is not in 0…{limit - 1}")
    return values.astype(np.int64, copy=False)

  def scores(self, name: str, *shape: int | None) -> np.ndarray:
    """Returns an array of scores as float64."""
    return self._load(name, "f", shape or (None,)).astype(np.float64, copy=False)

  def classes(self) -> list[int]:
    """Returns the classes K that have an `infl_matrix_class{K}`."""
    stem = "infl_matrix_class"
    names = [name for name in self.arrays.files if _generic(name) == f"{stem}{{K}}"]
    return sorted(int(name.removeprefix(stem)) for name in names)

  def _load(self, name: str, kinds: str, shape: tuple[int | None, ...]) -> np.ndarray:
    if name not in self.arrays.files:
      raise UsageError(f"{self.path} has no array {name}")
    try:
      values = np.asarray(self.arrays[name])
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
      what = str(error).partition("\n")[0] or type(error).__name__
      raise UsageError(f"{self.path}: array {name} cannot be read: {what}") from error
    fits = len(shape) == values.ndim and all(
      size in (None, actual) for size, actual in zip(shape, values.shape, strict=True)
    )
    if values.dtype.kind not in kinds or not fits:
      wanted = " × ".join("n" if size is None else f"{size}" for size in shape)
      what = "integers" if kinds == "iu" else "floats"
      raise UsageError(
        f"{self.path}: array {name} is {values.dtype} of shape {values.shape}: "
        f"it must be {wanted} {what}"
      )
    return values


def _read_cscores(archive: _Archive) -> dict[str, IndexedScores]:
  labels = archive.integers("labels")
  return {CSCORE: _by_example(archive.scores("scores", len(labels)), labels)}


def _read_pairs(archive: _Archive) -> dict[str, IndexedScores]:
  train = archive.integers("tr_idx")
  test = archive.integers("tt_idx", len(train))
  influence = archive.scores("infl", len(train))
  examples, first = np.unique(train, return_index=True)
  memorization = archive.scores("mem", len(train))[first]
  return {
    MEMORIZATION: IndexedScores(examples[:, np.newaxis], memorization),
    INFLUENCE: IndexedScores(np.stack([train, test], axis=1), influence),
  }


def _read_influence_matrix(archive: _Archive) -> dict[str, IndexedScores]:
  train_labels, test_labels = archive.integers("tr_labels"), archive.integers("tt_labels")
  memorization = archive.scores("tr_mem", len(train_labels))
  indices, values = [], []
  for label in archive.classes():
    train = archive.integers(f"tr_classidx_{label}", limit=len(train_labels))
    test = archive.integers(f"tt_classidx_{label}", limit=len(test_labels))
    matrix = archive.scores(f"infl_matrix_class{label}", len(train), len(test))
    indices.append(np.stack([np.repeat(train, len(test)), np.tile(test, len(train))], axis=1))
    values.append(matrix.ravel())
  index = np.concatenate(indices)
  labels = np.stack([train_labels[index[:, 0]], test_labels[index[:, 1]]], axis=1)
  return {
    MEMORIZATION: _by_example(memorization, train_labels),
    INFLUENCE: IndexedScores(index, np.concatenate(values), labels),
  }


def _read_demonstration(archive: _Archive) -> dict[str, IndexedScores]:
  return {MEMORIZATION: _by_example(archive.scores("memorization"), None)}


_READERS = {
  "cscores": _read_cscores,
  "high_influence_pairs": _read_pairs,
  "influence_matrix": _read_influence_matrix,
  "infl_mem": _read_demonstration,
}


def _by_example(scores: np.ndarray, labels: np.ndarray | None) -> IndexedScores:
  index = np.arange(len(scores))[:, np.newaxis]
  return IndexedScores(index, scores, None if labels is None else labels[:, np.newaxis])


def _open(path: str) -> np.lib.npyio.NpzFile:
  advice = "give a scores directory or a published .npz file"
  if not files.exists(path):  # reading would raise an error of the file system's own kind
    raise UsageError(f"{path}: no such file; {advice}")
  try:
    content = files.read_bytes(path)
  except OSError as error:
    raise UsageError(f"{path} cannot be read ({error}); {advice}") from error
  # A ZIP's directory is at its end, so this tells a file that was cut short as well.
  if not (content.startswith(b"PK") and zipfile.is_zipfile(io.BytesIO(content))):
    raise UsageError(f"{path} is no npz archive, or was cut short: fetch it again")
  return np.load(io.BytesIO(content), allow_pickle=False)


def _generic(name: str) -> str:
  """Returns the name of an array in `FORMATS`: `tr_classidx_{K}` for `tr_classidx_7`."""
  stem = name.rstrip(_DIGITS)
  return name if stem == name else f"{stem}{{K}}"
