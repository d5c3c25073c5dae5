"""Dense influence: `<scores>/influence.zarr`, a Zarr group of one matrix per subset ratio.

Zarr sees the group's files through `files`, so that they lie wherever the other tables do, and are
written and retried as those are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import suppress

import numpy as np
import zarr
import zstandard
from zarr.abc.buffer import Buffer
from zarr.buffer import cpu
from zarr.codecs import BytesCodec, ZstdCodec
from zarr.errors import ArrayNotFoundError, ContainsGroupError, GroupNotFoundError
from zarr.storage import MemoryStore

import files
from beam_pipelines.storage.scores.damage import explained_damage
from beam_pipelines.storage.scores.directory import DENSE, check_content
from beam_pipelines.storage.scores.manifest import Manifest, StoredPart, read_manifest
from beam_pipelines.storage.scores.staging import describe_part
from files.errors import UsageError

_DESCRIPTION = "zarr.json"
_MOST_DESCRIPTION_BYTES = 1 << 16

_WRITE_ALL = {"write_empty_chunks": True}  # a chunk that is not there is a lost one


class _Files(MutableMapping[str, Buffer]):
  """The files below a directory, by name: what a store of Zarr is made of.

  Args:
    directory: the group's.
    expected: what is published of it; other files are not there, and other content is an error.

  Attributes:
    chunk_bytes: how many bytes a published chunk must unpack to: of that and no other size.
    written: the content of what was written.
  """

  def __init__(self, directory: str, expected: Iterable[StoredPart] | None = None):
    self.chunk_bytes = 0
    self.written: dict[str, bytes] = {}
    self._directory = directory
    self._expected = None if expected is None else {part.name: part for part in expected}

  def __getitem__(self, name: str) -> Buffer:
    path = self._path(name)
    if self._expected is not None and name not in self._expected:
      raise KeyError(name)
    try:
      content = files.read_bytes(path)
    except FileNotFoundError as error:
      if self._expected is not None:
        raise UsageError(f"{path} is missing: score again, or put it back") from error
      raise KeyError(name) from error
    if self._expected is not None:
      check_content(path, self._expected[name], content)
      with explained_damage(path):
        self._check_unpacked(name, content)
    return cpu.Buffer.from_bytes(content)

  def __setitem__(self, name: str, content: Buffer) -> None:
    self.written[name] = content.to_bytes()
    files.write_bytes(self._path(name), self.written[name])

  def __delitem__(self, name: str) -> None:
    files.delete([self._path(name)])

  def __iter__(self) -> Iterator[str]:
    return (info.name for info in files.list_files(self._directory))

  def __len__(self) -> int:
    return sum(1 for _ in self)

  def __contains__(self, name: object) -> bool:
    return isinstance(name, str) and files.exists(self._path(name))

  def _check_unpacked(self, name: str, content: bytes) -> None:
    """Makes sure of what comes of a file: Zarr takes memory as a chunk says."""
    if name.rpartition("/")[2] == _DESCRIPTION:
      if len(content) > _MOST_DESCRIPTION_BYTES:
        raise ValueError(f"it has {len(content):,} bytes")
    elif (unpacked := zstandard.frame_content_size(content)) != self.chunk_bytes:
      raise ValueError(f"it unpacks to {unpacked:,} bytes, not {self.chunk_bytes:,}")

  def _path(self, name: str) -> str:
    return files.join(self._directory, name)


def _store(group: _Files) -> MemoryStore:
  return MemoryStore(group)  # which takes any mapping for its memory


def array_name(subset_ratio: float) -> str:
  """Returns the name of a subset ratio's matrix in the group."""
  return f"ratio-{subset_ratio}"


def create_dense(
  group: str, subset_ratio: float, shape: tuple[int, int], rows: int
) -> list[StoredPart]:
  """Creates the matrix of one subset ratio, all NaN; a repetition changes nothing.

  Args:
    group: path of the Zarr group, made if need be.
    subset_ratio: whose matrix.
    shape: training and test examples.
    rows: training examples per chunk.

  Returns:
    The files that describe group and matrix.
  """
  store = _store(_Files(group))
  with suppress(ContainsGroupError):  # another worker, of another ratio, was first
    zarr.open_group(store, mode="a")
  zarr.create_array(
    store,
    name=array_name(subset_ratio),
    shape=shape,
    chunks=(min(rows, shape[0]), max(1, shape[1])),
    dtype="float32",
    fill_value=math.nan,
    dimension_names=("train_example", "test_example"),
    attributes={"subset_ratio": subset_ratio},
    overwrite=True,
    config=_WRITE_ALL,
  )
  names = (_DESCRIPTION, f"{array_name(subset_ratio)}/{_DESCRIPTION}")
  return [
    describe_part(DENSE, name, 0, files.read_bytes(files.join(group, name))) for name in names
  ]


