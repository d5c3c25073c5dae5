"""The arrays of a file from elsewhere, each checked before it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

import files
from beam_pipelines.storage.scores.example_names import plain_names
from files.errors import UsageError
from files.npz import NUMBERS, STRINGS, NpzError, list_arrays, read_array, read_arrays

# The name of the only array of a bare `.npy` file.
BARE = ""

_NPY, _ZIP = b"\x93NUMPY", b"PK"
_KINDS = NUMBERS + STRINGS
_INDEX_LIMIT = 2**31  # pairs of smaller indices fit one int64
_LARGEST = np.finfo(np.float32).max  # as which scores are compared: what is beyond is infinite
_SORTS = {"iu": "integers", "f": "floats", "SU": "byte or Unicode strings"}


class PublishedArrays:
  """The arrays of a published file, by name: of an `.npz` archive, or the one of a bare `.npy`.

  Attributes:
    path: the file.
    names: of all its arrays; `BARE` alone if it is one array without a name.
  """

  def __init__(self, path: str, names: Sequence[str], arrays: Mapping[str, np.ndarray]):
    """Takes, of the arrays, those that may be asked for."""
    self.path = path
    self.names = names
    self._arrays = arrays

  def integers(
    self, name: str, length: int | None = None, *, below: int | None = None
  ) -> np.ndarray:
    """Returns an array of `length` labels or indices, not negative and `below`, as int64."""
    limit = _INDEX_LIMIT if below is None else below
    values = self._load(name, "iu", (length,))
    if len(values) and not 0 <= values.min() <= values.max() < limit:
      bad = values[(values < 0) | (values >= limit)][0]
      raise UsageError(f"{self.path}: array {name} has {bad}, which is not in 0…{limit - 1}")
    return values.astype(np.int64, copy=False)

  def scores(self, name: str, *shape: int | None) -> np.ndarray:
    """Returns an array of scores as float64."""
    return self.matrix(name, *(shape or (None,))).astype(np.float64, copy=False)

  def matrix(self, name: str, *shape: int | None) -> np.ndarray:
    """Returns an array of scores as it is stored; NaN stands for an undefined one."""
    values = self._load(name, "f", shape)
    if values.size:
      # Without a copy, for there are gigabytes; and without NaN, which these pass over.
      for bad in (np.fmax.reduce(values, axis=None), np.fmin.reduce(values, axis=None)):
        if abs(bad) > _LARGEST:
          raise UsageError(
            f"{self.path}: {_what(name)} has {bad:g}, which is no score: undefined ones are NaN"
          )
    return values

  def file_names(self, name: str, length: int | None = None) -> np.ndarray:
    """Returns `length` file names, all different, as strings: `U` [length].

    They are as `plain_names` makes them.
    """
    values = self._load(name, "SU", (length,))
    try:
      values = np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
    except UnicodeDecodeError as error:
      raise UsageError(f"{self.path}: array {name} has a name that is not UTF-8") from error
    chosen = plain_names(values.tolist())
    different, rows = np.unique(chosen, return_counts=True)
    if len(different) < len(chosen):
      raise UsageError(f"{self.path}: array {name} has {different[rows > 1][0]} twice")
    return chosen

  def _load(self, name: str, kinds: str, shape: tuple[int | None, ...]) -> np.ndarray:
    if name not in self._arrays:
      raise UsageError(f"{self.path} has no array {name}")
    values = self._arrays[name]
    fits = len(shape) == values.ndim and all(
      size in (None, actual) for size, actual in zip(shape, values.shape, strict=True)
    )
    if values.dtype.kind not in kinds or not fits:
      wanted = " × ".join("n" if size is None else f"{size}" for size in shape)
      raise UsageError(
        f"{self.path}: {_what(name)} is {values.dtype} of shape {values.shape}: "
        f"it must be {wanted} {_SORTS[kinds]}"
      )
    return values


def _what(name: str) -> str:
  return f"array {name}" if name != BARE else "its array"


def open_arrays(path: str, wanted: Callable[[str], bool]) -> PublishedArrays:
  """Returns the arrays of a published file.

  Args:
    path: the file.
    wanted: says by its name whether an array is read. What others are does not matter.

  Raises:
    UsageError: there is no such file, or it is neither an archive of arrays nor an array, or was
      cut short; or a wanted array cannot be read.
  """
  advice = "give a scores directory or a published .npz or .npy file"
  if not files.exists(path):  # reading would raise an error of the file system's own kind
    raise UsageError(f"{path}: no such file; {advice}")
  try:
    content = files.read_bytes(path)
  except OSError as error:
    raise UsageError(f"{path} cannot be read ({error}); {advice}") from error
  try:
    if content.startswith(_NPY):
      return PublishedArrays(path, [BARE], {BARE: read_array(content, kinds=_KINDS)})
    if content.startswith(_ZIP):
      names = list_arrays(content)
      arrays = read_arrays(content, [name for name in names if wanted(name)], kinds=_KINDS)
      return PublishedArrays(path, names, arrays)
  except NpzError as error:
    raise UsageError(
      f"{path} cannot be read: {error}; fetch it again, or save it as plain numbers and strings"
    ) from error
  raise UsageError(f"{path} is neither .npz nor .npy: {advice}")
