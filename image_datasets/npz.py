"""`npz:FILE`: any data set of your own, in one NumPy archive."""

import io
import zipfile
from typing import Any

import numpy as np

from image_datasets import files
from image_datasets.dataset import ImageDataset, checked_dataset
from image_datasets.errors import DatasetError, explained

_ARRAYS = ("train__image", "train__label", "test__image", "test__label")


def load(path: str) -> ImageDataset:
  """Loads a data set from an archive written by `numpy.savez` or `numpy.savez_compressed`.

  It holds `train__image` and `test__image` (uint8 [n, height, width] or [n, height, width,
  channels]), `train__label` and `test__label` (integers [n]), and, if wanted, the numbers
  `__num_classes` (default: one more than the largest label) and `__data_scale` (the pixel
  value that normalises to 1, default 255). Anything else in it is ignored. Pickled objects are
  never read.

  Args:
    path: the archive, on any file system that Beam knows.

  Raises:
    DatasetError: if the archive is missing, damaged or lacks an array, or if its arrays do not
      make a data set.
  """
  content = files.read_bytes(path)
  # A ZIP's directory is at its end, so this tells a file that was cut short as well.
  if not zipfile.is_zipfile(io.BytesIO(content)):
    raise DatasetError(
      f"{path}: no complete .npz archive in its {len(content)} bytes: "
      "write it with numpy.savez_compressed, or fetch it again"
    )
  with (
    explained(path, "write it again with numpy.savez_compressed"),
    np.load(io.BytesIO(content), allow_pickle=False) as archive,
  ):
    missing = [key for key in _ARRAYS if key not in archive]
    if missing:
      raise DatasetError(
        f"{path}: has no {', '.join(missing)}, only {', '.join(archive) or 'nothing'}: "
        f"name the arrays {', '.join(_ARRAYS)}"
      )
    train_images, train_labels, test_images, test_labels = (
      _read(archive, key, path) for key in _ARRAYS
    )
    num_classes = _read_number(archive, "__num_classes", path, kinds="iu", default=None)
    pixel_max = _read_number(archive, "__data_scale", path, kinds="iuf", default=255)
  return checked_dataset(
    f"npz:{path}",
    train=(train_images, train_labels),
    test=(test_images, test_labels),
    num_classes=num_classes,
    pixel_max=pixel_max,
  )


def _read(archive: np.lib.npyio.NpzFile, key: str, path: str) -> np.ndarray:
  with explained(f"{path}: {key}", "store plain numeric arrays with numpy.savez_compressed"):
    return np.asarray(archive[key])  # a member that is no array comes as bytes


def _read_number(
  archive: np.lib.npyio.NpzFile, key: str, path: str, *, kinds: str, default: int | None
) -> Any:
  """Returns the one number in an array whose dtype is of `kinds` (as in `np.dtype.kind`)."""
  if key not in archive:
    return default
  array = _read(archive, key, path)
  if array.size != 1 or array.dtype.kind not in kinds:
    raise DatasetError(
      f"{path}: {key} is {array.dtype} of shape {array.shape}: store one "
      f"{'number' if 'f' in kinds else 'integer'}"
    )
  return array.item()
