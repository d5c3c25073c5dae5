"""Broken recorded outcomes: one directory for each way in which a run can be unusable."""

import io
import zipfile
from pathlib import Path

import numpy as np

from beam_pipelines.storage.runs import aux_arrays
from tests.helpers.outcomes import make_outcomes


def write_broken_runs(experiment, first_run, subset_ratio=0.5):
  """Writes one broken run of each kind; returns a part of each one's reason by directory."""
  return _write(_KINDS, experiment, first_run, subset_ratio)


def write_hostile_runs(experiment, first_run, subset_ratio=0.5):
  """Writes runs that no accident breaks, as `write_broken_runs` does."""
  return _write(_HOSTILE_KINDS, experiment, first_run, subset_ratio)


def _write(kinds, experiment, first_run, subset_ratio):
  reasons = {}
  for run, (damage, reason) in enumerate(kinds, start=first_run):
    (outcome,) = make_outcomes(subset_ratio, [run])
    directory = Path(experiment) / str(subset_ratio) / str(run)
    directory.mkdir(parents=True)
    content = damage(aux_arrays.encode(outcome))
    if content is not None:
      (directory / "aux_arrays.npz").write_bytes(content)
    else:
      (directory / "unfinished").touch()
    reasons[str(directory)] = reason
  return reasons


def _changed(name, change):
  def damage(content):
    with np.load(io.BytesIO(content)) as archive:
      arrays = dict(archive)
    arrays[name] = change(arrays[name])
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()

  return damage


def _replace_first(value):
  return lambda array: np.concatenate([[value], array[1:]])


def _directory_says(offset, number):
  """Changes a number of 16 bits in the last entry, of `subsample_idx`, of the zip's directory."""

  def damage(content):
    start = content.rindex(b"PK\1\2") + offset
    return content[:start] + number.to_bytes(2, "little") + content[start + 2 :]

  return damage


def _header_says(shape):
  """Rewrites the header of `index_test`, under a right checksum."""

  def damage(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
      members = {name: archive.read(name) for name in archive.namelist()}
    text = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    magic = np.lib.format.magic(2, 0)
    members["index_test.npy"] = magic + len(text).to_bytes(4, "little") + text
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
      for name, member in members.items():
        archive.writestr(name, member)
    return buffer.getvalue()

  return damage


def _with_lzma(content):
  buffer = io.BytesIO()
  with (
    zipfile.ZipFile(io.BytesIO(content)) as archive,
    zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as packed,
  ):
    for name in archive.namelist():
      packed.writestr(name, archive.read(name))
  return buffer.getvalue()


_KINDS = [
  (lambda content: content[: len(content) // 2], "cannot be read as npz"),
  (lambda content: None, "has no aux_arrays.npz"),
  (_changed("correctness_test", lambda array: array[:-1]), "they must agree"),
  (_changed("index_test", _replace_first(11)), "index_test has 11, which is not in 0…10"),
  (
    _changed("index_train", lambda array: np.concatenate([array[:1], array[:1], array[2:]])),
    "twice",
  ),
  (_changed("correctness_removed", _replace_first(2)), "holds values other than 0 and 1"),
  (_changed("subsample_idx", lambda array: array[1:]), "are different sets"),
  (_changed("index_test", lambda array: array.astype(object)), "array index_test is of Python obj"),
]

_HOSTILE_KINDS = [
  (
    _changed("index_test", lambda array: np.zeros(3, [("a", "i4")])),
    "of raw or structured records",
  ),
  (_changed("index_test", lambda array: np.zeros(3, "V3")), "of raw or structured records"),
  (_changed("index_test", lambda array: array[None]), "array index_test has 2 dimensions"),
  (_directory_says(6, 99), "array subsample_idx needs version 9.9 of the zip format"),
  (_directory_says(8, 1), "array subsample_idx is encrypted"),
  (_directory_says(10, 99), "array subsample_idx is packed by method 99"),
  (_with_lzma, "is packed by method 14"),
  (_header_says(f"({2**70},)"), "array index_test has the shape (1180591620717411303424,)"),
  (_header_says("(3"), "array index_test has a damaged header"),
  (_header_says("(" * 100_000), "array index_test has a header of 100,0"),
]
