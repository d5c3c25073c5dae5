"""`npz:FILE`: a data set in a NumPy archive, or in four files of one array each."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import files
from files import inflate
from files.npz import NUMBERS, STRINGS, NpzError, list_arrays, read_array, read_arrays
from image_datasets.checks import checked_dataset
from image_datasets.dataset import ImageDataset
from image_datasets.doubts import left_out
from image_datasets.errors import DatasetError, explained
from image_datasets.members import ADVICE, Naming, find_members, list_names
from image_datasets.names import (
  NEEDED,
  VALIDATION,
  Slot,
  complete_groups,
  missing_slots,
  sort_by_slot,
)

# The names that the documentation gives, which come before all others.
_OWN = {slot: f"{slot.split}__{slot.role.removesuffix('s')}" for slot in NEEDED}
_CLASSES, _SCALE = "__num_classes", "__data_scale"
_KINDS = NUMBERS + STRINGS  # strings may be labels, which are refused with a recipe
_WRITE_AGAIN = "store plain numeric arrays with numpy.savez_compressed"
_GZIP = b"\x1f\x8b"
_FORMATS = {
  b"\x93NUMPY": "a single array: put four into one archive with numpy.savez_compressed",
  b"\x80": "a Python pickle, which may run anything: for CIFAR's, write cifar:DIR",
  b"\x89HDF": "an HDF5 file: read it with h5py and write numpy.savez_compressed",
  b"MATLAB": "a MATLAB file: read it with scipy.io.loadmat and write numpy.savez_compressed",
}


def load(path: str) -> ImageDataset:
  """Loads a data set from an archive written by `numpy.savez` or `numpy.savez_compressed`.

  It holds `train__image` and `test__image` (uint8 [n, height, width] or [n, height, width,
  channels]), `train__label` and `test__label` (integers [n] or [n, 1]), and, if wanted, the numbers
  `__num_classes` (default: one more than the largest label) and `__data_scale` (the pixel
  value that normalises to 1, default 255). Anything else in it is ignored. Pickled objects are
  never read. Arrays named as Keras and MedMNIST name theirs are found as well; see `names`. A
  validation split is left out, with a warning: an example's index is that in the training split.

  Args:
    path: the archive; or a directory of four `.npz` or `.npy` files of one array each, named as
      KMNIST's are; or one and the name that they begin with: `DIR/k49`.

  Raises:
    DatasetError: if the archive is missing, damaged or lacks an array, or if its arrays do not
      make a data set.
  """
  with explained(path, ADVICE):
    is_file = path.endswith((".npz", ".gz")) or (files.exists(path) and not list_names(path))
  return _load_archive(path) if is_file else _load_directory(path)


def _load_archive(path: str) -> ImageDataset:
  content = _read_file(path)
  with explained(path, _WRITE_AGAIN):
    keys = _list_keys(content, path)
    names = _choose_names(keys, path)
    wanted = {*(names[slot] for slot in NEEDED), *({_CLASSES, _SCALE} & set(keys))}
    arrays = read_arrays(content, wanted, kinds=_KINDS)
  return _make_dataset(
    path,
    {slot: arrays[names[slot]] for slot in NEEDED},
    names,
    num_classes=_number(arrays, _CLASSES, path, kinds="iu", default=None),
    pixel_max=_number(arrays, _SCALE, path, kinds="iuf", default=255),
  )


def _load_directory(path: str) -> ImageDataset:
  members = find_members(path, _NAMING)
  arrays = {slot: _read_one_array(members.paths[slot]) for slot in NEEDED}
  return _make_dataset(path, arrays, members.paths)


def _make_dataset(
  path: str, arrays: Mapping[Slot, np.ndarray], names: Mapping[Slot, str], **options: Any
) -> ImageDataset:
  """Returns the data set of four arrays; `names` says what else there is."""
  spec = f"npz:{path}"
  return checked_dataset(
    spec,
    train=(arrays[Slot("train", "images")], arrays[Slot("train", "labels")]),
    test=(arrays[Slot("test", "images")], arrays[Slot("test", "labels")]),
    warnings=left_out(spec, names.get(VALIDATION)),
    **options,
  )


def _read_file(path: str) -> bytes:
  with explained(path, ADVICE):
    content = files.read_bytes(path)
  with explained(path, "fetch it again"):
    return inflate.gunzip(content) if content.startswith(_GZIP) else content


def _list_keys(content: bytes, path: str) -> list[str]:
  try:
    return list_arrays(content)
  except NpzError as error:
    for start, description in _FORMATS.items():
      if content.startswith(start):
        raise DatasetError(f"{path}: is {description}") from error
    raise DatasetError(
      f"{path}: no complete .npz archive in its {len(content)} bytes: "
      "write it with numpy.savez_compressed, or fetch it again"
    ) from error


def _choose_names(keys: Sequence[str], path: str) -> dict[Slot, str]:
  """Returns which array of an archive is which."""
  groups = sort_by_slot({key: key for key in keys})
  complete = complete_groups(groups)
  if not complete:
    lacking = ", ".join(_OWN[slot] for slot in missing_slots(groups.get("", ())))
    raise DatasetError(
      f"{path}: has no {lacking}, only {_some(keys) or 'nothing'}: "
      f"name the arrays {', '.join(_OWN.values())}"
    )
  if len(complete) > 1:
    raise DatasetError(
      f"{path}: holds {len(complete)} data sets, {_some(complete)}: write each to a file"
    )
  return {slot: _pick(path, slot, names) for slot, names in groups[complete[0]].items()}


def _some(names: Sequence[str]) -> str:
  return ", ".join([*(name[:40] for name in names[:8]), *["…"] * (len(names) > 8)])


def _pick(where: str, slot: Slot, names: Sequence[str]) -> str:
  """Returns the one name for a slot, or ours."""
  if len(names) == 1 or _OWN.get(slot) in names:
    return names[0] if len(names) == 1 else _OWN[slot]
  raise DatasetError(
    f"{where}: both {names[0]} and {names[1]} may be the {slot}: leave one of them out"
  )


def _number(
  arrays: Mapping[str, np.ndarray], key: str, path: str, *, kinds: str, default: int | None
) -> Any:
  """Returns the one number in an array whose dtype is of `kinds` (as in `np.dtype.kind`)."""
  if key not in arrays:
    return default
  array = arrays[key]
  if array.size != 1 or array.dtype.kind not in kinds:
    raise DatasetError(
      f"{path}: {key} is {array.dtype} of shape {array.shape}: store one "
      f"{'number' if 'f' in kinds else 'integer'}"
    )
  return array.item()


def _read_one_array(path: str) -> np.ndarray:
  """Returns the array of an `.npy` file, or the only one of an `.npz` file."""
  content = _read_file(path)
  with explained(path, _WRITE_AGAIN):
    if path.endswith(".npy"):
      return read_array(content, kinds=_KINDS)
    keys = _list_keys(content, path)
    if len(keys) != 1:
      raise DatasetError(f"{path}: holds {len(keys)} arrays where one is expected; {ADVICE}")
    return read_arrays(content, keys, kinds=_KINDS)[keys[0]]


def _stem(name: str) -> str | None:
  return name[:-4] if "/" not in name and name.endswith((".npz", ".npy")) else None


def _candidates(name: str, slot: Slot) -> Iterator[str]:
  begin = f"{name}-" if name else ""
  roles = ("imgs", "images") if slot.role == "images" else ("labels",)
  for role, suffix in itertools.product(roles, (".npz", ".npy")):
    yield f"{begin}{slot.split}-{role}{suffix}"


_NAMING = Naming("npz", _stem, _candidates, _pick)
