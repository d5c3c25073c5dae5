"""What PyTorch has saved, read as weights: never unpickled, and in memory like the file's size.

PyTorch bounds neither what a file's parts unpack to, nor how often a tensor repeats its numbers,
nor what Python objects beside tensors take.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from typing import Any

import numpy as np

from files.zip_directory import Entry, ZipError, list_entries

_PICKLE = "data.pkl"
_MOST_PICKLE_BYTES = 1 << 24  # of a hundred thousand tensors
_NAMES = ("GLOBAL", "INST", "STACK_GLOBAL")
_MORE = "holds more than tensors, which is not unpickled: save the tensor alone, or as .npy"


class TorchFileError(ValueError):
  """The bytes hold no tensors to be read; the message says why, to be put after the path."""


def read_tensors(content: bytes) -> dict[str, Any]:
  """Returns what a file holds, by name: tensors, or other things; a lone one has no name.

  Args:
    content: the file.

  Raises:
    TorchFileError: it is damaged, unpacks to more than it is, holds more than tensors, or there is
      no PyTorch to read it.
  """
  _check_archive(content)
  try:
    import torch
  except ImportError:
    raise TorchFileError(
      "is PyTorch's, which is not installed: install Heldout with it, `pip install "
      "heldout[torch]`, or save the tensor as .npy"
    ) from None
  try:
    # Never by unpickling: a pickle may do anything.
    loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
  except MemoryError:
    raise
  except Exception as error:  # of a dozen kinds; they advise to unpickle it after all
    raise TorchFileError(f"is damaged or {_MORE}") from error
  if isinstance(loaded, dict):
    return {str(name): value for name, value in loaded.items()}
  return {"": loaded}


def as_array(tensor: Any) -> np.ndarray:
  """Returns a tensor's numbers; floats of any kind become float32.

  Raises:
    TorchFileError: it is no tensor, has no plain numbers, or repeats them.
  """
  import torch

  if not isinstance(tensor, torch.Tensor):
    raise TorchFileError(f"holds a {type(tensor).__name__}, not a tensor: save it as .npy")
  plain = tensor.layout is torch.strided and tensor.device.type == "cpu"
  if not plain or tensor.is_quantized or tensor.is_complex():
    raise TorchFileError(
      f"holds a tensor of {tensor.dtype}, {tensor.layout}, not plain numbers: save it as .npy"
    )
  if tensor.nbytes > tensor.untyped_storage().nbytes():
    raise TorchFileError(
      f"holds a tensor of shape {tuple(tensor.shape)} that repeats fewer numbers: save "
      "tensor.contiguous(), or as .npy"
    )
  tensor = tensor.detach()
  array: np.ndarray = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
  return array


def _check_archive(content: bytes) -> None:
  """Makes sure of what the archive's directory and the names in its pickle say."""
  try:
    entries = list_entries(content)
  except ZipError as error:
    raise TorchFileError(
      f"is none of PyTorch's archives of since 1.6 ({error}): save it again, or as .npy"
    ) from error
  for entry in entries:
    if entry.method != zipfile.ZIP_STORED or entry.bytes != entry.packed_bytes:
      raise TorchFileError(f"is damaged: {entry.name} is packed, which PyTorch never does")
  if sum(entry.bytes for entry in entries) > len(content):
    raise TorchFileError("is damaged: its parts lie within each other")
  for entry in entries:
    if entry.name.rpartition("/")[2] == _PICKLE:
      _check_pickle(content, entry)


def _check_pickle(content: bytes, entry: Entry) -> None:
  if entry.bytes > _MOST_PICKLE_BYTES:
    raise TorchFileError(f"is damaged or {_MORE}")
  try:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
      names = [
        str(argument).replace(" ", ".")
        for operation, argument, _ in pickletools.genops(archive.read(entry.name))
        if operation.name in _NAMES
      ]
  except MemoryError:
    raise
  except Exception as error:  # of many kinds
    raise TorchFileError(f"is damaged or {_MORE}") from error
  for name in names:
    if not name.startswith("torch.") and name != "collections.OrderedDict":
      raise TorchFileError(_MORE)