def write_rows(
  group: str, subset_ratio: float, start: int, influence: np.ndarray
) -> list[StoredPart]:
  """Writes one chunk of rows of a matrix that was created; a repetition writes the same file.

  Args:
    group: path of the Zarr group.
    subset_ratio: whose matrix.
    start: first training example, at the start of a chunk.
    influence: float32 [rows, test examples].

  Returns:
    The chunk's file, or none if there are no test examples.
  """
  written = _Files(group)
  matrix = zarr.open_array(_store(written), path=array_name(subset_ratio), mode="r+")
  matrix = matrix.with_config(_WRITE_ALL)
  matrix[start : start + len(influence)] = influence
  return [
    describe_part(DENSE, name, len(influence), content) for name, content in written.written.items()
  ]


def read_dense(scores: str, subset_ratio: float) -> zarr.Array:
  """Opens the influence matrix of one subset ratio: float32 [train, test], NaN where undefined.

  Nothing is read before it is sliced, and what is read is checked.

  Args:
    scores: the scores directory.
    subset_ratio: whose matrix.

  Raises:
    UsageError: the scores hold no such matrix; when sliced: a chunk is not the published one.
  """
  name = array_name(subset_ratio)
  manifest = read_manifest(scores)
  published = _Files(files.join(scores, DENSE), manifest.parts_of(DENSE))
  missing = (ArrayNotFoundError, GroupNotFoundError, FileNotFoundError)
  passing = (OSError, UsageError, *missing)
  try:
    with explained_damage(files.join(scores, DENSE, name, _DESCRIPTION), passing=passing):
      matrix = zarr.open_array(_store(published), path=name, mode="r")
      _check_matrix(matrix, manifest)
      published.chunk_bytes = math.prod(matrix.chunks) * matrix.dtype.itemsize
      return matrix
  except missing:
    raise UsageError(
      f"{scores} holds no dense influence at ratio {subset_ratio} ({DENSE}/{name}): "
      "score again with dense influence"
    ) from None


def _check_matrix(matrix: zarr.Array, manifest: Manifest) -> None:
  """Makes sure that a matrix is as `create_dense` makes it, and that all its chunks are published.

  Raises:
    ValueError: it is not, or they are not.
  """
  shape = (manifest.examples.train, manifest.examples.test)
  if matrix.shape != shape or matrix.dtype != np.float32:
    raise ValueError(f"{matrix.dtype} of shape {matrix.shape}, not float32 of shape {shape}")
  codecs = (*matrix.filters, matrix.serializer, *matrix.compressors)
  if [type(codec) for codec in codecs] != [BytesCodec, ZstdCodec] or matrix.shards:
    raise ValueError("it is packed in a way that no matrix of ours is")
  rows, columns = matrix.chunks
  if not 0 < rows <= max(1, shape[0]) or columns != max(1, shape[1]):
    raise ValueError(f"chunks of {rows} × {columns}")
  published = {part.name: part.rows for part in manifest.parts_of(DENSE)}
  starts = range(0, shape[0] if shape[1] else 0, rows)
  for number, start in enumerate(starts):
    chunk = f"{matrix.path}/{matrix.metadata.encode_chunk_key((number, 0))}"
    if published.get(chunk) != min(rows, shape[0] - start):
      raise ValueError(f"chunk {chunk} is not among the files of the manifest")


def row_blocks(scores: str, matrix: zarr.Array) -> Iterator[tuple[slice, np.ndarray]]:
  """Reads a matrix once, in blocks of its chunks' rows: yields which rows, and the rows.

  Args:
    scores: the scores directory.
    matrix: what `read_dense` returns for it.

  Raises:
    UsageError: a chunk is lost, changed or damaged.
  """
  for start in range(0, matrix.shape[0], matrix.chunks[0]):
    rows = slice(start, min(start + matrix.chunks[0], matrix.shape[0]))
    chunk = files.join(scores, DENSE, matrix.path, "c", f"{start // matrix.chunks[0]}", "0")
    with explained_damage(chunk, passing=(OSError, UsageError)):
      block = np.asarray(matrix[rows])
    yield rows, block
